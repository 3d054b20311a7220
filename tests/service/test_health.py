"""``check()``: what each check says, to people and to programs, whatever fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from typing import Any
from typing import NoReturn

import pytest
from sqlalchemy.exc import ProgrammingError

from flask_resumable.core.concat import Concat
from flask_resumable.core.health import CheckResult
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import Unavailable
from flask_resumable.interfaces import RepositoryCapabilities
from flask_resumable.service import health
from flask_resumable.testing.samples import an_upload

from .site import Site
from .stores import Bytes
from .stores import Records

DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
DATABASE = CheckResult("database", "ok", "The database can be read and written.")
BYTES = CheckResult("bytes", "ok", "It is 00:00.")
EXPIRED = CheckResult("expired uploads", "ok", "No upload expired more than a day ago.")
PENDING = CheckResult("pending uploads", "ok", "No upload waits for on_complete.")
INTERRUPTED = CheckResult("interrupted steps", "ok", "No creation or removal was left unfinished.")
ORPHANS = CheckResult("orphans", "ok", "There are no unfinished bytes without a record.")
UNKNOWN = "This could not be checked (RuntimeError): see the log for the reason."
REFUSED = "The database cannot be read or written (OSError): check that it runs, its URL and its rights."


@pytest.fixture(autouse=True)
def watch() -> None:
    """Records begin here as they are needed, not as the service would make them."""


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def storage() -> Bytes:
    return Bytes()


@pytest.fixture
def site(records: Records, storage: Bytes) -> Site:
    site = Site()
    site.repository, site.storage = records, storage
    site.restarted()
    return site


def checked(site: Site, *, quick: bool = False) -> list[CheckResult]:
    return [*health.check(site.service, quick=quick)]


def troubles(site: Site) -> list[CheckResult]:
    return [result for result in checked(site) if result.level != "ok"]


def test_all_is_well(site: Site, storage: Bytes) -> None:
    """A probe does not wait for a search for what was left undone, and no record is made or changed."""
    site.create(3)
    before = site.repository.list(limit=9)
    assert checked(site) == [DATABASE, BYTES, EXPIRED, PENDING, INTERRUPTED, ORPHANS]
    assert checked(site, quick=True) == [DATABASE, BYTES]
    assert storage.asked == [False, True]
    assert site.repository.list(limit=9) == before


def failing(message: str = "at 10.0.0.1", cause: Exception | None = None, kind: type[Exception] = RuntimeError) -> Any:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise kind(message) from cause

    return fail


@pytest.mark.parametrize(
    ("method", "name", "left"),
    [
        ("get", "database", [BYTES, EXPIRED, PENDING, INTERRUPTED, ORPHANS]),
        ("leave_message", "database", [BYTES, EXPIRED, PENDING, INTERRUPTED, ORPHANS]),
        ("time", "database clock", [DATABASE, BYTES, EXPIRED, PENDING, INTERRUPTED, ORPHANS]),
        ("check", "storage", [DATABASE, EXPIRED, PENDING, INTERRUPTED, ORPHANS]),
        ("expired", "expired uploads", [DATABASE, BYTES, PENDING, INTERRUPTED, ORPHANS]),
        ("pending", "pending uploads", [DATABASE, BYTES, EXPIRED, INTERRUPTED, ORPHANS]),
        ("list", "interrupted steps", [DATABASE, BYTES, EXPIRED, PENDING, ORPHANS]),
        ("orphans", "orphans", [DATABASE, BYTES, EXPIRED, PENDING, INTERRUPTED]),
    ],
)
def test_a_check_that_fails_is_an_error_and_keeps_no_other_from_its_turn(
    site: Site, records: Records, storage: Bytes, caplog: pytest.LogCaptureFixture, method: str, name: str, left: Any
) -> None:
    """The result names no host or user; the log has the reason. Only of the database is more known."""
    if method == "time":
        records.capabilities = RepositoryCapabilities(location=records, clock=records)  # type: ignore[arg-type]
    place: Any = storage if method in ("check", "orphans") else records
    for message in ("at 10.0.0.1", "no such table: uploads"):
        caplog.clear()
        setattr(place, method, failing(message))
        result = checked(site)
        if name != "database" or message == "at 10.0.0.1":
            expected = CheckResult(name, "error", UNKNOWN, "check_failed")
            assert [found for found in result if found.level != "ok"] == [expected]
        assert [found for found in result if found.level == "ok"] == left
        assert caplog.messages == [f"The check of {name} failed: {message}"]
    setattr(place, method, failing("x", OSError("at 10.0.0.1\n"), Unavailable))
    (found,) = troubles(site)
    text, code = (REFUSED, "unreachable") if name == "database" else (UNKNOWN.replace("Runtime", "OS"), "check_failed")
    assert found == CheckResult(name, "error", text, code)
    assert caplog.messages[-1] == rf"The check of {name} failed: at 10.0.0.1\n"


class UndefinedTable(Exception):
    """As a driver for PostgreSQL calls it. What it says may be in any language."""


def of_driver(error: Exception) -> ProgrammingError:
    return ProgrammingError("SELECT", {}, error)


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("no such table: uploads"),
        sqlite3.OperationalError("no such column: version"),
        UndefinedTable("Relation »uploads« existiert nicht"),
        RuntimeError("Unknown column 'version' in 'field list'"),
        RuntimeError("Table 'app.uploads' doesn't exist"),
        RuntimeError('relation "uploads" does not exist'),
    ],
)
def test_a_table_that_is_not_as_the_model_says_is_told_apart(site: Site, records: Records, error: Exception) -> None:
    """The advice is another one: migrations, rather than the server of the database."""
    records.get = failing("x", of_driver(error), Unavailable)  # type: ignore[method-assign]
    text = "The table is not as the model says (ProgrammingError): create it, or run migrations."
    assert troubles(site) == [CheckResult("database", "error", text, "schema_differs")]


@pytest.mark.parametrize(
    ("theirs", "level", "text"),
    [
        (timedelta(seconds=5), "ok", "The clock of the database agrees with that of this machine."),
        (timedelta(seconds=-10), "ok", "The clock of the database agrees with that of this machine."),
        (timedelta(seconds=7), "warning", "The clock of the database is 7 seconds ahead of that of this machine: "),
        (timedelta(seconds=-21), "warning", "The clock of the database is 11 seconds behind that of this machine: "),
        (None, None, ""),
    ],
)
def test_the_clock_of_the_database(
    site: Site, records: Records, theirs: timedelta | None, level: str | None, text: str
) -> None:
    """It is asked for 10 seconds, and may have told its time at the beginning or at the end of these."""

    class Clock:
        def time(self) -> datetime | None:
            site.now += timedelta(seconds=10)
            return None if theirs is None else site.now + theirs

    records.capabilities = RepositoryCapabilities(location=records, clock=Clock())
    found = [result for result in checked(site, quick=True) if result.name == "database clock"]
    assert [result.level for result in found] == ([] if level is None else [level])
    assert all(result.message.startswith(text) for result in found)


def saved(site: Site, count: int, **wishes: Any) -> list[Upload]:
    """Records, which are left as they are."""
    uploads = [an_upload(number, created_at=site.now, updated_at=site.now, **wishes) for number in range(count)]
    for upload in uploads:
        site.repository.add(upload, until=None)
    return uploads


def later(site: Site, age: timedelta, expected: Sequence[CheckResult]) -> None:
    """There is trouble if something is older than that, but not before."""
    site.now += age
    assert troubles(site) == []
    site.now += MOMENT
    assert troubles(site) == expected


def test_expired_uploads(site: Site) -> None:
    """A day after they expired, unless a request holds them."""
    saved(site, 3, expires_at=site.now + MOMENT)
    site.repository.claim(f"{2:032x}", now=site.now, until=site.now + 2 * DAY)
    text = "2 uploads expired more than a day ago: run 'flask tus delete_expired' every hour."
    later(site, DAY, [CheckResult("expired uploads", "warning", text, "not_cleaned_up")])


def test_pending_uploads(site: Site) -> None:
    """A quarter of an hour after their last byte; a final upload that waits for its parts is not one of them."""
    saved(site, 2, status=Status.FINISHING)
    final = an_upload(7, created_at=site.now, updated_at=site.now, concat=Concat("final;a", ("a",)))
    site.repository.add(final, until=None)
    site.repository.add(an_upload(8, status=Status.FINISHING, updated_at=None), until=None)
    text = "on_complete has not succeeded for 2 uploads: run 'flask tus complete_pending', see the log."
    later(site, timedelta(minutes=15), [CheckResult("pending uploads", "warning", text, "hooks_failed")])


def test_interrupted_steps(site: Site) -> None:
    """A day after a creation or a removal began that nobody works on."""
    site.repository.add(an_upload(7, status=Status.NEW, updated_at=site.now), until=None)
    for number in (8, 9):
        site.repository.add(an_upload(number, status=Status.DELETING, updated_at=site.now), until=None)
    site.repository.claim(f"{9:032x}", now=site.now, until=site.now + 2 * DAY)
    site.now += DAY
    assert INTERRUPTED in checked(site)
    site.now += MOMENT
    text = "2 creations or removals were interrupted: run 'flask tus delete_expired'."
    assert CheckResult("interrupted steps", "warning", text, "steps_interrupted") in checked(site)


def test_bytes_without_a_record(site: Site, storage: Bytes) -> None:
    """A day after they were written. What has another kind of name is not an upload's."""
    known = site.create(3)
    storage.leftovers = [(name, site.now) for name in ("a" * 32, f"invoice-{'b' * 32}", "lost+found", known.id)]
    site.repository.amend(known.id, lambda upload: replace(upload, expires_at=None), now=site.now)
    text = "2 uploads have unfinished bytes but no record: run 'flask tus delete_expired'."
    later(site, DAY, [CheckResult("orphans", "warning", text, "orphans_found")])


def test_a_check_stops_counting(site: Site, records: Records, storage: Bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left undone may be a million uploads."""
    monkeypatch.setattr(health, "_MANY", 2)
    saved(site, 3, expires_at=site.now, status=Status.NEW)
    for number in (7, 8, 9):
        site.repository.add(an_upload(number, status=Status.FINISHING, updated_at=site.now), until=None)
    storage.leftovers = [(f"{number:032x}", site.now) for number in (21, 22, 23)]
    site.now += 2 * DAY
    found = troubles(site)
    assert [result.message.count("2 or more") for result in found] == [1, 1, 1, 1]
    assert max(records.read) == 2

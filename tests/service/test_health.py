"""What ``check`` finds in the records, in the storage and in their clocks, and what it tells an operator to do."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from typing import Any
from typing import NoReturn

import pytest
from sqlalchemy.exc import ProgrammingError

from flask_resumable.core.health import CheckResult
from flask_resumable.errors import Unavailable
from flask_resumable.interfaces import RepositoryCapabilities
from flask_resumable.interfaces import StorageCapabilities
from flask_resumable.service import health
from flask_resumable.service.health import check
from tests.memory_storage import MemoryStorage

from .site import HOUR
from .site import Site

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
TEXTS = {
    "database": "The database can be read and written.",
    "expired uploads": "No upload expired more than a day ago.",
    "pending uploads": "No upload waits for on_complete.",
    "interrupted steps": "No creation or removal was left unfinished.",
    "orphans": "There are no unfinished bytes without a record.",
}


class Clock:
    """The clock of a database."""

    def __init__(self, read: Callable[[], datetime | None]) -> None:
        self.time = read


class Storage(MemoryStorage):
    """It tells of its folder, and of the bytes that are left in it."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = StorageCapabilities(health=self)
        self.asked: list[tuple[datetime, bool]] = []
        self.left: dict[str, datetime] = {}  # when bytes were last written, by their name

    def check(self, now: datetime, *, quick: bool) -> Iterator[CheckResult]:
        self.asked.append((now, quick))
        yield CheckResult("folder", "ok", "It is there.")

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        return ((name, lambda: 0) for name, at in self.left.items() if at < older_than)


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def site(storage: Storage) -> Site:
    site = Site()
    site.storage = storage
    site.restarted()
    return site


def checked(site: Site, *, quick: bool = False) -> dict[str, CheckResult]:
    """The results, by their names."""
    return {result.name: result for result in check(site.service, quick=quick)}


def wrong(site: Site) -> dict[str, tuple[str, str | None, str]]:
    """What is not well: level, code and message."""
    found = checked(site).values()
    return {result.name: (result.level, result.code, result.message) for result in found if result.level != "ok"}


def raising(error: BaseException) -> Callable[..., NoReturn]:
    """What a part that has broken does, whatever it is asked."""

    def fail(*args: Any, **options: Any) -> NoReturn:
        raise error

    return fail


def interrupted(site: Site, hook: str, act: Callable[[], object]) -> None:
    """Let the process end in a hook."""
    site.during[hook] = raising(SystemExit())
    with pytest.raises(SystemExit):
        act()
    site.restarted()
    del site.during[hook]


@pytest.mark.parametrize("quick", [False, True])
def test_all_is_well(site: Site, storage: Storage, quick: bool) -> None:
    """A probe gets an answer from what must be there; only an operator waits for what has been left undone."""
    site.create(3)
    site.create(3, b"abc")
    found = checked(site, quick=quick)
    names = ["database", "folder"] if quick else ["database", "folder", *[*TEXTS][1:]]
    assert [*found] == names
    assert all((result.level, result.code) == ("ok", None) for result in found.values())
    assert all(found[name].message == text for name, text in TEXTS.items() if name in found)
    assert storage.asked == [(site.now, quick)]


class UndefinedTable(Exception):
    """As psycopg names what the server says in the language of its users."""


@pytest.mark.parametrize(
    ("cause", "code", "message"),
    [
        (sqlite3.OperationalError("no such table: upload"), "schema_differs", "The table is not as the model says"),
        (sqlite3.OperationalError("no such column: a"), "schema_differs", "The table is not as the model says"),
        (RuntimeError("Table 'app.upload' doesn't exist"), "schema_differs", "The table is not as the model says"),
        (RuntimeError("Unknown column 'a'"), "schema_differs", "The table is not as the model says"),
        (
            ProgrammingError("SELECT", {}, UndefinedTable("Relation existiert nicht")),
            "schema_differs",
            "The table is not as the model says (ProgrammingError): create it, or run migrations.",
        ),
        (
            ConnectionRefusedError("ann:secret@db"),
            "unreachable",
            "The database cannot be read or written (ConnectionRefusedError): check that it runs, its URL and its "
            "rights.",
        ),
    ],
)
@pytest.mark.parametrize("call", ["get", "leave_message"])
def test_a_database_that_fails_is_told_with_what_to_do(
    site: Site, monkeypatch: pytest.MonkeyPatch, call: str, cause: Exception, code: str, message: str
) -> None:
    """Reading fails, or only writing does. The texts of drivers, which may name hosts and users, are for the log."""
    error = Unavailable("down")
    error.__cause__ = cause
    monkeypatch.setattr(site.repository, call, raising(error))
    level, found, text = wrong(site)["database"]
    assert (level, found) == ("error", code)
    assert text.startswith(message) and "secret" not in text


@pytest.mark.parametrize(
    ("owner", "call", "name", "others"),
    [
        ("repository", "get", "database", 5),
        ("storage", "check", "storage", 5),
        ("repository", "expired", "expired uploads", 5),
        ("repository", "pending", "pending uploads", 5),
        ("repository", "list", "interrupted steps", 5),
        ("storage", "orphans", "orphans", 5),
    ],
)
def test_what_cannot_be_checked_is_an_error_and_the_rest_is_checked(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: str,
    call: str,
    name: str,
    others: int,
) -> None:
    """An operator gets all results; the reason, which may say anything, is in the log."""
    monkeypatch.setattr(getattr(site, owner), call, raising(ZeroDivisionError("no such table: secret")))
    monkeypatch.setattr(health, "_SCHEMA", re.compile("never") if name == "database" else health._SCHEMA)
    with caplog.at_level(logging.WARNING):
        text = "This could not be checked (ZeroDivisionError): see the log for the reason."
        assert wrong(site) == {name: ("error", "check_failed", text)}
    assert f"The check of {name} failed: no such table: secret" in caplog.messages
    assert len(checked(site)) == others + 1


@pytest.mark.parametrize(
    ("skew", "level", "message"),
    [
        (timedelta(), "ok", "The clock of the database agrees with that of this machine."),
        (timedelta(seconds=-25), "ok", "The clock of the database agrees with that of this machine."),
        (
            timedelta(seconds=7),
            "warning",
            "The clock of the database is 7 seconds ahead of that of this machine: synchronize both (NTP).",
        ),
        (
            timedelta(seconds=-28),
            "warning",
            "The clock of the database is 8 seconds behind that of this machine: synchronize both (NTP).",
        ),
    ],
)
def test_the_clock_of_a_database_that_is_asked_for_20_seconds(
    site: Site, skew: timedelta, level: str, message: str
) -> None:
    """It may have been read at any moment of them."""

    def read() -> datetime:
        site.now += timedelta(seconds=20)
        return site.now + skew

    site.repository.capabilities = RepositoryCapabilities(clock=Clock(read))
    found = checked(site, quick=True)["database clock"]
    assert (found.level, found.message) == (level, message)


def test_a_database_without_a_clock_is_not_asked(site: Site) -> None:
    """Or one that does not tell it. One that fails to do so is told."""
    site.repository.capabilities = RepositoryCapabilities(clock=Clock(lambda: None))
    assert [*checked(site, quick=True)] == ["database", "folder"]
    site.repository.capabilities = RepositoryCapabilities(clock=Clock(raising(Unavailable("down"))))
    text = "This could not be checked (Unavailable): see the log for the reason."
    assert wrong(site) == {"database clock": ("error", "check_failed", text)}


def _expired(site: Site) -> None:
    site.create(3)
    site.now += HOUR


def _unfinished_end(site: Site) -> None:
    interrupted(site, "on_complete", lambda: site.create(3, b"abc"))


def _unfinished_creation(site: Site) -> None:
    interrupted(site, "on_create", lambda: site.create(3))


def _unfinished_removal(site: Site) -> None:
    upload = site.create(3)
    delete, site.storage.delete = site.storage.delete, raising(SystemExit())  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        site.service.delete(upload.id, owner=None)
    site.storage.delete = delete  # type: ignore[method-assign]
    site.restarted()


def _orphan(site: Site) -> None:
    assert isinstance(site.storage, Storage)
    site.storage.left[f"{len(site.storage.left):032x}"] = site.now


LEFT = [
    (
        _expired,
        DAY,
        "expired uploads",
        "not_cleaned_up",
        "uploads expired more than a day ago: run 'flask tus delete_expired' every hour.",
    ),
    (
        _unfinished_end,
        15 * MINUTE,
        "pending uploads",
        "hooks_failed",
        "uploads: run 'flask tus complete_pending', see the log.",
    ),
    (
        _unfinished_creation,
        DAY,
        "interrupted steps",
        "steps_interrupted",
        "creations or removals were interrupted: run 'flask tus delete_expired'.",
    ),
    (
        _unfinished_removal,
        DAY,
        "interrupted steps",
        "steps_interrupted",
        "creations or removals were interrupted: run 'flask tus delete_expired'.",
    ),
    (
        _orphan,
        DAY,
        "orphans",
        "orphans_found",
        "uploads have unfinished bytes but no record: run 'flask tus delete_expired'.",
    ),
]


@pytest.mark.parametrize(("leave", "age", "name", "code", "message"), LEFT)
def test_what_was_left_undone_is_a_warning_when_it_is_old(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    leave: Callable[[Site], None],
    age: timedelta,
    name: str,
    code: str,
    message: str,
) -> None:
    """Before that it is what happens all the time. What is many is not counted to the end."""
    leave(site)
    site.now += age - timedelta(seconds=1)
    assert name not in wrong(site)
    site.now += timedelta(seconds=2)
    monkeypatch.setattr(health, "_MANY", 3)
    for count in ("1", "2", "3 or more", "3 or more"):
        level, found, text = wrong(site)[name]
        assert (level, found) == ("warning", code)
        assert f"{count} " in text and text.endswith(message), text
        leave(site)
        site.now += age + timedelta(seconds=1)


@pytest.mark.parametrize(("leave", "age", "name"), [row[:3] for row in LEFT[:4]])
def test_what_somebody_works_on_is_not_left_undone(
    site: Site, leave: Callable[[Site], None], age: timedelta, name: str
) -> None:
    """A cleaner has it now, or a request is about to complete it."""
    leave(site)
    (upload,) = site.repository.list(limit=9)
    site.repository.claim(upload.id, now=site.now, until=site.now + 9 * DAY, by="another")
    site.now += age + timedelta(seconds=1)
    assert wrong(site) == {}


def test_bytes_of_unfinished_uploads_and_other_files_are_no_orphans(site: Site, storage: Storage) -> None:
    """They have a record, or are of no upload."""
    upload = site.create(3)
    storage.left = dict.fromkeys([upload.id, "README", "lost+found"], datetime(1970, 1, 1, tzinfo=UTC))
    assert wrong(site) == {}

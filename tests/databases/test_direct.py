"""The embedded SQLite file, whose statements go past SQLAlchemy."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from flask_resumable.core.concat import Concat
from flask_resumable.core.metadata import UploadMetadata
from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.upload import Upload
from flask_resumable.errors import Unavailable
from flask_resumable.repositories.sql.database import Pooled
from flask_resumable.repositories.sql.embedded import embedded_repository
from flask_resumable.repositories.sql.embedded import EmbeddedRepository
from flask_resumable.repositories.sql.embedded import EmbeddedUpload
from flask_resumable.repositories.sql.engines import LazyEngine
from flask_resumable.repositories.sql.sqlite import Direct
from flask_resumable.testing.samples import an_upload
from flask_resumable.testing.samples import id_of
from flask_resumable.testing.samples import LATER
from flask_resumable.testing.samples import SOON
from flask_resumable.testing.samples import take


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the records are."""
    return tmp_path / "state.sqlite"


@pytest.fixture
def repository(file: Path) -> Iterator[EmbeddedRepository]:
    """A repository whose records survive a loss of power."""
    repository = embedded_repository(f"sqlite:///{file}", durable=True)
    yield repository
    repository.dispose()


def direct(repository: EmbeddedRepository) -> Direct:
    """What executes its statements."""
    assert isinstance(repository._database, Direct)
    return repository._database


def test_types_are_those_of_sqlalchemy(repository: EmbeddedRepository) -> None:
    """What is written past SQLAlchemy reads the same with it, and the other way round: every field, set and not set."""
    pooled = EmbeddedRepository(EmbeddedUpload, Pooled(LazyEngine(lambda: repository.engine)))
    full = an_upload(
        length=2**63 - 1,
        received=ByteRanges.prefix(3).add(2**61, 2**62, 2**60),
        metadata=UploadMetadata("filename 4pyT"),
        concat=Concat.from_header("partial"),
        owner="d\u00e9j\u00e0 'vu'; --",
        client_key="ab" * 32,
        storage={"path": "a/b \u2713", "parts": [1, {"x": None}]},
        expires_at=LATER,
    )
    bare = an_upload(2, length=None, expires_at=None)
    for writer, reader in ((repository, pooled), (pooled, repository)):
        for upload in (full, bare):
            claim = writer.add(upload, until=SOON)
            found = reader.get(upload.id)
            assert found == writer.get(upload.id)
            assert (found.length, found.received, found.metadata.raw) == (
                upload.length,
                upload.received,
                upload.metadata.raw,
            )
            assert (found.owner, found.client_key, found.storage) == (upload.owner, upload.client_key, upload.storage)
            assert (found.created_at, found.expires_at) == (upload.created_at, upload.expires_at)
            assert (found.claimed_until, found.version) == (SOON, 1)
            writer.remove(upload, claim)


def test_only_what_was_reported_waits_for_the_disk(repository: EmbeddedRepository) -> None:
    """A claim that a loss of power takes away has nobody left who holds it; all else is synced."""
    claim = repository.add(an_upload(), until=SOON)
    said: list[str] = []
    direct(repository).raw.set_trace_callback(said.append)
    _, claim = take(repository)
    repository.renew(claim, until=LATER)
    repository.save(an_upload(received=ByteRanges.prefix(3)), claim, until=LATER)
    repository.release(claim)
    repository.amend(id_of(1), lambda upload: an_upload(received=ByteRanges.prefix(5)), now=SOON)
    changes = [words for words in said if words.startswith(("PRAGMA", "UPDATE"))]
    level = "FULL"
    lasting = []
    for words in changes:
        if words.startswith("PRAGMA"):
            level = words.rpartition("=")[2]
        else:
            lasting.append(level == "FULL")
    assert lasting == [False, False, True, False, True]


def test_without_durability_nothing_waits(file: Path) -> None:
    """``"none"``: no statement is synced."""
    repository = embedded_repository(f"sqlite:///{file}", durable=False)
    raw = direct(repository).raw
    claim = repository.add(an_upload(), until=SOON)
    repository.save(an_upload(received=ByteRanges.prefix(3)), claim, until=None)
    assert raw.execute("PRAGMA synchronous").fetchone() == (1,)
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    repository.dispose()


def test_a_connection_that_fails_is_replaced(repository: EmbeddedRepository) -> None:
    """One statement may find that its connection is of no use; the next one gets another."""
    repository.add(an_upload(), until=None)
    asks: list[Callable[[], object]] = [
        lambda: repository.get(id_of(1)),
        lambda: repository.list(limit=1),
    ]
    for ask in asks:
        direct(repository).raw.close()
        with pytest.raises(Unavailable):
            ask()
        assert repository.get(id_of(1)).length == 10
        assert len(repository.list(limit=1)) == 1


@pytest.mark.parametrize("durable", [True, False])
def test_what_must_survive_a_loss_of_power_reaches_the_platter_on_macos(file: Path, durable: bool) -> None:
    """SQLite asks the drive to write its cache only if it is told to. Elsewhere that changes nothing."""
    repository = embedded_repository(f"sqlite:///{file}", durable=durable)
    assert direct(repository).raw.execute("PRAGMA fullfsync").fetchone() == (durable,)
    repository.dispose()


@pytest.mark.parametrize(
    ("error", "told"),
    [(OperationalError("SELECT", None, Exception()), Unavailable), (ZeroDivisionError(), ZeroDivisionError)],
)
def test_a_hook_that_cannot_reach_its_own_database_has_no_bug(
    repository: EmbeddedRepository, error: Exception, told: type[Exception]
) -> None:
    """Trouble with the app's database is told as such, and anything else as what it is."""

    def hook(instance: object) -> None:
        raise error

    claim = repository.add(an_upload(), until=SOON)
    upload = repository.get(id_of(1))
    with pytest.raises(told):
        repository.call(upload, hook)
    with pytest.raises(told):
        repository.save_with_hook(upload, claim, hook, until=None)
    with pytest.raises(told):
        repository.remove(upload, claim, hook)


def test_a_database_that_another_process_keeps_locked_is_unavailable(
    repository: EmbeddedRepository, file: Path
) -> None:
    """It is waited for, not for ever; reading goes on, and afterwards so does writing."""
    repository.add(an_upload(), until=None)
    direct(repository).raw.execute("PRAGMA busy_timeout=100")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert repository.get(id_of(1)).length == 10
    with pytest.raises(Unavailable):
        take(repository)
    other.execute("ROLLBACK")
    other.close()
    take(repository)


def test_a_query_leaves_no_old_state_behind(repository: EmbeddedRepository, file: Path) -> None:
    """What another process writes is seen at once, whatever was read before."""
    repository.add(an_upload(), until=None)
    for offset in (1, 2, 3):
        repository.get(id_of(1))
        repository.list(limit=1)
        with sqlite3.connect(file) as other:
            other.execute('UPDATE resumable_uploads SET "offset" = ?', [offset])
        other.close()
        assert repository.get(id_of(1)).offset == offset
        assert repository.list(limit=9)[0].offset == offset


def test_threads_take_turns(repository: EmbeddedRepository) -> None:
    """Any number of threads, one connection: nothing is lost, nothing fails."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            claim = repository.add(an_upload(number), until=SOON)
            for size in range(1, 40):
                repository.save(an_upload(number, length=100, received=ByteRanges.prefix(size)), claim, until=SOON)
                assert repository.get(id_of(number)).offset == size
                assert len(repository.list(limit=3)) >= 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [upload.offset for upload in repository.list(limit=99)] == [39] * 8


def test_a_new_file_is_shared_from_the_start(file: Path, repository: EmbeddedRepository) -> None:
    """Workers that start together all begin with the same new file; none of their first requests fails."""
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):  # at once
        sqlite3.connect(file).execute("PRAGMA journal_mode=WAL")
    releasing = threading.Timer(0.2, other.execute, ["ROLLBACK"])
    releasing.start()
    repository.add(an_upload(), until=None)
    releasing.join()
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()


def test_a_file_that_stays_locked_is_reported(file: Path, repository: EmbeddedRepository, monkeypatch: Any) -> None:
    """Nobody waits for ever: after a while it is trouble like any other."""
    monkeypatch.setattr("flask_resumable.repositories.sql.embedded.BUSY_TIMEOUT", 0.1)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            repository.add(an_upload(), until=None)


def test_a_fork_gets_a_connection_of_its_own(repository: EmbeddedRepository) -> None:
    """gunicorn's ``--preload``: neither process touches the other's connection, and both go on."""
    claim = repository.add(an_upload(), until=SOON)
    before = direct(repository).raw
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            is_own = direct(repository).raw is not before
            repository.add(an_upload(2), until=None)
            os._exit(0 if is_own and repository.get(id_of(1)).length == 10 else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert direct(repository).raw is before
    repository.save(an_upload(received=ByteRanges.prefix(3)), claim, until=None)
    assert repository.get(id_of(2)).length == 10
    assert before.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_in_memory_all_threads_see_one_database() -> None:
    """``sqlite://``, for tests of an app."""
    repository = embedded_repository("sqlite://", durable=False)
    repository.add(an_upload(), until=None)
    seen: list[int | None] = []
    thread = threading.Thread(target=lambda: seen.append(repository.get(id_of(1)).length))
    thread.start()
    thread.join()
    assert seen == [10]
    repository.dispose()


def test_a_key_that_others_take_and_free_is_no_bug(repository: EmbeddedRepository, monkeypatch: Any) -> None:
    """Each insertion meets another one, whose record is gone when it looks: those creations are refused by a hook."""
    key = "ab" * 32
    others = [replace(an_upload(number), client_key=key) for number in (2, 3, 4)]
    look = repository._taken

    def look_too_late(upload: Upload) -> Any:
        remove()
        found = look(upload)
        come()
        return found

    def come() -> None:
        if others:
            repository.add(others.pop(), until=None)

    def remove() -> None:
        with repository.engine.connect() as connection:
            connection.execute(text("DELETE FROM resumable_uploads"))

    come()
    monkeypatch.setattr(repository, "_taken", look_too_late)
    repository.add(replace(an_upload(), client_key=key), until=None)
    assert repository.find(key).id == an_upload().id

"""Traps of SQL servers: snapshots that are stale, sessions that hold connections, connections that have died."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy import select
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from flask_resumable import FlaskResumable
from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.upload import Status
from flask_resumable.errors import Unavailable
from flask_resumable.errors import UploadExists
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.repositories.sql.embedded import EmbeddedRepository
from flask_resumable.repositories.sql.repository import SQLAlchemyRepository
from flask_resumable.testing.samples import an_upload
from flask_resumable.testing.samples import id_of
from flask_resumable.testing.samples import LATER
from flask_resumable.testing.samples import NOW
from flask_resumable.testing.samples import SOON
from flask_resumable.testing.samples import take

from .conftest import started
from .openers import empty_sql
from .openers import open_sql
from .servers import DatabaseServer
from .servers import MariaDB
from .servers import PostgreSQL

SERVERS = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("postgresql", "mariadb")]


@pytest.fixture(params=SERVERS)
def sql(request: pytest.FixtureRequest) -> DatabaseServer:
    """Each SQL server."""
    server: DatabaseServer = request.getfixturevalue(request.param)
    return server


class Setup:
    """An app whose model has a note, with a pool of one connection if it is not told otherwise."""

    def __init__(self, app: Flask, uri: str, **options: Any) -> None:
        app.config["SQLALCHEMY_DATABASE_URI"] = uri
        defaults = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 2}
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {**defaults, **options}
        self.app = app
        self.db = db = SQLAlchemy(app)

        class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
            __tablename__ = "noted"
            note = db.Column(db.String(80))

        self.model: Any = Upload
        FlaskResumable(app, model=Upload, db=db)
        self.repository: SQLAlchemyRepository = app.extensions["resumable"].repository
        with app.app_context():
            db.drop_all()
            db.create_all()

    def notes(self) -> list[str | None]:
        """What is in the database by now."""
        with self.app.app_context(), self.db.engine.connect() as connection:
            return [*connection.execute(text("SELECT note FROM noted ORDER BY id")).scalars()]


@pytest.fixture
def make(app: Flask) -> Iterator[Callable[..., Setup]]:
    """Set the app up on a server."""
    made: list[Setup] = []

    def setup(uri: str, **options: Any) -> Setup:
        made.append(Setup(app, uri, **options))
        return made[-1]

    yield setup
    for one in made:
        with one.app.app_context():
            one.db.session.remove()
            one.db.engine.dispose()


def test_a_hook_sees_what_was_saved_behind_the_back_of_its_session(
    sql: DatabaseServer, make: Callable[..., Setup]
) -> None:
    """MariaDB shows a transaction the past, for ever; hooks get the upload as it is."""
    setup = make(sql.uri, pool_size=2)
    claim = setup.repository.add(an_upload(), until=SOON)
    with setup.app.app_context():
        stale = setup.db.session.execute(select(setup.model)).scalar_one()
        grown = an_upload(received=ByteRanges.prefix(7))
        setup.repository.save(grown, claim, until=SOON)
        seen: list[int] = []

        def hook(upload: Any) -> None:
            seen.append(upload.offset)
            upload.note = "seen"

        setup.repository.call(grown, hook)
        assert seen == [7]
        assert stale.offset == 7
    assert setup.notes() == ["seen"]
    assert setup.repository.get(id_of(1)).offset == 7


def test_a_lost_swap_is_tried_again_on_fresh_ground(sql: DatabaseServer) -> None:
    """When somebody else was quicker, the next try reads what they have written, at any isolation level."""
    repository, other = empty_sql(sql.uri), open_sql(sql.uri)
    repository.add(an_upload(length=100), until=None)
    seen: list[int] = []

    def add(upload: Any) -> Any:
        seen.append(upload.offset)
        if len(seen) <= 3:
            grown = replace(upload, received=ByteRanges.prefix(upload.offset + 10))
            other.amend(id_of(1), lambda upload: grown, now=NOW)
        return replace(upload, received=upload.received.add(90, 100, 10))

    assert repository.amend(id_of(1), add, now=NOW).received.pairs == ((0, 30), (90, 100))
    assert seen == [0, 10, 20, 30]
    for one in (repository, other):
        one.dispose()


@pytest.mark.parametrize("act", ["add", "claim", "save", "save_with_hook", "call", "remove"])
def test_one_connection_is_enough_for_everything(sql: DatabaseServer, make: Callable[..., Setup], act: str) -> None:
    """No step waits for a second connection while the app's session holds the first, digests in hooks included."""
    setup = make(sql.uri)
    repository = setup.repository
    claim = repository.add(an_upload(status=Status.FINISHING), until=SOON)
    whole = an_upload(received=ByteRanges.prefix(10), status=Status.COMPLETE)

    def hook(upload: Any) -> None:
        setup.db.session.execute(text("SELECT 1"))
        assert repository.digest(whole, "md5") is None
        repository.remember_digest(whole, "md5", "aa")
        repository.remember_digest(whole, "sha1", "bb")
        assert repository.digest(whole, "md5") == "aa"

    def plain_hook(upload: Any) -> None:
        setup.db.session.execute(text("SELECT 1"))

    with setup.app.app_context():
        setup.db.session.execute(text("SELECT 1"))
        repository.release_connection()
        acts: dict[str, Callable[[], object]] = {
            "add": lambda: repository.add(an_upload(2), until=None),
            "claim": lambda: repository.claim(id_of(1), now=LATER, until=LATER),
            "save": lambda: repository.save(whole, claim, until=SOON),
            "save_with_hook": lambda: repository.save_with_hook(whole, claim, hook, until=None),
            "call": lambda: repository.call(an_upload(status=Status.FINISHING), plain_hook),
            "remove": lambda: repository.remove(whole, claim, plain_hook),
        }
        acts[act]()
        setup.db.session.remove()
        if act == "save_with_hook":
            assert (repository.digest(whole, "md5"), repository.digest(whole, "sha1")) == ("aa", "bb")


@pytest.mark.xdist_group("mariadb")
@pytest.mark.parametrize("isolation", ["OFF", "ON"])
def test_a_renewal_does_not_spoil_the_hooks_transaction(
    mariadb: DatabaseServer, make: Callable[..., Setup], isolation: str
) -> None:
    """While on_complete works, its claim is renewed; MariaDB 11.6 would refuse the hook's commit for that."""
    setup = make(mariadb.uri, pool_size=2)
    _isolate(setup, isolation)
    try:
        claim = setup.repository.add(an_upload(status=Status.FINISHING), until=SOON)

        def slow_hook(upload: Any) -> None:
            setup.repository.renew(claim, until=LATER)
            upload.note = "done"
            setup.db.session.flush()
            setup.repository.renew(claim, until=LATER)  # the hook's transaction has locked the row by now

        with setup.app.app_context():
            setup.repository.save_with_hook(an_upload(status=Status.COMPLETE), claim, slow_hook, until=None)
        assert setup.notes() == ["done"]
        assert setup.repository.get(id_of(1)).status is Status.COMPLETE
    finally:
        _isolate(setup, "OFF")


def _isolate(setup: Setup, value: str) -> None:
    """What MariaDB 11.6 does by default; 10.11 can do it."""
    with setup.app.app_context():
        with setup.db.engine.connect() as connection:
            connection.execute(text(f"SET GLOBAL innodb_snapshot_isolation={value}"))
        setup.db.engine.dispose()


@pytest.mark.parametrize("kind", [PostgreSQL, MariaDB])
def test_dead_connections_cost_no_statement(kind: type[DatabaseServer]) -> None:
    """When the server has been restarted, the first statement gets through, without a price on all the others."""
    for server in started(kind):
        repository = open_sql(server.uri)
        claim = repository.add(an_upload(), until=SOON)
        statements: list[str] = []

        @event.listens_for(repository.engine, "before_cursor_execute")
        def note(conn: Any, cursor: Any, statement: str, *rest: Any, seen: list[str] = statements) -> None:
            seen.append(statement)

        repository.get(id_of(1))
        assert len(statements) == 1
        server.kill()
        with pytest.raises(Unavailable):
            repository.get(id_of(1))
        server.start()
        repository.save(an_upload(received=ByteRanges.prefix(3)), claim, until=SOON)
        server.kill()
        server.start()
        repository.add(an_upload(2), until=None)
        server.kill()
        server.start()
        assert repository.get(id_of(1)).offset == 3
        repository.dispose()


def test_an_insertion_whose_answer_was_lost_is_one_insertion(sql: DatabaseServer) -> None:
    """If the connection breaks behind an insertion, it is not taken for somebody else's when it is tried again."""
    repository = empty_sql(sql.uri)
    broken: list[int] = []

    @event.listens_for(repository.engine, "after_cursor_execute")
    def break_connection(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("INSERT") and not broken:
            broken.append(1)
            raise _disconnect(repository)

    claim = repository.add(an_upload(), until=SOON)
    assert broken
    repository.save(an_upload(received=ByteRanges.prefix(3)), claim, until=None)
    with pytest.raises(UploadExists):
        repository.add(an_upload(), until=None)
    assert take(repository)[0].offset == 3
    repository.dispose()


def _disconnect(repository: EmbeddedRepository) -> Exception:
    error = repository.engine.dialect.loaded_dbapi.OperationalError(2013, "Lost connection")
    return OperationalError("INSERT", None, error, connection_invalidated=True)


def test_migrations_find_nothing_to_change(sql: DatabaseServer, make: Callable[..., Setup]) -> None:
    """Alembic sees no difference between the model and the table that was made of it, types included."""
    setup = make(sql.uri)

    def is_ours(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or name == "noted"

    with setup.app.app_context(), setup.db.engine.connect() as connection:
        options = {"compare_type": True, "include_name": is_ours}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, setup.db.metadata) == []

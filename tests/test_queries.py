"""How many SQL statements each request takes, which ones, and that none of them waits while a body is on its way."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine
from sqlalchemy import event

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.repositories.sql.sqlite import Direct
from tests.conformance.tus_client import Body
from tests.conformance.tus_client import OCTETS
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample

CONTENT = b"0123456789" * 1000
FILE = Sample(CONTENT, 2500)


@dataclass
class Statements:
    """The verbs of the statements that reach the database to which it is listening."""

    verbs: list[str] = field(default_factory=list)
    in_use: Callable[[], int] = int

    def listen(self, engine: Engine) -> None:
        """From now on, note what goes to a database of the app's."""
        event.listen(engine, "before_cursor_execute", lambda c, cursor, statement, *rest: self._note(statement))
        self.in_use = engine.pool.checkedout  # type: ignore[attr-defined]

    def listen_directly(self, database: Direct) -> None:
        """The same for the embedded database."""
        database.raw.set_trace_callback(self._note)
        self.in_use = lambda: int(database._lock.locked())

    def of(self, act: Callable[[], Any], *statuses: int) -> list[str]:
        """The verbs of one request, which must succeed."""
        self.verbs.clear()
        assert act().status_code in statuses
        return [*self.verbs]

    @property
    def checked_out(self) -> int:
        """How many connections are in somebody's hands right now."""
        return self.in_use()

    def _note(self, statement: str) -> None:
        if not statement.startswith("PRAGMA"):
            self.verbs.append(statement.split()[0])


class Quiet(FlaskResumable):
    """An app without a say."""


class Completing(FlaskResumable):
    """An app that does something with finished uploads."""

    def on_complete(self, upload: Any) -> None:
        assert upload.path


class Asking(FlaskResumable):
    """An app that asks its own database who its users are."""

    def __init__(self, app: Flask, *, ask: Callable[[], None], note: Callable[[str], None], **wiring: Any) -> None:
        self._ask = ask
        self._note = note
        super().__init__(app, **wiring)

    def current_owner(self) -> None:
        self._ask()


class Noting(Asking):
    """The same, and it writes there in its hooks."""

    def on_create(self, upload: Any) -> None:
        self._note("on_create")

    def pre_save(self, upload: Any) -> None:
        self._note("pre_save")


@pytest.fixture
def statements() -> Statements:
    """What the app under test says to its database."""
    return Statements()


@pytest.fixture
def start(app: Flask, statements: Statements) -> Callable[[type[FlaskResumable]], Tus]:
    """Serve with the embedded database, which has its table already."""

    def serve(extension: type[FlaskResumable]) -> Tus:
        app.config["FLOW_ENABLED"] = True
        extension(app)
        tus = Tus(app.test_client())
        tus.upload(CONTENT)
        statements.listen_directly(app.extensions["resumable"].repository._database)
        return tus

    return serve


@pytest.fixture
def tus(start: Callable[[type[FlaskResumable]], Tus]) -> Tus:
    """A client of an app without hooks."""
    return start(Quiet)


def test_a_creation_takes_one_statement(tus: Tus, statements: Statements) -> None:
    """INSERT: the record, not claimed, for there is nothing more to do."""
    assert statements.of(lambda: tus.create(len(CONTENT)), 201) == ["INSERT"]


def test_a_creation_with_content_takes_two(tus: Tus, statements: Statements) -> None:
    """INSERT: the record, claimed from birth. UPDATE: how much is there, and the claim is given up."""
    assert statements.of(lambda: tus.create_with(CONTENT[:10], len(CONTENT)), 201) == ["INSERT", "UPDATE"]


def test_a_patch_takes_two_statements(tus: Tus, statements: Statements) -> None:
    """UPDATE: the claim, which returns the record if the upload is free and belongs to the client. UPDATE: the new
    offset, and the release of the claim.
    """
    url = tus.new(len(CONTENT))
    assert statements.of(lambda: tus.patch(url, 0, CONTENT[:100]), 204) == ["UPDATE", "UPDATE"]


def test_the_last_patch_takes_three_statements(tus: Tus, statements: Statements) -> None:
    """One UPDATE more: after a crash between the last byte and the file's final name, the record must show that the
    upload waits to be finished.
    """
    url = tus.new(len(CONTENT))
    assert statements.of(lambda: tus.patch(url, 0, CONTENT), 204) == ["UPDATE", "UPDATE", "UPDATE"]


def test_a_patch_without_returning_takes_one_more(
    tus: Tus, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an UPDATE cannot return what it changed, as on MySQL, a SELECT comes first."""
    monkeypatch.setattr(Direct, "can_return", False)
    url = tus.new(len(CONTENT))
    assert statements.of(lambda: tus.patch(url, 0, CONTENT[:100]), 204) == ["SELECT", "UPDATE", "UPDATE"]


def test_a_head_takes_one(tus: Tus, statements: Statements) -> None:
    """SELECT: nothing is claimed, before the first byte, between, and after the last."""
    url = tus.new(len(CONTENT))
    assert statements.of(lambda: tus.head(url), 200) == ["SELECT"]
    tus.patch(url, 0, CONTENT[:100])
    assert statements.of(lambda: tus.head(url), 200) == ["SELECT"]
    tus.patch(url, 100, CONTENT[100:])
    assert statements.of(lambda: tus.head(url), 200) == ["SELECT"]


def test_a_patch_at_the_wrong_offset_takes_three_statements(tus: Tus, statements: Statements) -> None:
    """UPDATE: the claim. UPDATE: its release. SELECT: the expiry, for the response."""
    url = tus.new(len(CONTENT))
    verbs = statements.of(lambda: tus.patch(url, 7, CONTENT[:100]), 409)
    assert verbs == ["UPDATE", "UPDATE", "SELECT"]


def test_a_removal_takes_nine(tus: Tus, statements: Statements) -> None:
    """SELECT: whose upload it is. UPDATE: the claim. SAVEPOINT, DELETE, ROLLBACK, RELEASE: whether the record could go,
    before bytes do. UPDATE: from here on it is to be removed, whatever happens. DELETE: after the bytes. UPDATE: the
    claim is given up.
    """
    url = tus.upload(CONTENT)
    verbs = statements.of(lambda: tus.delete(url), 204)
    assert verbs == ["SELECT", "UPDATE", "SAVEPOINT", "DELETE", "ROLLBACK", "RELEASE", "UPDATE", "DELETE", "UPDATE"]


def test_the_first_chunk_takes_four(tus: Tus, statements: Statements) -> None:
    """flow.js. SELECT: whether the file's key is known. INSERT: it was not. SELECT: once nobody else can be placing
    this chunk, whether it is still wanted. UPDATE: it is here.
    """
    verbs = statements.of(lambda: Flow(tus.client).octet(FILE, 1), 200)
    assert verbs == ["SELECT", "INSERT", "SELECT", "UPDATE"]


def test_a_chunk_takes_three(tus: Tus, statements: Statements) -> None:
    """The same without the INSERT, in whatever order they come; one that is here already takes the first SELECT."""
    flow = Flow(tus.client)
    flow.octet(FILE, 2)
    assert statements.of(lambda: flow.octet(FILE, 4), 200) == ["SELECT", "SELECT", "UPDATE"]
    assert statements.of(lambda: flow.octet(FILE, 1), 200) == ["SELECT", "SELECT", "UPDATE"]
    assert statements.of(lambda: flow.octet(FILE, 4), 200) == ["SELECT"]
    assert statements.of(lambda: flow.test(FILE, 4), 200) == ["SELECT"]


def test_the_last_chunk_takes_six(tus: Tus, statements: Statements) -> None:
    """Three more than others: SELECT and UPDATE claim the upload, for only one of the chunks that come together may
    finish it; UPDATE: it is complete.
    """
    flow = Flow(tus.client)
    for number in (2, 4, 3):
        flow.octet(FILE, number)
    verbs = statements.of(lambda: flow.octet(FILE, 1), 200)
    assert verbs == ["SELECT", "SELECT", "UPDATE", "SELECT", "UPDATE", "UPDATE"]


def test_a_hook_takes_no_more(start: Callable[[type[FlaskResumable]], Tus], statements: Statements) -> None:
    """With the embedded database, a hook is given what is known already."""
    tus = start(Completing)
    assert statements.of(lambda: tus.create(len(CONTENT)), 201) == ["INSERT"]
    url = tus.new(len(CONTENT))
    assert statements.of(lambda: tus.patch(url, 0, CONTENT), 204) == ["UPDATE", "UPDATE", "UPDATE"]


def watched(statements: Statements) -> tuple[Body, list[int]]:
    """A body, and how many connections were in use at its start, between its pieces, and before its end."""
    seen: list[int] = []

    def look() -> None:
        seen.append(statements.checked_out)

    return Body(look, CONTENT[:3000], look, CONTENT[3000:9000], look, CONTENT[9000:]), seen


def test_no_connection_waits_for_a_body(tus: Tus, statements: Statements) -> None:
    """While bytes flow, nobody has the only connection to the embedded database."""
    body, seen = watched(statements)
    url = tus.new(len(CONTENT))
    headers = {"Upload-Offset": "0", "Content-Type": OCTETS}
    answer = tus.request("PATCH", url, headers=headers, body=body, announced=len(CONTENT))
    assert (answer.status_code, seen) == (204, [0, 0, 0])
    body, seen = watched(statements)
    assert tus.create_with(body, len(CONTENT), announced=len(CONTENT)).status_code == 201
    assert seen == [0, 0, 0]
    body, seen = watched(statements)
    parameters = Flow(tus.client).spelled(Sample(CONTENT, len(CONTENT)), 1)
    assert Flow(tus.client).stream(body, len(CONTENT), parameters, OCTETS).status_code == 200
    assert seen == [0, 0, 0]


@pytest.fixture
def db(app: Flask, tmp_path: Path) -> Iterator[SQLAlchemy]:
    """The app's own database."""
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.sqlite'}"
    db = SQLAlchemy(app)
    yield db
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def model(db: SQLAlchemy) -> type[Any]:
    """The app's own model of uploads."""

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
        pass

    return Upload


def test_a_hook_with_a_model_of_the_app_takes_no_more(
    app: Flask, db: SQLAlchemy, model: type[Any], statements: Statements
) -> None:
    """``on_complete`` gets the app's own instance. Only columns of the app are read, and only when they are used."""
    Completing(app, model=model, db=db)
    tus = Tus(app.test_client())
    with app.app_context():
        db.create_all()
        tus.upload(CONTENT)
        statements.listen(db.engine)
    assert statements.of(lambda: tus.create(len(CONTENT)), 201) == ["INSERT"]
    url = tus.new(len(CONTENT))
    assert statements.of(lambda: tus.patch(url, 0, CONTENT[:100]), 204) == ["UPDATE", "UPDATE"]
    assert statements.of(lambda: tus.patch(url, 100, CONTENT[100:]), 204) == ["UPDATE", "UPDATE", "UPDATE"]
    assert statements.of(lambda: tus.head(url), 200) == ["SELECT"]


@pytest.mark.parametrize("extension", [Asking, Noting])
def test_no_app_leaves_its_connection_to_a_body(
    app: Flask, db: SQLAlchemy, model: type[Any], statements: Statements, extension: type[Asking]
) -> None:
    """The same when the app has just asked and written in its own session, in the same request."""

    class Note(db.Model):  # type: ignore[name-defined, misc]
        id = db.Column(db.Integer, primary_key=True)
        text = db.Column(db.String(20), nullable=False)

    def ask() -> None:
        db.session.execute(db.select(Note)).all()
        in_hooks.append(statements.checked_out)

    def note(text: str) -> None:
        db.session.add(Note(text=text))
        db.session.flush()
        in_hooks.append(statements.checked_out)

    in_hooks: list[int] = []
    extension(app, ask=ask, note=note, model=model, db=db)
    tus = Tus(app.test_client())
    with app.app_context():
        db.create_all()
        statements.listen(db.engine)
    body, seen = watched(statements)
    assert tus.create_with(body, len(CONTENT), announced=len(CONTENT)).status_code == 201
    assert seen == [0, 0, 0]
    assert in_hooks and all(in_hooks)
    in_hooks.clear()
    body, seen = watched(statements)
    answer = tus.request(
        "PATCH",
        tus.new(len(CONTENT)),
        headers={"Upload-Offset": "0", "Content-Type": OCTETS},
        body=body,
        announced=len(CONTENT),
    )
    assert (answer.status_code, seen) == (204, [0, 0, 0])
    assert in_hooks and all(in_hooks)
    with app.app_context():
        kept = [row.text for row in db.session.execute(db.select(Note)).scalars()]
    assert kept == (["on_create", "pre_save"] * 2 if extension is Noting else [])

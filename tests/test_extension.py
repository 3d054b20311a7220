"""How an app takes the extension in."""

from __future__ import annotations

import gc
import io
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from flask import abort
from flask import Flask
from flask import Response
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine
from sqlalchemy import ForeignKey
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import relationship
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import sessionmaker

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable import signals
from flask_resumable import Upload
from flask_resumable import UploadRejected
from flask_resumable.core.selection import Selection
from flask_resumable.core.upload import Status
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.models import SQLAlchemyModel
from flask_resumable.repositories.memory import MemoryRepository

TUS = {"Tus-Resumable": "1.0.0"}


def _create(client: FlaskClient, length: int = 5) -> Any:
    return client.post("/files/", headers={**TUS, "Upload-Length": str(length), "Upload-Metadata": "filename YS50eHQ="})


def _patch(client: FlaskClient, url: str, content: bytes = b"hello", offset: int = 0) -> Any:
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    return client.patch(url, data=content, headers=headers)


def _upload(client: FlaskClient) -> str:
    """Upload five bytes; the URL."""
    created = _create(client)
    assert created.status_code == 201, created.text
    url = f"/files/{created.headers['Location']}"
    assert _patch(client, url).status_code == 204
    return url


@pytest.fixture
def db(app: Flask, tmp_path: Path) -> Iterator[SQLAlchemy]:
    """A Flask-SQLAlchemy database with a second bind."""
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.sqlite'}"
    app.config["SQLALCHEMY_BINDS"] = {"other": f"sqlite:///{tmp_path / 'other.sqlite'}"}
    db = SQLAlchemy(app)
    yield db
    with app.app_context():
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


def test_one_line_is_enough(app: Flask) -> None:
    """``FlaskResumable(app)`` serves uploads with nothing else set up."""
    FlaskResumable(app)
    _upload(app.test_client())
    assert [path.read_bytes() for path in Path(app.instance_path, "uploads").glob("?" * 32)] == [b"hello"]


def test_a_second_registration_is_refused(app: Flask) -> None:
    """An app takes the extension once, and says so."""
    FlaskResumable(app)
    with pytest.raises(RuntimeError, match="already"):
        FlaskResumable(app)


def test_one_object_serves_several_apps(tmp_path: Path) -> None:
    """Two apps of one factory do not see each other's uploads."""
    resumable = FlaskResumable()
    clients = []
    for name in ("one", "two"):
        app = Flask(name, instance_path=str(tmp_path / name))
        resumable.init_app(app)
        clients.append(app.test_client())
    url = _upload(clients[0])
    assert clients[0].head(url, headers=TUS).status_code == 200
    assert clients[1].head(url, headers=TUS).status_code == 404


def test_an_app_that_is_gone_leaves_nothing_behind(tmp_path: Path) -> None:
    """An app factory may be called a thousand times, as in tests: neither the old apps nor their threads stay."""

    def used() -> ref[Flask]:
        app = Flask("app", instance_path=str(tmp_path))
        app.config.update(SQLALCHEMY_DATABASE_URI="sqlite:///app.sqlite", RESUMABLE_LEASE=0.3)
        db = SQLAlchemy(app)

        class Document(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
            pass

        FlaskResumable(app, model=Document, db=db)
        with app.app_context():
            db.create_all()
        _upload(app.test_client())
        with app.app_context():
            db.engine.dispose()
        return ref(app)

    before = {*threading.enumerate()}
    app = used()
    deadline = time.monotonic() + 30
    while app() is not None or {*threading.enumerate()} - before:
        assert time.monotonic() < deadline, (app(), threading.enumerate())
        time.sleep(0.05)
        gc.collect()


@pytest.mark.parametrize("is_used", [True, False], ids=["used", "unused"])
def test_an_app_without_a_database_leaves_nothing_behind_either(tmp_path: Path, is_used: bool) -> None:
    """Signals of Flask's, which know all apps, do not keep those that are gone."""

    def made() -> ref[Flask]:
        app = Flask("app", instance_path=str(tmp_path))
        FlaskResumable(app)
        if is_used:
            _upload(app.test_client())
        app.extensions["resumable"].repository.dispose()
        return ref(app)

    app = made()
    deadline = time.monotonic() + 30
    while app() is not None:
        assert time.monotonic() < deadline, gc.get_referrers(app())
        time.sleep(0.05)
        gc.collect()


def test_the_ready_made_model_makes_its_table(app: Flask, db: SQLAlchemy) -> None:
    """As the older package's README has it: a model, a database, and it works; the mapped class can be queried."""
    resumable = FlaskResumable(app, model=SQLAlchemyModel, db=db)
    _upload(app.test_client())
    assert resumable.model is not None
    with app.app_context():
        upload = db.session.scalars(select(resumable.model)).one()
        assert (upload.filename, upload.metadata["filename"], upload.complete) == ("a.txt", "a.txt", True)
        assert upload.md5 == "5d41402abc4b2a76b9719d911017c592"
        assert upload.path.read_bytes() == b"hello"


def test_a_database_in_memory_works(app: Flask) -> None:
    """The seed's own example: everything in ``sqlite:///:memory:``."""
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///:memory:"
    db = SQLAlchemy(app)
    FlaskResumable(app, model=SQLAlchemyModel, db=db)
    client = app.test_client()
    assert client.head(_upload(client), headers=TUS).headers["Upload-Offset"] == "5"
    with app.app_context():
        db.engine.dispose()


def test_without_tables_of_its_own_the_app_makes_them(app: Flask, db: SQLAlchemy) -> None:
    """With CREATE_TABLES off, the ready-made table is part of the app's metadata, for create_all() or migrations."""
    app.config["RESUMABLE_CREATE_TABLES"] = False
    FlaskResumable(app, model=SQLAlchemyModel, db=db)
    assert "resumable_uploads" in db.metadata.tables
    assert _create(app.test_client()).status_code == 503
    with app.app_context():
        db.create_all()
    _upload(app.test_client())


@pytest.mark.parametrize("bind", [None, "other"])
@pytest.mark.parametrize("base", ["legacy", "declarative"])
def test_models_of_the_app_have_their_own_columns(tmp_path: Path, base: str, bind: str | None) -> None:
    """A model of the app, with a column, a relationship and a bind key, is what hooks get and what is kept."""
    app = Flask("app", instance_path=str(tmp_path / "instance"))
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.sqlite'}"
    app.config["SQLALCHEMY_BINDS"] = {"other": f"sqlite:///{tmp_path / 'other.sqlite'}"}

    class Base(DeclarativeBase):
        pass

    db: Any = SQLAlchemy(app, model_class=Base) if base == "declarative" else SQLAlchemy(app)

    class Project(db.Model):  # type: ignore[misc]
        __bind_key__ = bind
        id: Mapped[int] = mapped_column(primary_key=True)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc]
        __bind_key__ = bind
        project_id: Mapped[int | None] = mapped_column(ForeignKey("project.id"))
        project: Mapped[Project | None] = relationship()

    class Uploads(FlaskResumable[Upload]):
        def on_create(self, upload: Upload) -> None:
            upload.project = Project(id=7)

    Uploads(app, model=Upload, db=db)
    with app.app_context():
        db.create_all()
    _upload(app.test_client())
    with app.app_context():
        upload = db.session.scalars(select(Upload)).one()
        assert (upload.project.id, dict(upload.metadata), upload.status) == (7, {"filename": "a.txt"}, "complete")
        for engine in db.engines.values():
            engine.dispose()


@pytest.mark.parametrize("scoped", [True, False])
def test_plain_sessions_serve_as_well(app: Flask, tmp_path: Path, scoped: bool) -> None:
    """Without Flask-SQLAlchemy, a ``scoped_session`` or a ``sessionmaker`` is the database."""

    class Base(DeclarativeBase):
        pass

    class Upload(SQLAlchemyMixin, Base):
        __tablename__ = "uploads"
        note: Mapped[str | None]

    class Uploads(FlaskResumable[Upload]):
        def on_complete(self, upload: Upload) -> None:
            upload.note = "seen"

    engine = create_engine(f"sqlite:///{tmp_path / 'plain.sqlite'}")
    Base.metadata.create_all(engine)
    maker = sessionmaker(engine)
    sessions = scoped_session(maker) if scoped else maker
    Uploads(app, model=Upload, db=sessions)
    _upload(app.test_client())
    with maker() as session:
        assert session.scalars(select(Upload)).one().note == "seen"
    if isinstance(sessions, scoped_session):
        sessions.remove()
    engine.dispose()


@pytest.mark.parametrize(
    "arguments",
    [{"model": SQLAlchemyModel}, {"model": dict}, {"model": "uploads"}, {"db": object()}, {"model": SQLAlchemyMixin}],
    ids=["no db", "no model", "a name", "no database", "not mapped"],
)
def test_wrong_models_stop_the_app(app: Flask, arguments: dict[str, Any]) -> None:
    """What cannot be a model or its database is refused at start."""
    with pytest.raises(ConfigurationError):
        FlaskResumable(app, **arguments)


def test_hooks_are_called_in_order_with_or_without_the_upload(app: Flask) -> None:
    """Each hook is called at its time, as the seed's README writes it (no argument) or with the upload."""
    calls: list[tuple[str, Any]] = []

    class Uploads(FlaskResumable):
        def on_create(self) -> None:  # type: ignore[override]
            calls.append(("on_create", None))

        def pre_save(self, upload: Any) -> None:
            calls.append(("pre_save", upload.offset))

        def post_save(self, upload: Any) -> None:
            calls.append(("post_save", upload.offset))

        def on_complete(self) -> None:  # type: ignore[override]
            calls.append(("on_complete", None))

        def pre_delete(self, upload: Any) -> None:
            calls.append(("pre_delete", upload.complete))

        def post_delete(self, upload: Any) -> None:
            calls.append(("post_delete", upload.filename))

    Uploads(app)
    client = app.test_client()
    client.delete(_upload(client), headers=TUS)
    assert calls == [
        ("on_create", None),
        ("pre_save", 0),
        ("post_save", 5),
        ("on_complete", None),
        ("pre_delete", True),
        ("post_delete", "a.txt"),
    ]


@pytest.mark.parametrize("hook", ["on_create", "pre_save", "pre_delete", "on_complete"])
@pytest.mark.parametrize("refuse", [lambda: UploadRejected(418, "No tea."), lambda: abort(418, "No tea.")])
def test_hooks_refuse_with_status_and_message(app: Flask, hook: str, refuse: Any) -> None:
    """A refusal reaches the client as it was said, and changes nothing that should stay."""

    def refusing(self: Any, upload: Any) -> None:
        error = refuse()
        raise error

    type("Uploads", (FlaskResumable,), {hook: refusing})(app)
    client = app.test_client()
    response = _create(client)
    url = f"/files/{response.headers.get('Location')}"
    if hook != "on_create":
        assert response.status_code == 201
        response = client.delete(url, headers=TUS) if hook == "pre_delete" else _patch(client, url)
    assert (response.status_code, response.text, response.mimetype) == (418, "No tea.\n", "text/plain")
    remains = client.head(url, headers=TUS)
    assert (remains.status_code, remains.headers.get("Upload-Offset")) == (
        (200, "0") if hook in ("pre_save", "pre_delete") else (404, None)
    )
    if hook == "on_complete":
        assert not [path for path in Path(app.instance_path, "uploads").rglob("*") if path.is_file()]


def test_a_response_that_a_hook_aborts_with_reaches_the_client(app: Flask) -> None:
    """``abort(response)`` answers with that response, protocol headers added; only a redirect becomes a 401."""

    class Uploads(FlaskResumable):
        def on_create(self, upload: Any) -> None:
            abort(Response("pay first", 402, headers={"X-Price": "5"}))

        def pre_save(self, upload: Any) -> None:
            abort(Response("", 302, headers={"Location": "/login"}))

    Uploads(app)
    response = _create(app.test_client())
    assert (response.status_code, response.text, response.headers["X-Price"]) == (402, "pay first", "5")
    assert response.headers["Tus-Resumable"] == "1.0.0"


def test_a_login_redirect_becomes_a_401(app: Flask) -> None:
    """A client would follow to the login page and take its 200 for an answer."""
    FlaskResumable(app)
    app.before_request(lambda: Response("", 302, headers={"Location": "/login"}))
    response = _create(app.test_client())
    assert (response.status_code, "Location" in response.headers) == (401, False)


def test_a_failing_hook_is_retried_and_commits_once(app: Flask, db: SQLAlchemy) -> None:
    """What on_complete wrote is rolled back if it fails; the client's next request calls it again."""
    app.config["PROPAGATE_EXCEPTIONS"] = False

    class Row(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        upload: Mapped[str]

    calls: list[str] = []

    class Uploads(FlaskResumable):
        def on_complete(self, upload: Any) -> None:
            db.session.add(Row(upload=upload.id))
            db.session.flush()
            calls.append(upload.id)
            if len(calls) < 3:
                raise OSError("mail server is down")

    Uploads(app, model=SQLAlchemyModel, db=db)
    with app.app_context():
        db.create_all()
    client = app.test_client()
    url = f"/files/{_create(client).headers['Location']}"
    failed = _patch(client, url)
    assert (failed.status_code, failed.mimetype, failed.headers["Tus-Resumable"]) == (500, "text/plain", "1.0.0")
    assert client.head(url, headers=TUS).status_code == 423
    assert client.head(url, headers=TUS).headers["Upload-Offset"] == "5"
    with app.app_context():
        assert len(db.session.scalars(select(Row)).all()) == 1
    client.head(url, headers=TUS)
    assert len(calls) == 3


def test_hooks_may_be_async(app: Flask, db: SQLAlchemy) -> None:
    """They are awaited, and work in the app's session as others do."""

    class Row(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        upload: Mapped[str]

    class Uploads(FlaskResumable):
        async def on_create(self, upload: Upload) -> None:
            if upload.length == 6:
                raise UploadRejected(418, "No tea.")

        async def on_complete(self, upload: Upload) -> None:
            db.session.add(Row(upload=upload.id))

    Uploads(app, model=SQLAlchemyModel, db=db)
    with app.app_context():
        db.create_all()
    client = app.test_client()
    url = _upload(client)
    assert _create(client, 6).status_code == 418
    with app.app_context():
        assert db.session.scalars(select(Row.upload)).all() == [url.rpartition("/")[2]]


def test_a_hook_may_commit_by_itself(app: Flask, db: SQLAlchemy) -> None:
    """The hook's own commit takes the upload's completion along: both are there, or neither."""
    seen: list[str] = []

    class Uploads(FlaskResumable):
        def on_complete(self, upload: Any) -> None:
            db.session.commit()
            with db.engine.connect() as connection:
                seen.extend(connection.exec_driver_sql("select status from resumable_uploads").scalars())

    Uploads(app, model=SQLAlchemyModel, db=db)
    _upload(app.test_client())
    assert seen == ["complete"]


def test_a_hook_that_recovers_from_its_own_rollback_completes(app: Flask, db: SQLAlchemy) -> None:
    """If the hook's first commit fails and it rolls back, the completion goes with its second."""

    class Row(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)

    class Uploads(FlaskResumable):
        def on_complete(self, upload: Any) -> None:
            for number in (1, 1, 2):
                db.session.add(Row(id=number))
                try:
                    with db.session.begin_nested():
                        db.session.flush()
                    db.session.commit()
                except Exception:
                    db.session.rollback()

    Uploads(app, model=SQLAlchemyModel, db=db)
    with app.app_context():
        db.create_all()
    client = app.test_client()
    url = _upload(client)
    with app.app_context():
        assert db.session.scalars(select(Row.id).order_by(Row.id)).all() == [1, 2]
    assert client.head(url, headers=TUS).headers["Upload-Offset"] == "5"
    assert app.extensions["resumable"].repository.list(Selection(status=Status.COMPLETE), limit=2)


def test_no_connection_is_held_while_bytes_flow(app: Flask, db: SQLAlchemy) -> None:
    """Even if the app has looked up its user before, the body is read with no connection checked out."""
    FlaskResumable(app, model=SQLAlchemyModel, db=db)
    checked_out: list[int] = []

    class Content(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            checked_out.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]
            return super().read1(size)

    @app.before_request
    def look_up_user() -> None:
        db.session.connection().exec_driver_sql("select 1")

    client = app.test_client()
    url = f"/files/{_create(client).headers['Location']}"
    response = client.patch(
        url,
        input_stream=Content(b"hello"),
        content_length=5,
        headers={**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"},
    )
    assert response.status_code == 204
    assert set(checked_out) == {0}


def test_signals_tell_observers_afterwards(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """Observers get the app and the upload, after the state is saved; an observer that fails changes nothing."""
    FlaskResumable(app)
    seen: list[Any] = []

    def note(sender: Flask, upload: Any) -> None:
        seen.append((sender, upload.status))
        raise LookupError("observer trouble")

    with signals.on_complete.connected_to(note, app), caplog.at_level(logging.ERROR):
        _upload(app.test_client())
    assert seen == [(app, "complete")]
    assert "observer trouble" in caplog.text


def test_repositories_of_the_user_are_taken(app: Flask) -> None:
    """Anything that does what the interface says keeps the state; hooks get a plain view of the upload."""
    repository = MemoryRepository()
    seen: list[Any] = []

    class Uploads(FlaskResumable):
        def on_complete(self, upload: Any) -> None:
            with upload.open() as stream:
                seen.append((upload.filename, stream.read(), upload.digest("sha1")[:6], upload.created_on))

    Uploads(app, repository=repository)
    url = _upload(app.test_client())
    created_at = repository.get(url.rpartition("/")[2]).created_at
    assert seen == [("a.txt", b"hello", "aaf4c6", created_at)]
    assert not Path(app.instance_path, "resumable.sqlite").exists()


def test_the_blueprint_can_be_reached(app: Flask) -> None:
    """For csrf.exempt, rate limits and before_request of uploads alone."""
    FlaskResumable(app)
    blueprint = app.extensions["resumable"].blueprints["tus"]
    assert app.blueprints[blueprint.name] is blueprint

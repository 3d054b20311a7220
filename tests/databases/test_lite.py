"""Flask-SQLAlchemy-Lite as the app's database: its session, its engines, and tables that the app makes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy import event
from sqlalchemy import ForeignKey
from sqlalchemy import inspect
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import Session

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.models import SQLAlchemyModel
from tests.conformance.tus_client import Tus


class Base(DeclarativeBase):
    """The app's."""


class Upload(SQLAlchemyMixin, Base):
    """The app's model."""

    __tablename__ = "upload"
    note: Mapped[str | None]


class Document(Base):
    """What ``on_complete`` writes."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("upload.id", ondelete="CASCADE"))


class Elsewhere(DeclarativeBase):
    """Models in another database."""


class Far(SQLAlchemyMixin, Elsewhere):
    """Uploads there."""

    __tablename__ = "upload"


@pytest.fixture
def db(app: Flask, tmp_path: Path) -> Iterator[SQLAlchemy]:
    """Two engines, one of which is the default, of one connection each."""
    options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 2}
    app.config["SQLALCHEMY_ENGINES"] = {
        "default": {"url": f"sqlite:///{tmp_path / 'app.sqlite'}", **options},
        "far": {"url": f"sqlite:///{tmp_path / 'far.sqlite'}", **options},
    }
    db = SQLAlchemy(app, session_options={"binds": {Elsewhere: "far"}})
    with app.app_context():
        for engine in db.engines.values():
            event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA foreign_keys=ON"))
        Base.metadata.create_all(db.engine)
        Elsewhere.metadata.create_all(db.get_engine("far"))
    yield db
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


def _begin(app: Flask) -> str:
    """Create an upload of five bytes; its URL."""
    created = Tus(app.test_client()).request("POST", headers={"Upload-Length": "5"})
    assert created.status_code == 201, created.text
    return f"/files/{created.headers['Location']}"


def _upload(app: Flask) -> str:
    """Upload them; the URL."""
    url = _begin(app)
    assert Tus(app.test_client()).patch(url, 0, b"hello").status_code == 204
    return url


def test_hooks_work_in_the_session_of_the_context(app: Flask, db: SQLAlchemy) -> None:
    """What they get is an instance in ``db.session``, and it is one session from the first hook to the last."""
    seen: list[Session] = []

    class Uploads(FlaskResumable[Upload]):
        def pre_save(self, upload: Upload) -> None:
            assert inspect(upload).session is db.session
            seen.append(db.session)

        def on_complete(self, upload: Upload) -> None:
            assert inspect(upload).session is db.session
            seen.append(db.session)
            upload.note = "seen"

    resumable = Uploads(app, model=Upload, db=db)
    upload_id = _upload(app).rpartition("/")[2]
    assert seen[0] is seen[1]
    with app.app_context():
        assert db.session is not seen[0]
        found = resumable.get(upload_id)
        assert found is not None and found in db.session
        assert (found.note, found.status, found.metadata.raw) == ("seen", "complete", "")


def test_what_a_hook_wrote_commits_with_the_completion(app: Flask, db: SQLAlchemy) -> None:
    """If on_complete fails, its rows are not there, nor is the upload complete; the next try writes them once."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    calls: list[str] = []

    class Uploads(FlaskResumable[Upload]):
        def on_complete(self, upload: Upload) -> None:
            db.session.add(Document(upload_id=upload.id))
            db.session.flush()
            calls.append(upload.id)
            if len(calls) == 1:
                raise OSError("mail server is down")

    Uploads(app, model=Upload, db=db)
    url = _begin(app)
    tus = Tus(app.test_client())

    def state() -> tuple[list[str], list[str]]:
        with app.app_context():
            return [*db.session.scalars(select(Upload.status))], [*db.session.scalars(select(Document.upload_id))]

    assert tus.patch(url, 0, b"hello").status_code == 500
    assert state() == (["finishing"], [])
    assert tus.head(url).headers["Upload-Offset"] == "5"
    assert state() == (["complete"], [url.rpartition("/")[2]])
    assert len(calls) == 2


def test_a_commit_of_the_hook_takes_the_completion_along(app: Flask, db: SQLAlchemy) -> None:
    """A hook that commits by itself and fails afterwards has completed the upload: both are there."""
    app.config["PROPAGATE_EXCEPTIONS"] = False

    class Uploads(FlaskResumable[Upload]):
        def on_complete(self, upload: Upload) -> None:
            db.session.add(Document(upload_id=upload.id))
            db.session.commit()
            with db.session.no_autoflush:
                assert db.session.scalar(select(Upload.status)) == "complete"

    Uploads(app, model=Upload, db=db)
    _upload(app)
    with app.app_context():
        assert db.session.scalar(select(Document.id)) == 1


def test_rows_that_refer_go_by_the_databases_rules(app: Flask, db: SQLAlchemy) -> None:
    """Deleting an upload takes along what refers to it with ``ondelete="CASCADE"``."""

    class Uploads(FlaskResumable[Upload]):
        def on_complete(self, upload: Upload) -> None:
            db.session.add(Document(upload_id=upload.id))

    resumable = Uploads(app, model=Upload, db=db)
    upload_id = _upload(app).rpartition("/")[2]
    with app.app_context():
        assert resumable.delete(upload_id)
        assert [*db.session.scalars(select(Document))] == [] == [*resumable.uploads()]


def test_no_connection_is_held_while_bytes_flow(app: Flask, db: SQLAlchemy) -> None:
    """With one connection in all, an app that looks up its user first, and has hooks, takes content."""
    held: list[int] = []

    class Content(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            held.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]
            return super().read1(size)

    class Uploads(FlaskResumable[Upload]):
        def current_owner(self) -> str | None:
            return db.session.scalar(select(Upload.owner))

        def pre_save(self, upload: Upload) -> None:
            upload.note = "begun"

    Uploads(app, model=Upload, db=db)

    @app.before_request
    def look_up_user() -> None:
        db.session.execute(select(Upload.id))

    headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    url = _begin(app)
    done = app.test_client().patch(url, input_stream=Content(b"hello"), content_length=5, headers=headers)
    assert done.status_code == 204
    assert set(held) == {0}


def test_uploads_are_in_the_engine_that_the_session_has_for_them(app: Flask, db: SQLAlchemy) -> None:
    """Of several engines, the records are in the one that the model is bound to; hooks may write to the other."""

    class Uploads(FlaskResumable[Far]):
        def on_complete(self, upload: Far) -> None:
            assert upload.md5 == "5d41402abc4b2a76b9719d911017c592"
            db.session.add(Upload(id="0" * 32, status="active", created_at=upload.created_at, note=upload.id))

    resumable = Uploads(app, model=Far, db=db)
    upload_id = _upload(app).rpartition("/")[2]
    with app.app_context():
        with db.get_engine("far").connect() as connection:
            assert connection.exec_driver_sql("SELECT id, status FROM upload").all() == [(upload_id, "complete")]
        assert [*db.session.scalars(select(Upload.note))] == [upload_id]
        assert [upload.id for upload in resumable.uploads()] == [upload_id]


def test_tables_are_the_apps_to_make(app: Flask, tmp_path: Path) -> None:
    """They are in the app's metadata, with their indexes, for migrations; until then requests are answered with 503."""
    app.config["SQLALCHEMY_ENGINES"] = {"default": f"sqlite:///{tmp_path / 'new.sqlite'}"}
    db = SQLAlchemy(app)
    FlaskResumable(app, model=Upload, db=db)
    client = Tus(app.test_client())
    assert client.request("POST", headers={"Upload-Length": "5"}).status_code == 503
    with app.app_context():
        Base.metadata.create_all(db.engine)
        with db.engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
            indexed = [index["column_names"] for index in inspect(connection).get_indexes("upload")]
    assert ["owner", "id"] in indexed and ["status", "id"] in indexed
    _upload(app)
    with app.app_context():
        db.engine.dispose()


def test_the_extension_makes_the_table_if_it_is_told_to(app: Flask, tmp_path: Path) -> None:
    """With CREATE_TABLES on, the first use makes it, and the app's own ``db=`` is found without being passed."""
    app.config["SQLALCHEMY_ENGINES"] = {"default": f"sqlite:///{tmp_path / 'new.sqlite'}"}
    app.config["RESUMABLE_CREATE_TABLES"] = True
    db = SQLAlchemy(app)
    FlaskResumable(app, model=Upload)
    _upload(app)
    with app.app_context():
        db.engine.dispose()


def test_a_database_in_memory_works(app: Flask) -> None:
    """For tests: one connection, which the app's session and the extension share."""
    app.config["SQLALCHEMY_ENGINES"] = {"default": "sqlite://"}
    app.config["RESUMABLE_CREATE_TABLES"] = True
    db = SQLAlchemy(app)
    FlaskResumable(app, model=Upload, db=db)
    assert Tus(app.test_client()).head(_upload(app)).headers["Upload-Offset"] == "5"
    with app.app_context():
        db.engine.dispose()


def test_one_object_serves_the_databases_of_several_apps(tmp_path: Path) -> None:
    """A factory's ``db`` and extension, for two apps: each has its own engine, and its own uploads."""
    db = SQLAlchemy()
    resumable = FlaskResumable(model=Upload, db=db)
    apps = [Flask(name, instance_path=str(tmp_path / name)) for name in ("one", "two")]
    for app in apps:
        app.config["SQLALCHEMY_ENGINES"] = {"default": "sqlite:///app.sqlite"}
        app.config["RESUMABLE_CREATE_TABLES"] = True
        db.init_app(app)
        resumable.init_app(app)
    ids = [_upload(app).rpartition("/")[2] for app in apps]
    for app, upload_id in zip(apps, ids, strict=True):
        with app.app_context():
            assert [upload.id for upload in resumable.uploads()] == [upload_id]
            db.engine.dispose()


def test_what_cannot_work_stops_the_app(app: Flask) -> None:
    """No ready-made model, no engine for the model, or a database that does not know the app: each is told at start."""
    app.config["SQLALCHEMY_ENGINES"] = {"other": "sqlite://"}
    with pytest.raises(ConfigurationError, match="db.init_app"):
        FlaskResumable(app, model=Upload, db=SQLAlchemy())
    db = SQLAlchemy(app, require_default_engine=False)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"model": SQLAlchemyModel, "db": db}, "Flask-SQLAlchemy-Lite"),
        ({"model": Upload, "db": db}, "SQLALCHEMY_ENGINES has no engine for Upload"),
    ]
    for arguments, message in wrong:
        with pytest.raises(ConfigurationError, match=message):
            FlaskResumable(app, **arguments)
    with app.app_context():
        db.get_engine("other").dispose()

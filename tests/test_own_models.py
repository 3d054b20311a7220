"""Apps' own models, with whatever SQLAlchemy offers: their columns, listeners and subclasses get what they expect."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy import inspect
from sqlalchemy import select
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import reconstructor
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateTable

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from tests.conformance.tus_client import Tus

Serve = Callable[..., Tus]


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
def serve(app: Flask, db: SQLAlchemy) -> Serve:
    """Serve uploads with a model and an ``on_complete``."""

    def make(model: type[Any], on_complete: Callable[[Any], Any] = lambda upload: None) -> Tus:
        class Uploads(FlaskResumable):
            def on_complete(self, upload: Any) -> Any:
                on_complete(upload)

        Uploads(app, model=model, db=db)
        with app.app_context():
            db.create_all()
        return Tus(app.test_client())

    return make


def test_defaults_of_own_columns_are_applied(app: Flask, db: SQLAlchemy, serve: Serve) -> None:
    """Also those that SQLAlchemy computes for each INSERT and UPDATE."""
    numbers = itertools.count(1)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
        album: Mapped[str] = mapped_column(default=lambda: "holidays")
        changes: Mapped[int] = mapped_column(default=0, onupdate=lambda: next(numbers))

    tus = serve(Upload)
    tus.upload(b"hello")
    with app.app_context():
        upload = db.session.scalars(select(Upload)).one()
        assert (upload.album, upload.status) == ("holidays", "complete")
        assert upload.changes >= 2


def test_own_columns_are_there_in_a_hook(app: Flask, db: SQLAlchemy, serve: Serve) -> None:
    """They are loaded when they are used, and what the hook sets is saved."""

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
        album: Mapped[str] = mapped_column(default="holidays")
        caption: Mapped[str | None]

    seen = []

    def on_complete(upload: Any) -> None:
        seen.append((upload.album, upload.caption, upload.offset, upload.complete, upload.is_busy))
        assert "album" not in inspect(upload).unloaded
        upload.caption = "sea"

    serve(Upload, on_complete).upload(b"hello")
    assert seen == [("holidays", None, 5, True, True)]
    with app.app_context():
        assert db.session.scalars(select(Upload.caption)).one() == "sea"


def test_a_model_whose_init_takes_more_is_accepted(app: Flask, db: SQLAlchemy, serve: Serve) -> None:
    """Instances for hooks are not new records, so ``__init__`` is not called."""

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
        def __init__(self, owner: str) -> None:
            raise AssertionError("This is not a new upload.")

    seen: list[str] = []
    serve(Upload, lambda upload: seen.append(upload.status)).upload(b"hello")
    assert seen == ["complete"]


def test_reconstructors_are_called(app: Flask, db: SQLAlchemy, serve: Serve) -> None:
    """As for any instance that SQLAlchemy loads."""

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
        @reconstructor
        def prepare(self) -> None:
            self.is_prepared = True

    seen: list[bool] = []
    serve(Upload, lambda upload: seen.append(upload.is_prepared)).upload(b"hello")
    assert seen == [True]


def test_listeners_to_instances_are_called(app: Flask, db: SQLAlchemy, serve: Serve) -> None:
    """Even if the app begins to listen after the extension is set up."""

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
        pass

    tus = serve(Upload)
    loaded: list[str] = []
    event.listen(Upload, "load", lambda instance, context: loaded.append(instance.id))
    url = tus.upload(b"hello")
    assert loaded == [url.rpartition("/")[2]]


def test_a_hook_gets_the_class_of_the_row(app: Flask, db: SQLAlchemy, serve: Serve) -> None:
    """A model may have subclasses that share its table."""

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
        sort: Mapped[str] = mapped_column(default="picture")
        __mapper_args__ = {"polymorphic_on": "sort", "polymorphic_identity": "upload"}

    class Picture(Upload):
        __mapper_args__ = {"polymorphic_identity": "picture"}

    seen: list[type[Any]] = []
    serve(Upload, lambda upload: seen.append(type(upload))).upload(b"hello")
    assert seen == [Picture]


def test_the_log_of_sqlalchemy_is_complete(
    app: Flask, db: SQLAlchemy, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """If an app logs its statements, those of the extension are among them."""

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
        pass

    app.config["SQLALCHEMY_ECHO"] = True
    tus = serve(Upload)
    tus.upload(b"hello")
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        url = tus.new(5)
        tus.patch(url, 0, b"hello")
        tus.head(url)
    verbs = [record.getMessage().split()[0] for record in caplog.records if record.name.startswith("sqlalchemy")]
    counts = {verb: verbs.count(verb) for verb in ("INSERT", "UPDATE", "SELECT")}
    assert counts == {"INSERT": 1, "UPDATE": 3, "SELECT": 1}


def test_a_shared_connection_keeps_what_the_app_has_not_committed(app: Flask, tmp_path: Path) -> None:
    """With a single connection, a statement of the extension neither undoes nor loses the app's own."""
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "poolclass": StaticPool,
        "connect_args": {"check_same_thread": False},
    }
    db = SQLAlchemy(app)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
        pass

    class Note(db.Model):  # type: ignore[name-defined, misc]
        id = db.Column(db.Integer, primary_key=True)

    class Uploads(FlaskResumable):
        def current_owner(self) -> None:
            db.session.add(Note())
            db.session.flush()

    Uploads(app, model=Upload, db=db)
    with app.app_context():
        db.create_all()
    tus = Tus(app.test_client())
    url = tus.upload(b"hello")
    assert tus.offset(url) == 5
    with app.app_context():
        assert len(db.session.scalars(select(Note)).all()) == 3
        db.session.remove()
        db.engine.dispose()


def test_listeners_to_clauses_are_called(app: Flask, db: SQLAlchemy, serve: Serve) -> None:
    """``before_execute`` gets SQLAlchemy's own objects, and their parameters by name."""

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
        pass

    tus = serve(Upload)
    seen: list[Any] = []
    with app.app_context():
        event.listen(db.engine, "before_execute", lambda connection, clause, *rest: seen.append(clause))
    tus.upload(b"hello")
    assert [clause.table.name for clause in seen] == ["upload"] * 4


def test_mysql_keeps_all_of_every_time() -> None:
    """By itself, its DATETIME ends at seconds, so that what was written would differ from what is read."""

    class Base(DeclarativeBase):
        pass

    class Kept(SQLAlchemyMixin, Base):
        __tablename__ = "kept"

    columns = str(CreateTable(Base.metadata.tables[Kept.__tablename__]).compile(dialect=mysql.dialect()))
    assert "DATETIME(6)" in columns and not re.search(r"DATETIME(?!\(6\))", columns)

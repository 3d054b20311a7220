"""What an app's tables and models promise, and will not happen, is warned of when uploads are first used."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.models import SQLAlchemyModel
from tests.conformance.tus_client import Tus

Define = Callable[[SQLAlchemy], object]
Warned = Callable[..., list[str]]


def enforce(connection: Any, record: Any) -> None:
    """Have SQLite look at foreign keys."""
    connection.execute("PRAGMA foreign_keys=ON")


@pytest.fixture
def db(app: Flask, tmp_path: Path) -> Iterator[SQLAlchemy]:
    """The app's database, in a file."""
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.sqlite'}"
    db = SQLAlchemy(app)
    yield db
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def warned(app: Flask, db: SQLAlchemy, caplog: pytest.LogCaptureFixture) -> Warned:
    """Use uploads a few times, and return what the log says."""

    def use(model: type[Any], *, enforcing: bool = False) -> list[str]:
        FlaskResumable(app, model=model, db=db)
        with app.app_context():
            if enforcing:
                event.listen(db.engine, "connect", enforce)
            db.create_all()
        tus = Tus(app.test_client())
        for _ in range(3):
            tus.upload(b"hello")
        return [record.getMessage() for record in caplog.records if record.name.startswith("flask_resumable")]

    return use


def paper(db: SQLAlchemy, table: str, **key: Any) -> type[Any]:
    """A row of the app's that refers to an upload. It is mapped for as long as the class is kept."""

    class Paper(db.Model):  # type: ignore[misc, name-defined]
        id = db.Column(db.Integer, primary_key=True)
        upload_id = db.Column(db.String(32), db.ForeignKey(f"{table}.id", **key))

    return Paper


def upload(db: SQLAlchemy, **relationship: Any) -> type[Any]:
    """The app's own model, with its papers."""

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
        papers = db.relationship("Paper", **relationship)

    return Upload


@pytest.mark.parametrize("key", [{}, {"ondelete": "CASCADE"}, {"ondelete": "SET NULL"}], ids=str)
def test_foreign_keys_that_nobody_looks_at_are_told(db: SQLAlchemy, warned: Warned, key: dict[str, str]) -> None:
    """Once, with the names of the tables and what to do."""
    model = upload(db)
    _papers = paper(db, "upload", **key)
    (line,) = warned(model)
    assert "PRAGMA foreign_keys=ON" in line and "paper to upload" in line


def test_foreign_keys_of_tables_that_are_not_mapped_are_told(app: Flask, db: SQLAlchemy, warned: Warned) -> None:
    """A table that was made by hand has them, too."""
    with app.app_context(), db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE audit (what TEXT REFERENCES Resumable_Uploads(id))")
    (line,) = warned(SQLAlchemyModel)
    assert "audit to resumable_uploads" in line


@pytest.mark.parametrize("enforcing", [True, False])
def test_where_nothing_is_amiss_nothing_is_said(db: SQLAlchemy, warned: Warned, enforcing: bool) -> None:
    """Foreign keys are looked at, or there are none to uploads."""
    model = upload(db, passive_deletes=True, cascade="all, delete-orphan") if enforcing else SQLAlchemyModel
    _papers = paper(db, "upload", ondelete="CASCADE") if enforcing else None
    assert warned(model, enforcing=enforcing) == []


@pytest.mark.parametrize("passive", [True, False])
def test_a_cascade_that_never_fires_is_told(db: SQLAlchemy, warned: Warned, passive: bool) -> None:
    """passive_deletes leaves it to the database, which has not been told either."""
    model = upload(db, cascade="all, delete-orphan", passive_deletes=passive)
    _papers = paper(db, "upload")
    (line,) = warned(model, enforcing=True)
    assert "Upload.papers cascades" in line and "ondelete" in line


def test_a_cascade_in_the_other_direction_is_told(db: SQLAlchemy, warned: Warned) -> None:
    """What the upload refers to would stay."""

    class Thumbnail(db.Model):  # type: ignore[misc, name-defined]
        id = db.Column(db.Integer, primary_key=True)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
        thumbnail_id = db.Column(db.ForeignKey("thumbnail.id", ondelete="SET NULL"))
        thumbnail = db.relationship(Thumbnail, cascade="all, delete-orphan", single_parent=True)

    (line,) = warned(Upload, enforcing=True)
    assert "Upload.thumbnail cascades" in line


def test_models_that_cannot_be_mapped_are_none_of_its_business(db: SQLAlchemy, warned: Warned) -> None:
    """Uploads go on without a warning."""
    model = upload(db)
    assert warned(model) == []

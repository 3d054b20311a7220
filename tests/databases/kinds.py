"""Apps on each kind of state, for what must be the same on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mongoengine
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy_lite import SQLAlchemy as SQLAlchemyLite
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import sessionmaker

from flask_resumable.models import MongoengineBaseModel
from flask_resumable.models import MongoengineModel
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.models import SQLAlchemyModel
from flask_resumable.repositories.memory import MemoryRepository

VIEWS = ("embedded", "memory")  # hooks get a read-only view
SQL = ("ready-made", "declarative", "lite", "scoped_session", "sessionmaker")
MONGO = ("mongo", "mongo ready-made")


class MongoUpload(MongoengineBaseModel):
    """A document with a field of the app's."""

    note = mongoengine.StringField()
    meta = {"collection": "noted_uploads"}


@contextmanager
def wiring(kind: str, app: Flask, folder: Path, mongo_uri: str | None) -> Iterator[dict[str, Any]]:
    """What ``FlaskResumable`` is to be given for one kind of state."""
    if kind in MONGO:
        model = MongoUpload if kind == "mongo" else MongoengineModel
        mongoengine.connect(host=mongo_uri)
        model.drop_collection()
        yield {"model": model}
        mongoengine.disconnect()
    elif kind in ("ready-made", "declarative"):
        with _flask_sqlalchemy(kind, app, folder) as wired:
            yield wired
    elif kind == "lite":
        with _lite(app, folder) as wired:
            yield wired
    elif kind in SQL:
        with _sessions(kind, folder) as wired:
            yield wired
    else:
        yield {"repository": MemoryRepository()} if kind == "memory" else {}


@contextmanager
def _flask_sqlalchemy(kind: str, app: Flask, folder: Path) -> Iterator[dict[str, Any]]:
    class Base(DeclarativeBase):
        pass

    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder / 'app.sqlite'}"
    db: Any = SQLAlchemy(app, model_class=Base)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc]
        note: Mapped[str | None]

    with app.app_context():
        db.create_all()
    yield {"model": SQLAlchemyModel if kind == "ready-made" else Upload, "db": db}
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@contextmanager
def _lite(app: Flask, folder: Path) -> Iterator[dict[str, Any]]:
    class Base(DeclarativeBase):
        pass

    class Upload(SQLAlchemyMixin, Base):
        __tablename__ = "uploads"
        note: Mapped[str | None]

    app.config["SQLALCHEMY_ENGINES"] = {"default": f"sqlite:///{folder / 'lite.sqlite'}"}
    db = SQLAlchemyLite(app)
    with app.app_context():
        Base.metadata.create_all(db.engine)
    yield {"model": Upload, "db": db}
    with app.app_context():
        db.engine.dispose()


@contextmanager
def _sessions(kind: str, folder: Path) -> Iterator[dict[str, Any]]:
    class Base(DeclarativeBase):
        pass

    class Upload(SQLAlchemyMixin, Base):
        __tablename__ = "uploads"
        note: Mapped[str | None]

    engine = create_engine(f"sqlite:///{folder / 'plain.sqlite'}")
    Base.metadata.create_all(engine)
    maker = sessionmaker(engine)
    sessions = scoped_session(maker) if kind == "scoped_session" else maker
    yield {"model": Upload, "db": sessions}
    if isinstance(sessions, scoped_session):
        sessions.remove()
    engine.dispose()

"""A SQLite file of the extension's own, for apps that bring no database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy import Engine
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import sessionmaker

from ..models.sqlalchemy import SQLAlchemyMixin
from .sessions import LazyEngine
from .sessions import OwnSessions
from .sqlalchemy import SQLAlchemyRepository
from .tables import create_table

BUSY_TIMEOUT = 30  # seconds to wait for another process's write


class Base(DeclarativeBase):
    """Apart from any metadata of the app."""


class EmbeddedUpload(SQLAlchemyMixin, Base):
    """The model of the embedded database."""

    __tablename__ = "resumable_uploads"


def embedded_repository(uri: str, *, durable: bool) -> SQLAlchemyRepository:
    """A repository on ``uri``, its table made when it is first used.

    :param durable: Whether what is saved must survive a loss of power; what is saved survives ``kill -9`` anyway.
    """
    lazy = LazyEngine(lambda: _engine(uri, durable), lambda engine: create_table(engine, EmbeddedUpload))
    return SQLAlchemyRepository(EmbeddedUpload, OwnSessions(lambda: sessionmaker(lazy.get())(), lazy))


def _engine(uri: str, durable: bool) -> Engine:
    if make_url(uri).get_backend_name() != "sqlite":
        return create_engine(uri, isolation_level="AUTOCOMMIT")
    database = make_url(uri).database
    if database and database != ":memory:":
        Path(database).parent.mkdir(parents=True, exist_ok=True)  # Flask names an instance folder, but makes none
    engine = create_engine(uri, isolation_level="AUTOCOMMIT", connect_args={"timeout": BUSY_TIMEOUT})

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        cursor.close()

    return engine

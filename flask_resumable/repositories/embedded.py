"""A SQLite file of the extension's own, for apps that bring no database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy import Engine
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Session

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
    own = LazyEngine(lambda: _engine(uri, durable, is_shared=True), lambda engine: create_table(engine, EmbeddedUpload))
    # A hook keeps its connection for as long as it takes, and meanwhile needs statements of the extension.
    hooks = LazyEngine(lambda: _engine(uri, durable, is_shared=False)) if _is_file(uri) else own
    return SQLAlchemyRepository(EmbeddedUpload, OwnSessions(lambda: Session(hooks.get()), own, hooks))


def _engine(uri: str, durable: bool, *, is_shared: bool) -> Engine:
    """An engine; ``is_shared``: all threads take turns with one connection.

    SQLite lets one connection write at a time, and those that have to wait sleep for longer than the write takes. What
    one connection has written, all others must read again.
    """
    url = make_url(uri)
    if url.get_backend_name() != "sqlite":
        return create_engine(uri, isolation_level="AUTOCOMMIT")
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "connect_args": {"timeout": BUSY_TIMEOUT}}
    if _is_file(uri):
        Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)  # Flask names an instance folder, makes none
        if is_shared:
            options |= {"pool_size": 1, "max_overflow": 0, "pool_timeout": BUSY_TIMEOUT}
    engine = create_engine(uri, **options)

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        cursor.close()

    return engine


def _is_file(uri: str) -> bool:
    """Whether it is SQLite, and not in memory."""
    url = make_url(uri)
    return url.get_backend_name() == "sqlite" and (url.database or ":memory:") != ":memory:"

"""State in an SQLite file of the extension's own, for apps that have no database."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy import Engine
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import StaticPool

from ...core.answer import Answer
from ...core.processing import collecting_mark
from ...core.replacing import replace
from ...core.selection import Selection
from ...core.upload import Upload
from ...errors import UploadNotFound
from ...interfaces import Claim
from ...models.interface import UploadView
from ...models.sqlalchemy import SQLAlchemyMixin
from .database import Pooled
from .engines import hook_db_errors
from .engines import LazyEngine
from .prepared import can_prepare_for_sqlite
from .records import Records
from .sqlite import Direct
from .tables import add_columns
from .tables import create_table
from .turns import is_in_memory

BUSY_TIMEOUT = 30  # seconds to wait for another process's write
_POLL = 0.01  # seconds


class Base(DeclarativeBase):
    """A declarative base with its own metadata, apart from the app's."""


class EmbeddedUpload(SQLAlchemyMixin, Base):
    """The model of the embedded database."""

    __tablename__ = "resumable_uploads"


class EmbeddedRepository(Records):
    """Keeps records in the embedded database. Hooks get a read-only view, because no session of the app has them."""

    setting = "RESUMABLE_DATABASE_URI"

    def remove(self, upload: Upload, claim: Claim, hook: Callable[[Any], object] | None = None) -> None:
        self._remove(claim)
        if hook is not None:
            self.call(upload, hook)

    def save_with_hook(
        self, upload: Upload, claim: Claim, hook: Callable[[Any], Answer | None], *, until: datetime | None
    ) -> Upload:
        view = UploadView(upload)
        with hook_db_errors(), collecting_mark(upload.id) as mark:
            answer = hook(view)
        if mark.processing is not None:  # first, because the hook is called again if a crash prevents the save
            self._database.change(*self._hook_mark(upload, mark.processing))
        marked = mark.processing or upload.processing
        upload = replace(upload, max_size=view.max_size, answer=answer or upload.answer, processing=marked)
        self._check(self._database.change(*self._hook_save(upload, claim, until)))
        return upload

    def call(self, upload: Upload, hook: Callable[[Any], object]) -> None:
        with hook_db_errors(), collecting_mark(upload.id) as mark:
            hook(UploadView(upload))
        if mark.processing is not None:
            self._database.change(*self._hook_mark(upload, mark.processing))

    def instance(self, upload_id: str) -> UploadView | None:
        try:
            return UploadView(self.get(upload_id))
        except UploadNotFound:
            return None

    def instances(self, selection: Selection, *, limit: int, after: str = "") -> Sequence[UploadView]:
        return [UploadView(upload) for upload in self.list(selection, limit=limit, after=after)]

    def release_connection(self) -> None:
        """Do nothing, because no connection is held between statements."""


def embedded_repository(uri: str, *, durable: bool) -> EmbeddedRepository:
    """Return a repository on ``uri``. Its table is created on first use.

    :param durable: Whether changes must survive a power failure. They survive ``kill -9`` in any case.
    """
    engine = LazyEngine(lambda: _engine(uri, durable=durable), _prepare)
    is_plain = make_url(uri).get_driver_name() == "pysqlite"  # other drivers may encrypt, or connect to a server
    database = Direct(engine, durable=durable) if is_plain and can_prepare_for_sqlite() else Pooled(engine)
    return EmbeddedRepository(EmbeddedUpload, database)


def _prepare(engine: Engine) -> None:
    if engine.dialect.name == "sqlite" and not is_in_memory(engine):
        path = Path((engine.url.database or "").removeprefix("file:"))
        path.parent.mkdir(parents=True, exist_ok=True)  # Flask does not create the instance folder
    create_table(engine, EmbeddedUpload)
    add_columns(engine, EmbeddedUpload)


def _engine(uri: str, *, durable: bool) -> Engine:
    url = make_url(uri)
    if url.get_backend_name() != "sqlite":
        return create_engine(uri, isolation_level="AUTOCOMMIT")
    arguments = {"timeout": BUSY_TIMEOUT, "check_same_thread": False}
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "connect_args": arguments}
    if (url.database or ":memory:") == ":memory:":
        options["poolclass"] = StaticPool  # each connection would get its own database
    engine = create_engine(uri, **options)

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, record: Any) -> None:
        _write_ahead(connection, engine.dialect.loaded_dbapi.OperationalError)
        if durable:
            connection.execute("PRAGMA fullfsync=ON")  # otherwise a sync on macOS ends in the drive's cache

    return engine


def _write_ahead(connection: Any, error_class: type[Exception]) -> None:
    """Switch to a write-ahead log, so that readers do not wait for writers.

    While another worker starts to use a new file, SQLite refuses this immediately, whatever its timeout is.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except error_class as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(_POLL)

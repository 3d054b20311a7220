"""The columns of an upload for SQLAlchemy. The rules are in ``core``, the queries in ``repositories``."""

from __future__ import annotations

import logging
from datetime import datetime
from datetime import UTC
from typing import Any
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger
from sqlalchemy import DateTime
from sqlalchemy import Dialect
from sqlalchemy import event
from sqlalchemy import Index
from sqlalchemy import JSON
from sqlalchemy import MetaData
from sqlalchemy import SmallInteger
from sqlalchemy import String
from sqlalchemy import Table
from sqlalchemy import Text
from sqlalchemy import TypeDecorator
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import set_committed_value

from ..core.metadata import metadata_of
from ..core.processing import Processing
from ..core.upload import JSONObject
from ..core.upload import Upload
from .interface import UploadInterface
from .record import FIELDS
from .record import FORMAT
from .record import processing_of
from .record import upload_from

logger = logging.getLogger(__package__)


class _Utc(TypeDecorator[datetime]):
    """Stores naive UTC and returns aware UTC, because some databases silently drop time zones and fractions.

    Alembic writes the ``repr`` of a type into migrations, with an import by the type's ``__module__``. The subclasses
    claim to be SQLAlchemy's, so that a migration contains only what every migration imports.
    """

    cache_ok = True
    _shown: str

    def __repr__(self) -> str:
        return self._shown

    def __reduce__(self) -> tuple[Any, ...]:
        return _new_type, (type(self).__name__,)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class UtcDateTime(_Utc):
    cache_ok = True
    impl = DateTime
    _shown = "DateTime()"
    __module__ = "sqlalchemy.sql.sqltypes"


class UtcMySQLDateTime(_Utc):
    cache_ok = True
    impl = mysql.DATETIME(fsp=6)
    _shown = "DATETIME(fsp=6)"
    __module__ = "sqlalchemy.dialects.mysql.types"


def _new_type(name: str) -> _Utc:
    kind: type[_Utc] = globals()[name]
    return kind()


_MOMENT = UtcDateTime().with_variant(UtcMySQLDateTime(), "mysql", "mariadb")


class _Metadata:
    """Returns the client's metadata on instances (``upload.metadata``) and SQLAlchemy's on the class."""

    def __init__(self, tables: MetaData | None = None) -> None:
        self._tables = tables

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        if instance is not None:
            return metadata_of(instance.raw_metadata or "")
        if self._tables is not None:
            return self._tables
        for base in owner.__mro__:
            tables = vars(base).get("metadata")
            if isinstance(tables, MetaData):
                return tables
        raise AttributeError("metadata")


class SQLAlchemyMixin(UploadInterface):
    """A mixin for your own model of uploads, with any columns you like::

        class Upload(SQLAlchemyMixin, db.Model):
            caption: Mapped[str | None]

        uploads = FlaskResumable(app, model=Upload, db=db)

    The extension maintains the columns below: read and query them, but do not change them.
    """

    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # lower-case, which no collation changes
    client_key: Mapped[str | None] = mapped_column(String(64), unique=True)  # lower-case hex, too
    request_key: Mapped[str | None] = mapped_column(String(64), unique=True)  # finds the upload for a repeated creation
    signed_until: Mapped[datetime | None] = mapped_column(_MOMENT)  # when the token expires that created it
    owner: Mapped[str | None] = mapped_column(String(255))
    protocol: Mapped[str | None] = mapped_column(String(16))  # that created it: "tus", "flow" or "ietf"
    status: Mapped[str] = mapped_column(String(16))
    length: Mapped[int | None] = mapped_column(BigInteger)  # in bytes; NULL until the client declares it
    offset: Mapped[int] = mapped_column(BigInteger, default=0)  # bytes received from the start, without a gap
    chunks: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # chunks received beyond the offset
    # The client's file name, for queries and admin pages.
    filename: Mapped[str | None] = mapped_column(Text().with_variant(mysql.TEXT(charset="utf8mb4"), "mysql", "mariadb"))
    # As the client sent it, base64-encoded, so that any database can store it, whatever its encoding.
    raw_metadata: Mapped[str] = mapped_column("metadata", Text, default="")
    # The Upload-Concat header. MySQL's TEXT ends at 64 KiB.
    concat: Mapped[str | None] = mapped_column(Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"))
    concat_kind: Mapped[str | None] = mapped_column(String(8))  # "partial", "final" or NULL, taken from concat
    # True until a client says that the upload is complete, even if every byte has arrived.
    awaits_completion: Mapped[bool] = mapped_column(default=False)
    request_count: Mapped[int] = mapped_column(default=0)  # requests that have added content
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # what on_complete returned
    processing_state: Mapped[str | None] = mapped_column(String(16))  # what the app says about its processing
    processing_reason: Mapped[str | None] = mapped_column(Text)
    format: Mapped[int] = mapped_column(SmallInteger, default=FORMAT)  # the version of the columns' formats
    storage: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # the storage's own data
    max_size: Mapped[int | None] = mapped_column(BigInteger)  # in bytes; on_create may set it
    reserved: Mapped[int | None] = mapped_column(BigInteger)  # in bytes, of its owner's quota
    digests: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(_MOMENT)
    updated_at: Mapped[datetime | None] = mapped_column(_MOMENT)  # when a request last claimed or saved it
    expires_at: Mapped[datetime | None] = mapped_column(_MOMENT)
    removable_at: Mapped[datetime | None] = mapped_column(_MOMENT, index=True)  # what delete_expired selects by
    claimed_until: Mapped[datetime | None] = mapped_column(_MOMENT)
    claimed_by: Mapped[str | None] = mapped_column(String(64))  # the process that holds the claim
    claim_message: Mapped[str | None] = mapped_column(String(32), index=True)  # to that process
    fence: Mapped[int] = mapped_column(BigInteger, default=0)  # incremented by every claim
    version: Mapped[int] = mapped_column(BigInteger, default=0)  # incremented by every change

    if TYPE_CHECKING:
        metadata: Any  # an UploadMetadata on instances; declarative bases declare it as a MetaData
    else:
        metadata = _Metadata()

    def as_upload(self) -> Upload:
        return upload_from({name: getattr(self, name) for name in FIELDS})

    def _set_storage(self, stored: JSONObject) -> None:
        set_committed_value(self, "storage", dict(stored))

    def _set_processing(self, processing: Processing) -> None:
        for name, value in processing_of(processing).items():
            set_committed_value(self, name, value)


@event.listens_for(SQLAlchemyMixin, "instrument_class", propagate=True)
def _add_indexes(mapper: Mapper[Any], cls: type[Any]) -> None:
    """Add the indexes for ``FlaskResumable.uploads``. Not in ``__table_args__``, which belong to the app's model."""
    table = mapper.local_table
    if isinstance(table, Table) and not any(index.info.get("resumable") for index in table.indexes):
        # Apps whose uploads have no owners are spared the first one, where that can be said.
        owned = table.c["owner"].is_not(None)
        where = {"sqlite_where": owned, "postgresql_where": owned}
        Index(None, table.c["owner"], table.c["id"], info={"resumable": True}, **where)
        Index(None, table.c["status"], table.c["id"], info={"resumable": True})


@event.listens_for(SQLAlchemyMixin, "instrument_class", propagate=True)
def _keep_both_metadata(mapper: Mapper[Any], cls: type[Any]) -> None:
    """Keep the client's metadata reachable if the model has a ``metadata`` of its own, as with a bind key."""
    tables = vars(cls).get("metadata")
    if isinstance(tables, MetaData):
        type.__setattr__(cls, "metadata", _Metadata(tables))


@event.listens_for(SQLAlchemyMixin, "after_delete", propagate=True)
def _warn_of_bytes(mapper: Mapper[Any], connection: Any, upload: Any) -> None:
    """Tell that bytes stay behind. The extension itself does not delete instances."""
    logger.warning(
        "The session deletes the record of upload %s, but not its bytes, and calls no hooks. Call "
        "resumable.delete(upload) instead of session.delete(upload).",
        upload.id,
    )


class SQLAlchemyModel(SQLAlchemyMixin):
    """A ready-made model: ``FlaskResumable(app, model=SQLAlchemyModel, db=db)`` uses the table ``resumable_uploads``.

    This class itself is abstract. Query the mapped class, which is ``resumable.model``::

        db.session.scalars(select(uploads.model).where(uploads.model.status == "complete"))
    """

    __abstract__ = True

"""What the gallery keeps in its database."""

from __future__ import annotations

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column

from flask_resumable.models import SQLAlchemyMixin


class Base(DeclarativeBase):
    """The base of all models."""


db = SQLAlchemy(model_class=Base)


class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
    """A file of a guest."""


class Finding(db.Model):  # type: ignore[name-defined, misc]
    """What the worker has found in a file: a thumbnail of a picture, or the number of lines of a table."""

    upload_id: Mapped[str] = mapped_column(ForeignKey(Upload.id, ondelete="CASCADE"), primary_key=True)
    thumbnail: Mapped[bytes | None]
    lines: Mapped[int | None]

"""Users, their uploads, and the documents that these become."""

from __future__ import annotations

from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import relationship
from werkzeug.security import check_password_hash

from flask_resumable.models import SQLAlchemyMixin


class Base(DeclarativeBase):
    """The base class of all models."""


db = SQLAlchemy(model_class=Base)


class User(UserMixin, db.Model):  # type: ignore[misc, name-defined]
    """Somebody with a password, and with space for documents."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    is_admin: Mapped[bool] = mapped_column(default=False)
    space: Mapped[int] = mapped_column(default=1_000_000)  # bytes
    used: Mapped[int] = mapped_column(default=0)  # bytes of complete uploads

    def has_password(self, password: str) -> bool:
        """Whether this is the password."""
        return check_password_hash(self.password_hash, password)


class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
    """What the extension keeps."""

    document: Mapped[Document | None] = relationship(back_populates="upload", passive_deletes=True)


class Document(db.Model):  # type: ignore[misc, name-defined]
    """A complete upload, with a title that its owner can change."""

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    upload_id: Mapped[str] = mapped_column(ForeignKey("upload.id", ondelete="CASCADE"), unique=True)
    upload: Mapped[Upload] = relationship(back_populates="document")

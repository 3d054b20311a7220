"""An app with Flask-SQLAlchemy-Lite."""

from flask import Flask
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin


class Base(DeclarativeBase):
    """The app's."""


class Document(Base):
    """What the app makes of an upload."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]


class Upload(SQLAlchemyMixin, Base):
    """With a column of the app's."""

    __tablename__ = "upload"
    caption: Mapped[str] = mapped_column(default="")


db = SQLAlchemy()


class Uploads(FlaskResumable[Upload]):
    """Hooks work in ``db.session``."""

    async def on_complete(self, upload: Upload) -> tuple[str, int]:
        db.session.add(Document(name=upload.filename))
        upload.caption = "done"
        return "Thank you!", 201


resumable = Uploads(model=Upload, db=db)


def create_app() -> Flask:
    """A factory."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_ENGINES"] = {"default": "sqlite://"}
    db.init_app(app)
    resumable.init_app(app)
    return app

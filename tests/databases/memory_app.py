"""An app on a SQLite database in memory, whose hooks and requests use it as well.

Configured by the environment, so that any WSGI server can start it::

    LIVE_HOME       folder for the uploads
    DATABASE_URI    the database
    PLAIN           set: sessions of SQLAlchemy alone, with the ready-made pool of that name
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine
from sqlalchemy import ForeignKey
from sqlalchemy import func
from sqlalchemy import pool
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import sessionmaker

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin


class Base(DeclarativeBase):
    """Of the app's tables."""


class Upload(SQLAlchemyMixin, Base):
    """The app's own model."""

    __tablename__ = "uploads"
    note: Mapped[str] = mapped_column(default="")


class Visit(Base):
    """One for each request, and one for each hook."""

    __tablename__ = "visits"
    id: Mapped[int] = mapped_column(primary_key=True)
    what: Mapped[str]
    upload_id: Mapped[str | None] = mapped_column(ForeignKey("uploads.id"))


class Hooks(FlaskResumable):
    """Each writes a row, and what the upload's row says."""

    def __init__(self, session: Any, **wiring: Any) -> None:
        self._session = session
        super().__init__(**wiring)

    def current_owner(self) -> int:
        self._session.add(Visit(what="owner"))
        self._session.flush()
        return 7

    def on_create(self, upload: Any) -> None:
        self._write("on_create", upload)

    def pre_save(self, upload: Any) -> None:
        self._write("pre_save", upload)

    def on_complete(self, upload: Any) -> None:
        self._write("on_complete", upload)
        upload.note = upload.filename

    def _write(self, what: str, upload: Any) -> None:
        self._session.add(Visit(what=what, upload_id=upload.id))
        self._session.flush()


def create_app() -> Flask:
    """The app, as a WSGI server starts it."""
    home = Path(os.environ["LIVE_HOME"])
    app = Flask(__name__, instance_path=str(home / "instance"))
    app.config.update(RESUMABLE_UPLOAD_DIR=str(home / "uploads"), FLOW_ENABLED=True)
    uri, plain = os.environ["DATABASE_URI"], os.environ.get("PLAIN")
    db: Any
    session: Any
    if plain:
        arguments = {"check_same_thread": False}
        engine = create_engine(uri, poolclass=getattr(pool, plain), connect_args=arguments)
        db = session = scoped_session(sessionmaker(engine))
        Base.metadata.create_all(engine)
        app.teardown_appcontext(lambda error: session.remove())
    else:
        app.config["SQLALCHEMY_DATABASE_URI"] = uri
        db = SQLAlchemy(app, model_class=Base, metadata=Base.metadata)
        session = db.session
        with app.app_context():
            db.create_all()
    Hooks(session, model=Upload, db=db).init_app(app)

    @app.before_request
    def visit() -> None:
        session.add(Visit(what="request"))
        session.commit()
        session.scalar(select(func.count()).select_from(Visit))  # and has it open from here on

    @app.get("/rows")
    def rows() -> dict[str, Any]:
        return {
            "visits": [list(row) for row in session.execute(select(Visit.what, Visit.upload_id)).all()],
            "notes": {upload.id: upload.note for upload in session.scalars(select(Upload))},
        }

    return app

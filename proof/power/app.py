"""The app that loses power: its database, its uploads and what ``on_complete`` writes are on one disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin

DATABASES = ("embedded", "delete", "wal")


@dataclass(frozen=True)
class Setup:
    """What is tried.

    :param database: ``"embedded"``, or the journal of the app's own SQLite: ``"delete"``, its default, or ``"wal"``.
    :param chunks: Where chunks of flow.js are kept: in their ``"place"`` in the file, or in a ``"folder"``.
    """

    file_system: str = "ext4"
    durability: str = "data"
    database: str = "delete"
    chunks: str = "place"

    def __str__(self) -> str:
        return f"{self.file_system}, {self.durability}, {self.database}, {self.chunks}"


class Clock:
    """The time, and how far it is ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def create_app(home: Path, setup: Setup, clock: Clock) -> Flask:
    """Return the app, with everything that it keeps in ``home``."""
    app = Flask(__name__, instance_path=str(home / "instance"))
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{home / 'app.sqlite'}"
    app.config["RESUMABLE_UPLOAD_DIR"] = str(home / "uploads")
    app.config["RESUMABLE_DURABILITY"] = setup.durability
    if setup.chunks == "folder":
        app.config["FLOW_TEMP_DIR"] = str(home / "chunks")
    db = SQLAlchemy(app)

    class Receipt(db.Model):  # type: ignore[name-defined, misc]
        """What ``on_complete`` writes: one row for each finished upload."""

        id = db.Column(db.Integer, primary_key=True)
        upload_id = db.Column(db.String(32), nullable=False)
        sha256 = db.Column(db.String(64), nullable=False)

    class Uploads(FlaskResumable[Any]):
        def on_complete(self, upload: Any) -> None:
            if upload.filename == "moved":
                upload.move_to(f"kept/{upload.id}")
            with upload.open() as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            db.session.add(Receipt(upload_id=upload.id, sha256=digest))
            if setup.database == "embedded":
                db.session.commit()  # of a database that the extension does not know

    model = None
    if setup.database != "embedded":

        class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
            pass

        model = Upload
    with app.app_context():
        if setup.database == "wal":
            event.listen(db.engine, "connect", _write_ahead)
        if setup.database == "embedded":
            event.listen(db.engine, "connect", _sync_all)  # the extension does so for a database that it knows
        Uploads(app, model=model, db=None if model is None else db, now=clock)
        db.create_all()
    return app


def _write_ahead(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")


def _sync_all(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA synchronous=EXTRA")

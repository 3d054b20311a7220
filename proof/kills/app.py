"""The app whose processes are killed: hooks that write rows of the app's own, and are slow if a name asks for it.

Configured by the environment, besides LIVE_HOME and LIVE_SETTINGS as in ``tests/live/app.py``::

    KILLS_DATABASE  "embedded", or a SQLAlchemy URL of the app's own database
    KILLS_MUTANT    the name of a mistake to make; see ``mutants.py``
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from tests.live.app import settings_of

from .mutants import make_mistake

SLOW = 0.03  # seconds that a hook takes if the name of its file asks for it
EMBEDDED = "embedded"

ahead = timedelta()  # of this process's clock

WriteRow = Callable[[str, str, str | None], None]


class Hooks(FlaskResumable):
    """Writes a row in ``on_create`` and one in ``on_complete``."""

    def __init__(self, write_row: WriteRow, **wiring: Any) -> None:
        super().__init__(**wiring)
        self._write_row = write_row

    def on_create(self, upload: Any) -> None:
        self._write_row("made", upload.id, None)
        if "slow create" in (upload.filename or ""):
            time.sleep(SLOW)

    def on_complete(self, upload: Any) -> None:
        with upload.open() as stream:
            self._write_row("receipt", upload.id, hashlib.file_digest(stream, "sha256").hexdigest())
        if "slow complete" in (upload.filename or ""):
            time.sleep(SLOW)


def create_app() -> Flask:
    """The app, made once; the processes that are killed are forks."""
    make_mistake(os.environ.get("KILLS_MUTANT"))
    home, database = Path(os.environ["LIVE_HOME"]), os.environ["KILLS_DATABASE"]
    app = Flask(__name__, instance_path=str(home / "instance"))
    app.config["RESUMABLE_UPLOAD_DIR"] = str(home / "uploads")
    app.config.update(settings_of(os.environ))
    wiring: dict[str, Any] = {"now": lambda: datetime.now(UTC) + ahead}
    if database == EMBEDDED:
        Hooks(_rows_in_file(home / "app.sqlite"), **wiring).init_app(app)
        _use_once(app)
        return app
    app.config["SQLALCHEMY_DATABASE_URI"] = database
    db = SQLAlchemy(app)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
        __tablename__ = "resumable_uploads"

    class Row(db.Model):  # type: ignore[misc, name-defined]
        __tablename__ = "hook_rows"
        id = db.Column(db.Integer, primary_key=True)
        hook = db.Column(db.String(8), nullable=False)
        upload_id = db.Column(db.String(32), nullable=False)
        sha256 = db.Column(db.String(64))

    def write_row(hook: str, upload_id: str, digest: str | None) -> None:
        db.session.add(Row(hook=hook, upload_id=upload_id, sha256=digest))
        db.session.flush()

    Hooks(write_row, model=Upload, db=db, **wiring).init_app(app)
    with (home / "tables.lock").open("w") as lock, app.app_context():
        fcntl.flock(lock, fcntl.LOCK_EX)
        db.create_all()
    _use_once(app)
    with app.app_context():
        db.engine.dispose()
    return app


def _use_once(app: Flask) -> None:
    """Do what libraries do once and keep, so that the processes that are killed need not do it after each fork."""
    client, version = app.test_client(), {"Tus-Resumable": "1.0.0"}
    made = client.post("/files/", headers={**version, "Upload-Length": "2"})
    path = "/files/" + made.headers["Location"]
    fields = {**version, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    client.patch(path, headers=fields, data=b"x")
    client.head(path, headers=version)
    client.patch(path, headers={**fields, "Upload-Offset": "1"}, data=b"x")
    client.delete(path, headers=version)


def _rows_in_file(file: Path) -> WriteRow:
    """Rows in a database that the extension knows nothing of: they are committed when they are written."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS hook_rows (hook TEXT, upload_id TEXT, sha256 TEXT)")

    def write_row(hook: str, upload_id: str, digest: str | None) -> None:
        with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
            connection.execute("INSERT INTO hook_rows VALUES (?, ?, ?)", (hook, upload_id, digest))

    return write_row

"""The app under test, on any of the databases: each finished upload gets a receipt, written by ``on_complete``.

Configured by the environment, so that any WSGI server can start it::

    LIVE_HOME       folder for the uploads, the journal and the orders
    LIVE_SETTINGS   app.config as JSON; EXPIRATION in seconds
    DATABASE_URI    a SQLAlchemy URL, or mongodb://...
    DATABASE_POOL   how many connections a process may have
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mongoengine
from flask import Flask
from flask import g
from flask import Response
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text

from flask_resumable import FlaskResumable
from flask_resumable.models import MongoengineBaseModel
from flask_resumable.models import SQLAlchemyMixin
from tests.live.app import settings_of
from tests.live.journal import Journal

COLLECTION = "uploads"


class Document(MongoengineBaseModel):
    """The app's own document."""

    note = mongoengine.StringField(max_length=80)
    meta = {"collection": COLLECTION}


class Receipt(mongoengine.Document):  # type: ignore[misc]
    """What on_complete writes."""

    upload_id = mongoengine.StringField(required=True)
    sha256 = mongoengine.StringField(required=True)
    meta = {"collection": "receipts"}


class Hooks(FlaskResumable):
    """Writes a receipt and a note, then does what ``<home>/orders/on_complete`` says: die, or sleep."""

    def __init__(self, home: Path, write_receipt: Callable[[Any, str], None], **wiring: Any) -> None:
        super().__init__(**wiring)
        self._journal = Journal(home / "journal")
        self._order = home / "orders" / "on_complete"
        self._write_receipt = write_receipt

    def on_complete(self, upload: Any) -> None:
        digest = upload.digest("sha256")
        self._write_receipt(upload, digest)
        upload.note = digest
        self._journal.note("on_complete", upload.id)
        if self._order.exists():
            order, argument = self._order.read_text().split()
            if order == "sleep":
                time.sleep(float(argument))
            else:
                self._order.unlink()
                os.kill(os.getpid(), signal.SIGKILL)


def create_app(environ: Mapping[str, str] = os.environ) -> Flask:
    """The app, as a WSGI server starts it; used before that server forks, if it preloads apps."""
    home = Path(environ["LIVE_HOME"])
    app = Flask(__name__, instance_path=str(home / "instance"))
    app.config["RESUMABLE_UPLOAD_DIR"] = str(home / "uploads")
    app.config.update(settings_of(environ))
    uri, pool = environ["DATABASE_URI"], int(environ.get("DATABASE_POOL", "5"))
    if uri.startswith("mongodb:"):
        _on_mongo(app, home, uri, pool)
    else:
        _on_sql(app, home, uri, pool)

    @app.after_request
    def say_who(response: Response) -> Response:
        response.headers["X-Worker-Pid"] = str(os.getpid())
        return response

    return app


def _on_sql(app: Flask, home: Path, uri: str, pool: int) -> None:
    app.config["SQLALCHEMY_DATABASE_URI"] = uri
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": pool, "max_overflow": 0, "pool_timeout": 20}
    db = SQLAlchemy(app)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
        __tablename__ = COLLECTION
        note = db.Column(db.String(80))

    class Row(db.Model):  # type: ignore[misc, name-defined]
        __tablename__ = "receipts"
        id = db.Column(db.Integer, primary_key=True)
        upload_id = db.Column(db.String(32), nullable=False)
        sha256 = db.Column(db.String(64), nullable=False)

    def write_receipt(upload: Any, digest: str) -> None:
        db.session.add(Row(upload_id=upload.id, sha256=digest))

    @app.before_request
    def look_up_user() -> None:
        g.user = db.session.execute(text("SELECT count(*) FROM receipts")).scalar()

    Hooks(home, write_receipt, model=Upload, db=db).init_app(app)
    # The workers of all nodes start together, and create_all() looks first and creates then.
    with (home / "tables.lock").open("w") as lock, app.app_context():
        fcntl.flock(lock, fcntl.LOCK_EX)
        db.create_all()


def _on_mongo(app: Flask, home: Path, uri: str, pool: int) -> None:
    app.config["MONGODB_SETTINGS"] = {"host": uri, "maxPoolSize": pool, "serverSelectionTimeoutMS": 2000}

    def write_receipt(upload: Any, digest: str) -> None:
        Receipt(upload_id=upload.id, sha256=digest).save()

    Hooks(home, write_receipt, model=Document).init_app(app)
    Document.objects.count()  # the connection is used before a preloading server forks

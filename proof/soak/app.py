"""The app of the nodes: a receipt for each completion and a row for each creation, in PostgreSQL.

Configured by the environment::

    SOAK_HOME       folder of the node, with its clock
    SOAK_SETTINGS   app.config as JSON
    SOAK_AHEAD      how many seconds the clock of a command is ahead
    SOAK_MUTANT     a mistake to make, or nothing
    SOAK_POOL       how many connections a process has, and how many seconds it waits for one
    DATABASE_URI    a SQLAlchemy URL
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

from flask import Flask
from flask import Response
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from proof.soak.mutants import make_mistake

CLOCK = "clock"  # the file with the number of seconds that a node's clock is ahead
MUTANT, POOL = "SOAK_MUTANT", "SOAK_POOL"
CONNECTIONS = "5 20"


class Hooks(FlaskResumable[Any]):
    """Write down in the upload's own transaction that they were called."""

    def __init__(self, db: SQLAlchemy, created: Any, receipt: Any, **wiring: Any) -> None:
        super().__init__(db=db, **wiring)
        self._session = db.session
        self._created = created
        self._receipt = receipt

    def on_create(self, upload: Any) -> None:
        self._session.add(self._created(upload_id=upload.id))

    def on_complete(self, upload: Any) -> None:
        with upload.open() as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        self._session.add(self._receipt(upload_id=upload.id, sha256=digest))


def create_app(environ: Mapping[str, str] = os.environ) -> Flask:
    """The app, as a WSGI server or the ``flask`` command starts it."""
    home = Path(environ["SOAK_HOME"])
    app = Flask(__name__, instance_path=str(home / "instance"))
    app.config.update(json.loads(environ["SOAK_SETTINGS"]))
    app.config["SQLALCHEMY_DATABASE_URI"] = environ["DATABASE_URI"]
    size, patience = (environ.get(POOL) or CONNECTIONS).split()
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "pool_size": int(size),
        "max_overflow": 0,
        "pool_timeout": float(patience),
    }
    make_mistake(environ.get(MUTANT))
    db = SQLAlchemy(app)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
        __tablename__ = "uploads"

    class Created(db.Model):  # type: ignore[misc, name-defined]
        id = db.Column(db.Integer, primary_key=True)
        upload_id = db.Column(db.String(32), nullable=False, index=True)

    class Receipt(db.Model):  # type: ignore[misc, name-defined]
        id = db.Column(db.Integer, primary_key=True)
        upload_id = db.Column(db.String(32), nullable=False, index=True)
        sha256 = db.Column(db.String(64), nullable=False)

    ahead = float(environ.get("SOAK_AHEAD", "0"))

    def now() -> datetime:
        moved = 0.0
        with suppress(OSError, ValueError):
            moved = float((home / CLOCK).read_text())
        return datetime.now(UTC) + timedelta(seconds=ahead + moved)

    Hooks(db, Created, Receipt, model=Upload, now=now).init_app(app)
    with (home.parent / "tables.lock").open("w") as lock, app.app_context():
        fcntl.flock(lock, fcntl.LOCK_EX)  # the worker processes start together
        db.create_all()

    @app.after_request
    def say_who(response: Response) -> Response:
        response.headers["X-Worker-Pid"] = str(os.getpid())
        return response

    return app

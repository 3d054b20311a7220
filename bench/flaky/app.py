"""The app that is measured: embedded SQLite or a model of its own, uploads on the disk or in S3.

Configured by the environment, so that any WSGI server can start it::

    FLAKY_HOME      folder for everything that it keeps
    FLAKY_DATABASE  a SQLAlchemy URL; without it, the extension's own SQLite file
    FLAKY_BUCKET    what S3Storage takes, as JSON; without it, uploads are on the disk
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin

_HOME = Path(os.environ["FLAKY_HOME"])


def _storage() -> Any:
    """The bucket, or nothing: the disk is the default."""
    if not os.environ.get("FLAKY_BUCKET"):
        return None
    from flask_resumable.storage.s3 import S3Storage

    return S3Storage(**json.loads(os.environ["FLAKY_BUCKET"]))


def _with_own_model(app: Flask, uri: str) -> None:
    app.config["SQLALCHEMY_DATABASE_URI"] = uri
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 10, "max_overflow": 20}
    db = SQLAlchemy(app)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
        note = db.Column(db.String(80))

    FlaskResumable(app, model=Upload, db=db, storage=_storage())
    # Two workers start together, and create_all() looks first and creates then.
    with (_HOME / "tables.lock").open("w") as lock, app.app_context():
        fcntl.flock(lock, fcntl.LOCK_EX)
        db.create_all()


app = Flask("flaky", instance_path=str(_HOME))
app.config["RESUMABLE_UPLOAD_DIR"] = str(_HOME / "uploads")
if os.environ.get("FLAKY_DATABASE"):
    _with_own_model(app, os.environ["FLAKY_DATABASE"])
else:
    FlaskResumable(app, storage=_storage())

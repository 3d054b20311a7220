"""The app that is measured: uploads as they come out of the box, or with a model in the app's own database.

Configured by the environment, so that any WSGI server can start it::

    BENCH_HOME        folder for everything that it keeps
    BENCH_DURABILITY  the setting of that name
    BENCH_FOLDER      a folder for flow.js chunks
    BENCH_DATABASE    a SQLAlchemy URL; without it, the extension's own SQLite file
    BENCH_ROWS        "yes": write a row to that database for each finished upload
    BENCH_BUCKET      what S3Storage takes, as JSON; without it, uploads are on the disk
"""

from __future__ import annotations

import json
import os
from typing import Any

from flask import Flask
from flask import request

from flask_resumable import FlaskResumable


class Uploads(FlaskResumable):
    """A hook that costs nothing of its own."""

    completed = 0

    def on_complete(self, upload: Any) -> None:
        self.completed += 1


def _with_own_model(app: Flask, uri: str, storage: Any) -> None:
    from bench.models import db
    from bench.models import Document
    from bench.models import init_app
    from flask_resumable.models import SQLAlchemyModel

    class UploadsWithRows(FlaskResumable):
        def on_complete(self, upload: Any) -> None:
            db.session.add(Document(upload=upload.id, name=upload.filename, size=upload.length))

    init_app(app, uri)
    extension = UploadsWithRows if os.environ.get("BENCH_ROWS") else Uploads
    extension(app, model=SQLAlchemyModel, db=db, storage=storage)


def _storage() -> Any:
    """The bucket, or nothing: the disk is the default."""
    if not os.environ.get("BENCH_BUCKET"):
        return None
    from flask_resumable.storage.s3 import S3Storage

    return S3Storage(**json.loads(os.environ["BENCH_BUCKET"]))


app = Flask("bench", instance_path=os.environ["BENCH_HOME"])
app.config["RESUMABLE_DURABILITY"] = os.environ.get("BENCH_DURABILITY", "data")
if os.environ.get("BENCH_FOLDER"):
    app.config["FLOW_TEMP_DIR"] = os.environ["BENCH_FOLDER"]
if os.environ.get("BENCH_DATABASE"):
    _with_own_model(app, os.environ["BENCH_DATABASE"], _storage())
else:
    Uploads(app, storage=_storage())


@app.route("/empty", methods=["GET", "POST"])
def empty() -> tuple[str, int]:
    """The least that a view can do."""
    return "", 204


@app.patch("/empty")
def empty_that_reads() -> tuple[str, int]:
    """The least that a view can do with a body."""
    request.get_data()
    return "", 204

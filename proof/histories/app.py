"""The app that clients of a history talk to: one of several on a database and a folder, with a clock of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flask import Flask

from flask_resumable import FlaskResumable
from tests.databases.openers import open_mongo
from tests.databases.openers import open_sql
from tests.live.app import settings_of

from .clock import Clock
from .mutants import make_mistake


def open_repository(uri: str) -> Any:
    """The repository in a database of any kind."""
    return open_mongo(uri) if uri.startswith("mongodb:") else open_sql(uri)


def create_app() -> Flask:
    """The app, as gunicorn starts it."""
    make_mistake(os.environ.get("HISTORIES_MUTANT"))
    home = Path(os.environ["LIVE_HOME"])
    app = Flask(__name__, instance_path=str(home / "instance"))
    app.config["RESUMABLE_UPLOAD_DIR"] = os.environ["HISTORIES_FOLDER"]
    app.config.update(settings_of(os.environ))
    FlaskResumable(app, repository=open_repository(os.environ["HISTORIES_URI"]), now=Clock(home / "clock"))
    return app

"""The app under test: owners by a header, a row for each ``on_complete``, and the cleaner at a URL of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

from flask import Flask
from flask import request
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.service.cleanup import Cleaner
from flask_resumable.service.cleanup import complete_pending
from flask_resumable.service.cleanup import Report

AHEAD = "ahead"  # a file in the home folder: how many seconds the clock is ahead
COMPLETIONS = "completions"  # a table


@dataclass(frozen=True)
class Config:
    """What an app needs to know."""

    home: Path
    database: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    mutant: str | None = None

    def to_environ(self) -> dict[str, str]:
        """For processes of their own."""
        return {"MODELS": json.dumps([str(self.home), self.database, dict(self.settings), self.mutant])}

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Config:
        """In such a process."""
        home, database, settings, mutant = json.loads(environ["MODELS"])
        return cls(Path(home), database, settings, mutant)


class Hooks(FlaskResumable):
    """Uploads belong to whom X-User names."""

    def __init__(self, write: Callable[[Any], None], **wiring: Any) -> None:
        super().__init__(**wiring)
        self._write = write

    def current_owner(self) -> str | None:
        return request.headers.get("X-User")

    def on_complete(self, upload: Any) -> None:
        self._write(upload)


def create_app(config: Config, now: Callable[[], datetime]) -> Flask:
    """One server."""
    app = Flask(__name__, instance_path=str(config.home / "instance"))
    app.config.update(
        {
            "RESUMABLE_UPLOAD_DIR": str(config.home / "uploads"),
            "RESUMABLE_DOWNLOADS": True,
            "RESUMABLE_PARTS_EXPIRATION": timedelta(days=1),  # as all else: the model knows a single time
            **{f"RESUMABLE_{name}": value for name, value in config.settings.items()},
        }
    )
    (_on_mongo if config.database.startswith("mongodb:") else _on_sql)(app, config.database, now)

    @app.post("/proof/clean")
    def clean() -> dict[str, Any]:
        report, service = Report(), app.extensions["resumable"].service
        removed = [*Cleaner(service, batch=100).delete_expired(report, orphans_after=timedelta(hours=24))]
        completed = [*complete_pending(service, report, batch=100)]
        return {"removed": removed, "completed": completed, "failed": report.failed}

    return app


def live_app() -> Flask:
    """The same in a process of its own, whose clock the campaign moves through a file."""
    config = Config.from_environ(os.environ)
    ahead = os.open(config.home / AHEAD, os.O_RDONLY)

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(os.pread(ahead, 40, 0) or b"0"))

    if config.mutant is not None:
        from .mutants import MUTANTS

        MUTANTS[config.mutant].apply()
    return create_app(config, now)


def _on_sql(app: Flask, uri: str, now: Callable[[], datetime]) -> None:
    app.config["SQLALCHEMY_DATABASE_URI"] = uri
    db = SQLAlchemy(app)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
        __tablename__ = "uploads"

    class Row(db.Model):  # type: ignore[misc, name-defined]
        __tablename__ = COMPLETIONS
        id = db.Column(db.Integer, primary_key=True)
        upload_id = db.Column(db.String(64), nullable=False)

    def write(upload: Any) -> None:
        db.session.add(Row(upload_id=upload.id))

    Hooks(write, model=Upload, db=db, now=now).init_app(app)
    with app.app_context():
        db.create_all()


def _on_mongo(app: Flask, uri: str, now: Callable[[], datetime]) -> None:
    from .documents import Completion
    from .documents import Document

    app.config["MONGODB_SETTINGS"] = {"host": uri, "serverSelectionTimeoutMS": 2000}

    def write(upload: Any) -> None:
        Completion(upload_id=upload.id).save()

    Hooks(write, model=Document, now=now).init_app(app)
    Document.objects.count()  # the connection is used before the server forks

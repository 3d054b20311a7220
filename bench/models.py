"""What the app keeps in its own database: a row for each finished upload.

An app that another server tells of its uploads (``hook_app.py``) writes the same row, through the same model.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy import String
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column

db = SQLAlchemy()


class Document(db.Model):  # type: ignore[misc, name-defined]
    """A finished upload. Nothing keeps two rows from being about the same one: the benchmark looks for that."""

    id: Mapped[int] = mapped_column(primary_key=True)
    upload: Mapped[str] = mapped_column(String(64))
    name: Mapped[str | None] = mapped_column(String(255))
    size: Mapped[int]


def init_app(app: Flask, uri: str) -> None:
    """Let the app use this database."""
    app.config["SQLALCHEMY_DATABASE_URI"] = uri
    is_sqlite = uri.startswith("sqlite:")
    if is_sqlite:
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": {"timeout": 30}}
    db.init_app(app)
    # Two workers start together, and create_all() looks first and creates then.
    with Path(os.environ["BENCH_HOME"], "tables.lock").open("w") as lock, app.app_context():
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_sqlite:  # in WAL, which the file is in, this loses nothing if a process dies
            event.listen(db.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous = NORMAL"))
        db.create_all()

"""Shows the embedded table to the app's migrations, if both are in one database. Alembic drops tables unknown to it."""

from __future__ import annotations

import os
from typing import Any

from flask import appcontext_pushed
from flask import Flask
from sqlalchemy import URL
from sqlalchemy.engine import make_url

_PORTS = {"postgresql": 5432, "mysql": 3306}


def show_table(app: Flask, model: type[Any], uri: str) -> None:
    """Add the table of ``model`` to the metadata of the app's Flask-SQLAlchemy object, if it is in that database.

    This happens when the app is first used. By then, all extensions are set up, in whatever order.
    """
    url, table = make_url(uri), model.__table__

    def once(sender: Flask, **_: Any) -> None:
        # Neither this function nor a receiver that stays connected may hold the app, because signals outlive apps.
        appcontext_pushed.disconnect(once)
        db: Any = sender.extensions.get("sqlalchemy")
        for key, metadata in getattr(db, "metadatas", {}).items():
            engine = db.engines.get(key)
            if engine is not None and _is_same(engine.url, url) and table.name not in metadata.tables:
                table.to_metadata(metadata)

    appcontext_pushed.connect(once, app, weak=False)


def _is_same(one: URL, other: URL) -> bool:
    return _place(one) == _place(other)


def _place(url: URL) -> tuple[object, ...]:
    """Return what identifies a database, whatever driver and user connect to it."""
    backend = url.get_backend_name()
    if backend == "sqlite":
        is_file = bool(url.database) and url.database != ":memory:"
        return backend, os.path.realpath(url.database or "") if is_file else object()
    backend = "mysql" if backend == "mariadb" else backend
    return backend, url.host or "localhost", url.port or _PORTS.get(backend), url.database

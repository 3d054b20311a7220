"""Starts the app on gunicorn, and looks behind it into its database."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from typing import Protocol

import pymongo
from sqlalchemy import create_engine
from sqlalchemy import text

from tests.live.servers import id_of
from tests.live.servers import Server


class Database(Protocol):
    """Something that apps can connect to."""

    @property
    def uri(self) -> str:
        """Where clients find it."""
        ...


class LiveApp(Server):
    """``databases.app`` on gunicorn."""

    app = "databases.app:create_app"

    def __init__(
        self, database: Database, home: Path, *options: str, kind: str = "gthread", pool: int = 5, **settings: Any
    ) -> None:
        self.database = database
        environ = {"DATABASE_URI": database.uri, "DATABASE_POOL": str(pool)}
        super().__init__(kind, home, settings, options, environ)

    def receipts(self, path: str) -> list[str]:
        """The digests that on_complete has left for an upload."""
        return [row["sha256"] for row in self._rows("receipts", "upload_id", id_of(path))]

    def note(self, path: str) -> str | None:
        """What on_complete has left in the upload itself."""
        (row,) = self._rows("uploads", "id", id_of(path))
        note: str | None = row.get("note")
        return note

    def status(self, path: str) -> str:
        """The upload's state."""
        (row,) = self._rows("uploads", "id", id_of(path))
        return str(row["status"])

    def offset(self, path: str) -> int | None:
        """How many bytes the database knows of, or ``None`` if it does not know the upload."""
        rows = self._rows("uploads", "id", id_of(path))
        return rows[0]["offset"] if rows else None

    def _rows(self, table: str, column: str, value: str) -> list[dict[str, Any]]:
        if self.database.uri.startswith("mongodb:"):
            client: pymongo.MongoClient[dict[str, Any]]
            with pymongo.MongoClient(self.database.uri) as client:
                key = "_id" if column == "id" else column
                return [*client.get_default_database()[table].find({key: value})]
        engine = create_engine(self.database.uri)
        try:
            with engine.connect() as connection:
                rows = connection.execute(text(f"SELECT * FROM {table} WHERE {column} = :value"), {"value": value})
                return [dict(row) for row in rows.mappings()]
        finally:
            engine.dispose()

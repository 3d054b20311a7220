"""The demo, wherever it keeps its state."""

from __future__ import annotations

import hashlib
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from demo.app import create_app
from flask_resumable import ConfigurationError
from tests.browser.demo_server import DemoServer
from tests.browser.waiting import PATIENCE

from .servers import DatabaseServer
from .servers import MongoWire

CONTENT = bytes(range(250)) * 10
FILE = {
    "flowChunkSize": 1000,
    "flowTotalSize": len(CONTENT),
    "flowTotalChunks": 2,
    "flowIdentifier": "photo",
    "flowFilename": "photo.jpg",
    "flowRelativePath": "photo.jpg",
}


def demo_on(database: DatabaseServer, home: Path) -> DemoServer:
    """The demo, as docker-compose.yml tells it where its state is."""
    if isinstance(database, MongoWire):
        return DemoServer(home, environ={"STATE": "mongo", "FLASK_MONGODB_HOST": database.uri})
    return DemoServer(home, environ={"STATE": "sql"}, DATABASE_URI=database.uri)


def send(server: DemoServer, number: int, content: bytes) -> None:
    """Send one chunk."""
    query = urlencode({"flowChunkNumber": number, **FILE})
    urllib.request.urlopen(f"{server.url}/flow/?{query}", content, timeout=PATIENCE).close()


@pytest.mark.live
def test_state(database: DatabaseServer, tmp_path: Path) -> None:
    """STATE and the database's address are all it takes; what is there survives a restart."""
    server = demo_on(database, tmp_path)
    server.start()
    try:
        send(server, 2, CONTENT[1000:])
        server.kill()
        server.start()
        halfway = server.uploads()["unfinished"]  # with those of other tests on this database
        assert [row["received"] for row in halfway if row["name"] == "photo.jpg"] == [1500]
        send(server, 1, CONTENT[:1000])
        uploads: dict[str, Any] = server.uploads()
        names = {state: [row["name"] for row in uploads[state]] for state in ("unfinished", "finished")}
        assert "photo.jpg" in names["finished"] and "photo.jpg" not in names["unfinished"]
        assert server.digests() == [hashlib.sha256(CONTENT).hexdigest()]
        assert "Traceback" not in server.log
    finally:
        server.kill()


def test_unknown_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip in STATE stops the demo, and says what it may be."""
    monkeypatch.setenv("STATE", "redis")
    with pytest.raises(ConfigurationError, match="must be 'sql' or 'mongo'"):
        create_app()

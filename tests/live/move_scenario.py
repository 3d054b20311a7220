"""The scenario of one upload whose file ``on_complete`` moves: to a folder beside the uploads, or to another disk."""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from flask.testing import FlaskClient

from .app import create_app
from .raw import OCTETS
from .scenario import LEASE
from .scenario import Memory
from .scenario import TRIES

CONTENT = random.Random(16).randbytes(5000)
FAR = "LIVE_FAR"  # the environment's name for a folder in another file system
DAYS = 3 * 24 * 3600.0  # seconds
FIELDS = {"Tus-Resumable": "1.0.0"}


def act(what: str, home: Path, begin: Callable[[], None]) -> None:
    """``prepare``, ``move``, ``move in trouble`` or ``check``; behind a colon, the way: near, far, or either over."""
    what, _, way = what.partition(": ")
    match what:
        case "begin":
            begin()
            _prepare(home, way)
        case "move":
            client = _client(home, way)
            begin()
            assert _sent(client, home) == 204
        case "move in trouble":
            client = _client(home, way)
            begin()
            statuses = [_sent(client, home) for _ in range(TRIES)]
            assert 204 in statuses or _is_whole(client, home), statuses
        case "check":
            begin()
            _check(home, way)
        case _:
            raise ValueError(what)


def _target(home: Path, way: str) -> Path:
    """A folder for moved files."""
    return Path(os.environ[FAR], home.parent.name, home.name) if "far" in way else home / "data"


def _client(home: Path, way: str, ahead: float = 0) -> FlaskClient:
    _target(home, way).mkdir(parents=True, exist_ok=True)  # so that every run makes the same calls
    environ = {
        "LIVE_MUTE": "1",
        "LIVE_AHEAD": str(ahead),
        "LIVE_MOVE": str(_target(home, way) / "new" / "{id}.bin"),
        "LIVE_OVERWRITE": "1" if "over" in way else "0",
    }
    return create_app(home, environ).test_client()


def _prepare(home: Path, way: str) -> None:
    answer = _client(home, way).post("/files/", headers={**FIELDS, "Upload-Length": str(len(CONTENT))})
    Memory(home).keep("path", "/files/" + answer.headers["Location"])


def _sent(client: FlaskClient, home: Path) -> int:
    """Ask how far the upload is, and send the rest; the last status."""
    path = Memory(home).known["path"]
    answer = client.head(path, headers=FIELDS)
    if answer.status_code != 200:
        return answer.status_code
    offset = int(answer.headers["Upload-Offset"])
    fields = {**FIELDS, "Upload-Offset": str(offset), "Content-Type": OCTETS}
    return client.patch(path, headers=fields, data=CONTENT[offset:]).status_code


def _is_whole(client: FlaskClient, home: Path) -> bool:
    answer = client.head(Memory(home).known["path"], headers=FIELDS)
    return answer.status_code == 200 and answer.headers["Upload-Offset"] == str(len(CONTENT))


def _files(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def _check(home: Path, way: str) -> None:
    """A new process does what is left to do: the file is at its new place, once, and on_complete took effect once."""
    client = _client(home, way, LEASE)
    assert _sent(client, home) == 204
    path = Memory(home).known["path"]
    upload_id = path.rpartition("/")[2]
    place = _target(home, way) / "new" / f"{upload_id}.bin"
    assert place.read_bytes() == CONTENT
    with closing(sqlite3.connect(home / "app.sqlite")) as connection:
        rows = connection.execute("SELECT upload_id, sha256 FROM receipt").fetchall()
    assert rows == [(upload_id, hashlib.sha256(CONTENT).hexdigest())], rows
    later = _client(home, way, DAYS)
    for command in ("complete_pending", "verify", "delete_expired", "verify"):
        result = later.application.test_cli_runner().invoke(args=["tus", command])
        assert result.exit_code == 0, (command, result.output)
    assert _files(home / "uploads", _target(home, way)) == [place]
    assert place.read_bytes() == CONTENT
    assert later.delete(path, headers=FIELDS).status_code == 204
    assert _files(home / "uploads", _target(home, way)) == []

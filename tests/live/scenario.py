"""A client's life, played step by step in one process: two uploads, a concatenation, removals.

What the client knows is kept where the death of its process cannot reach it, so that a new process can take the
scenario up where the old one died; every step is retried as a tus client would. A broken promise is an exception.
"""

from __future__ import annotations

import json
import mmap
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from .app import create_app
from .raw import OCTETS

TRIES = 4  # of a step of which one system call fails once
LEASE = 31.0  # seconds after which nobody waits for a dead process any more
SIZES = {"whole": 3000, "dropped": 1000, "first": 600, "second": 400}
CONTENT = {name: random.Random(name).randbytes(size) for name, size in SIZES.items()}
CONTENT["joined"] = CONTENT["first"] + CONTENT["second"]
NAMES = tuple(CONTENT)


class Memory:
    """What the client was told, in a mapped file: a store to it is no system call, and survives kill -9."""

    SIZE = 65536

    def __init__(self, home: Path) -> None:
        file = home / "memory"
        if not file.exists():
            file.write_bytes(b"{}".ljust(self.SIZE))
        with file.open("r+b") as stream:
            self._map = mmap.mmap(stream.fileno(), self.SIZE)
        self.known: dict[str, Any] = json.loads(self._map[:].decode())

    def keep(self, key: str, value: Any) -> None:
        """Learn something."""
        self.known[key] = value
        self._map[:] = json.dumps(self.known).encode().ljust(self.SIZE)


class Scenario:
    """The scenario as far as it was played in ``home``.

    :param ahead: Seconds that the clock is ahead.
    :param troubles: What a request may be answered when the server is in trouble, besides its proper answer.
    """

    def __init__(self, home: Path, *, ahead: float = 0, troubles: frozenset[int] = frozenset()) -> None:
        self._home = home
        self._ahead = ahead
        self._client = self._start()
        self._memory = Memory(home)
        self._troubles = troubles

    def play(self) -> None:
        """From the beginning, or from where it stopped, to the end."""
        self._create("whole", {"Upload-Length": "3000"})
        self._send("whole", 1000)
        self._send("whole", 3000)
        self._create("dropped", {"Upload-Length": "1000"}, CONTENT["dropped"][:500])
        self._delete("dropped")
        self._create("first", {"Upload-Length": "600", "Upload-Concat": "partial"}, CONTENT["first"])
        self._create("second", {"Upload-Length": "400", "Upload-Concat": "partial"})
        parts = f"{self._path('first')} {self._path('second')}"
        self._create("joined", {"Upload-Concat": f"final;{parts}"})
        self._send("second", 400)
        self._send("joined", 1000)
        self._delete("whole")

    def abandon(self) -> None:
        """A beginning without an end: uploads of every kind that nobody will finish, and one that is finished."""
        self._create("joined", {"Upload-Length": "1000"}, CONTENT["joined"])
        self._create("whole", {"Upload-Length": "3000"}, CONTENT["whole"][:1000])
        self._create("dropped", {"Upload-Length": "1000"})
        self._create("first", {"Upload-Length": "600", "Upload-Concat": "partial"}, CONTENT["first"])
        self._create("second", {"Upload-Length": "400", "Upload-Concat": "partial"}, CONTENT["second"][:100])
        parts = f"{self._path('first')} {self._path('second')}"
        assert self._request("POST", None, {"Upload-Concat": f"final;{parts}"}).status_code == 201
        (self._home / "uploads" / ".partial" / ("e" * 32 + ".part")).write_bytes(b"a leftover without a record")

    def look(self) -> None:
        """Every upload that the client knows can be asked for, though some may be locked by a process that has died."""
        for name in NAMES:
            if self._path(name) is not None:
                status = self._request("HEAD", name).status_code
                assert status in (200, 423) or (status == 404 and self._is_to_go(name)), (name, status)

    # --- steps ---

    def _create(self, name: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        for _ in range(TRIES):
            if self._path(name) is not None:
                return
            content_type = {"Content-Type": OCTETS} if body else {}
            answer = self._request("POST", None, {**headers, **content_type}, body)
            if self._is_done(answer, 201):
                self._memory.keep(name, "/files/" + answer.headers["Location"])
                self._memory.keep(f"offset of {name}", int(answer.headers.get("Upload-Offset", 0)))
        raise AssertionError(f"{name} could not be created")

    def _send(self, name: str, stop: int) -> None:
        for attempt in range(TRIES):
            if self._is_to_go(name):
                return  # a later step has been reached already
            if name == "joined" and attempt == TRIES - 1:
                # Whoever could not say that he has let it go, holds it until his lease is over.
                self._ahead += LEASE
                self._client = self._start()
            answer = self._request("HEAD", name)
            if not self._is_done(answer, 200):
                continue
            offset = int(answer.headers.get("Upload-Offset", 0))
            self._check(name, offset)
            if offset >= stop:
                return
            if name == "joined":
                continue  # not sent, but assembled
            headers = {"Upload-Offset": str(offset), "Content-Type": OCTETS}
            answer = self._request("PATCH", name, headers, CONTENT[name][offset:stop])
            if self._is_done(answer, 204):
                self._check(name, int(answer.headers["Upload-Offset"]))
        raise AssertionError(f"{name} could not be sent up to {stop}")

    def _delete(self, name: str) -> None:
        for _ in range(TRIES):
            if self._memory.known.get(f"{name} is gone"):
                return
            was_tried = self._is_to_go(name)
            self._memory.keep(f"{name} is to go", True)
            answer = self._request("DELETE", name)
            if (was_tried and answer.status_code == 404) or self._is_done(answer, 204):
                self._memory.keep(f"{name} is gone", True)
        raise AssertionError(f"{name} could not be removed")

    # --- promises ---

    def _check(self, name: str, offset: int) -> None:
        """The offset never goes back, and the bytes up to it are on the disk, as they were sent."""
        assert offset >= self._memory.known[f"offset of {name}"], (name, offset, self._memory.known)
        self._memory.keep(f"offset of {name}", offset)
        if offset:
            upload_id = str(self._path(name)).rpartition("/")[2]
            files = [self._home / "uploads" / upload_id, self._home / "uploads" / ".partial" / f"{upload_id}.part"]
            stored = next(file.read_bytes() for file in files if file.exists())
            assert stored[:offset] == CONTENT[name][:offset], name

    def _is_done(self, answer: TestResponse, status: int) -> bool:
        """Whether a request had its proper answer; if not, it must be one that tells of trouble."""
        assert answer.status_code in {status, *self._troubles}, (answer.request, answer.status, answer.text)
        return answer.status_code == status

    def _start(self) -> FlaskClient:
        """An app of its own, at the scenario's time."""
        return create_app(self._home, {"LIVE_MUTE": "1", "LIVE_AHEAD": str(self._ahead)}).test_client()

    def _path(self, name: str) -> str | None:
        path: str | None = self._memory.known.get(name)
        return path

    def _is_to_go(self, name: str) -> bool:
        return bool(self._memory.known.get(f"{name} is to go"))

    def _request(
        self, method: str, name: str | None, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> TestResponse:
        path = "/files/" if name is None else self._path(name)
        assert path is not None
        fields = {"Tus-Resumable": "1.0.0", **(headers or {})}
        return self._client.open(path, method=method, headers=fields, data=body)

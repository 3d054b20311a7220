"""What clients do while the disk is recorded, and what they know at each moment.

What is noted before a request may have happened when the power failed after it; what is noted after a response must be
true then.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import io
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextlib import closing
from contextlib import nullcontext
from dataclasses import dataclass
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder
from werkzeug.test import run_wsgi_app
from werkzeug.test import TestResponse

from .app import Clock
from .app import create_app
from .app import Setup

OCTETS = "application/offset+octet-stream"
TUS = {"Tus-Resumable": "1.0.0"}
DRAFT = {"Upload-Draft-Interop-Version": "8"}
_PATIENCE = 30.0  # seconds
_WAIT_WRITE_WAIT = 7  # of sync_file_range
_EXPIRED = timedelta(days=8)


@dataclass(frozen=True)
class File:
    """What a client uploads.

    :param kind: ``"tus"``, ``"part"``, ``"final"``, ``"ietf"`` or ``"flow"``.
    :param chunk: The size of its chunks, in bytes, for flow.js.
    """

    kind: str
    size: int
    chunk: int = 0


FILES = {
    "plain": File("tus", 9_000),
    "large": File("tus", 150_000),
    "sudden": File("tus", 60_000),
    "checked": File("tus", 30_000),
    "taken": File("tus", 40_000),
    "first": File("part", 6_000),
    "second": File("part", 5_000),
    "joined": File("final", 11_000),
    "dropped": File("tus", 3_000),
    "removed": File("tus", 2_000),
    "moved": File("tus", 5_000),
    "draft": File("ietf", 9_000),
    "small": File("flow", 13_000, 5_000),
    "wide": File("flow", 210_000, 70_000),
    "stale": File("tus", 4_000),
}
CONTENT = {name: Random(name).randbytes(file.size) for name, file in FILES.items()}
CONTENT["joined"] = CONTENT["first"] + CONTENT["second"]


@dataclass
class Known:
    """What a client knows about an upload.

    :param url: Where it is, if its creation was answered.
    :param floor: The greatest offset that was answered.
    :param tried: Where the content ends that was sent so far.
    :param chunks: The chunks that were answered.
    :param is_complete: Whether its completion was answered.
    :param is_doomed: Whether its removal has begun.
    :param is_gone: Whether its removal was answered.
    """

    url: str = ""
    floor: int = 0
    tried: int = 0
    chunks: tuple[int, ...] = ()
    is_complete: bool = False
    is_doomed: bool = False
    is_gone: bool = False


@dataclass
class Notes:
    """What was known, and since which operation of the disk."""

    count: Callable[[], int]
    entries: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)

    def note(self, name: str, **facts: Any) -> None:
        """Note facts about an upload."""
        self.entries.append((self.count(), name, facts))

    def until(self, moment: int) -> dict[str, Known]:
        """Return what was known of each upload after so many operations."""
        known: dict[str, Known] = {}
        for count, name, facts in self.entries:
            if count <= moment:
                upload = known.setdefault(name, Known())
                for fact, value in facts.items():
                    setattr(upload, fact, value)
        return known


class Story:
    """The requests of all clients, one after the other where they do not say otherwise.

    :param quiet: A context in which the kernel writes nothing that nobody has asked for.
    """

    def __init__(
        self,
        home: Path,
        setup: Setup,
        notes: Notes,
        quiet: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._quiet = quiet
        self._home = home
        self._clock = Clock()
        self._app = create_app(home, setup, self._clock)
        self._client = self._app.test_client()
        if setup.database != "delete":
            self._client.head(f"/files/{'0' * 32}", headers=TUS)  # connects
            use_for_a_while(home / ("instance/resumable.sqlite" if setup.database == "embedded" else "app.sqlite"))
        self._notes = notes
        self._known: dict[str, Known] = {name: Known() for name in FILES}

    CHAPTERS = ("whole", "at_once", "takeovers", "concatenation", "removals", "move", "drafts", "chunks", "cleaning")

    def play(self, chapters: tuple[str, ...] = CHAPTERS) -> None:
        """Play some chapters to their end."""
        for chapter in chapters:
            getattr(self, f"_play_{chapter}")()

    # --- chapters ---

    def _play_whole(self) -> None:
        self._create("plain")
        self._send("plain", 3_000)
        self._send("plain", 9_000)
        self._create("large", CONTENT["large"][:50_000])
        self._send("large", 100_001)
        self._send("large", 150_000)

    def _play_at_once(self) -> None:
        """One request creates, sends and finishes an upload."""
        self._create("sudden", CONTENT["sudden"])

    def _play_takeovers(self) -> None:
        """A request whose content is refused leaves bytes, and one that dies and one that hangs are taken over."""
        self._create("checked")
        self._send("checked", 2_000)
        wrong = bytes(20_000)
        answer = self._patch("checked", 2_000, wrong, checksum=CONTENT["checked"][2_000:22_000])
        assert answer.status_code == 460, answer
        self._write_back("*.part")
        with self._quiet():  # it often writes the bytes before they are synced
            self._killed("checked", 18_000)
            self._write_back("*.lock")
            self._ask("checked")
        self._send("checked", 20_000)
        offset = self._known["checked"].floor
        answer = self._patch("checked", offset, CONTENT["checked"][offset:], checksum=CONTENT["checked"][offset:])
        self._sent("checked", answer)
        self._create("taken")
        self._hung("taken", 25_000)
        self._send("taken", 40_000)

    def _play_concatenation(self) -> None:
        self._create("first", CONTENT["first"], concat="partial")
        self._create("second", concat="partial")
        self._send("second", 2_000)
        self._create("joined", concat=f"final;{self._known['first'].url} {self._known['second'].url}")
        self._note("joined", tried=FILES["joined"].size)
        self._send("second", 5_000)
        self._ask("joined")

    def _play_removals(self) -> None:
        self._create("dropped", CONTENT["dropped"][:1_000])
        self._delete("dropped")
        self._create("removed", CONTENT["removed"])
        self._delete("removed")

    def _play_move(self) -> None:
        self._create("moved", CONTENT["moved"][:2_000])
        self._send("moved", 5_000)

    def _play_drafts(self) -> None:
        content = CONTENT["draft"]
        self._note("draft", tried=4_000)
        fields = {"Upload-Length": str(len(content)), "Upload-Complete": "?0", "Upload-Metadata": _metadata("draft")}
        answer = self._client.post("/files/", headers={**DRAFT, **fields}, data=content[:4_000])
        assert answer.status_code == 201, answer
        self._note("draft", url=f"/files/{answer.headers['Location'].rpartition('/')[2]}", floor=4_000)
        self._note("draft", tried=9_000)
        fields = {"Upload-Offset": "4000", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}
        answer = self._client.patch(self._known["draft"].url, headers={**DRAFT, **fields}, data=content[4_000:])
        assert answer.status_code in (200, 204), answer
        self._note("draft", floor=9_000, is_complete=True)

    def _play_chunks(self) -> None:
        self._send_chunk("small", 2)
        self._send_chunk("small", 1)
        for number in (3, 1, 2):
            self._send_chunk("wide", number)

    def _play_cleaning(self) -> None:
        self._create("stale", CONTENT["stale"][:3_000])
        self._note("stale", is_doomed=True)
        for name in ("first", "second"):
            if self._known[name].url:
                self._note(name, is_doomed=True)  # they expire once they are joined
        self._clock.ahead = _EXPIRED
        result = self._app.test_cli_runner().invoke(args=["tus", "delete_expired"])
        assert result.exit_code == 0, result.output
        self._note("stale", is_gone=True)

    # --- requests ---

    def _create(self, name: str, body: bytes = b"", *, concat: str = "") -> None:
        headers = {**TUS, "Upload-Metadata": _metadata(name)}
        if concat:
            headers["Upload-Concat"] = concat
        if not concat.startswith("final"):
            headers["Upload-Length"] = str(FILES[name].size)
        if body:
            headers["Content-Type"] = OCTETS
            self._note(name, tried=len(body))
        answer = self._client.post("/files/", headers=headers, data=body)
        assert answer.status_code == 201, (name, answer, answer.text)
        url = f"/files/{answer.headers['Location'].rpartition('/')[2]}"
        offset = int(answer.headers.get("Upload-Offset", 0))
        self._note(name, url=url, floor=offset, is_complete=offset == FILES[name].size)

    def _send(self, name: str, stop: int) -> None:
        offset = self._known[name].floor
        self._note(name, tried=stop)
        self._sent(name, self._patch(name, offset, CONTENT[name][offset:stop]))

    def _patch(self, name: str, offset: int, body: bytes, *, checksum: bytes | None = None) -> TestResponse:
        headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": OCTETS}
        if checksum is not None:
            self._note(name, tried=offset + len(body))
            headers["Upload-Checksum"] = f"sha256 {_base64(hashlib.sha256(checksum).digest())}"
        return self._client.patch(self._known[name].url, headers=headers, data=body)

    def _sent(self, name: str, answer: TestResponse) -> None:
        assert answer.status_code == 204, (name, answer, answer.text)
        self._learn(name, answer)

    def _ask(self, name: str) -> None:
        answer = self._client.head(self._known[name].url, headers=TUS)
        assert answer.status_code == 200, (name, answer)
        self._learn(name, answer)

    def _learn(self, name: str, answer: TestResponse) -> None:
        offset = int(answer.headers["Upload-Offset"])
        self._note(name, floor=offset, is_complete=offset == FILES[name].size)

    def _delete(self, name: str) -> None:
        self._note(name, is_doomed=True)
        answer = self._client.delete(self._known[name].url, headers=TUS)
        assert answer.status_code == 204, answer
        self._note(name, is_gone=True)

    def _send_chunk(self, name: str, number: int) -> None:
        answer = send_chunk(self._client, name, number)
        assert answer.status_code == 200, (name, number, answer, answer.text)
        told = answer.get_json()
        chunks = (*self._known[name].chunks, number)
        self._note(name, url=f"/flow/{told['id']}", chunks=chunks, is_complete=told["complete"])

    def _killed(self, name: str, size: int) -> None:
        """Send content in a process that is killed before its request has ended."""
        offset = self._known[name].floor
        self._note(name, tried=offset + size)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                stalled = Stalled(CONTENT[name][offset : offset + size], lambda: os.write(writer, b"."))
                patch_slowly(self._app, self._known[name].url, offset, FILES[name].size, stalled)
            finally:
                os._exit(1)
        os.close(writer)
        assert os.read(reader, 1) == b".", "the request did not begin"
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def _hung(self, name: str, size: int) -> None:
        """Send content in a thread that waits for more, and ask for the offset meanwhile."""
        self._note(name, tried=size)
        has_come = threading.Event()
        stalled = Stalled(CONTENT[name][:size], has_come.set)
        arguments = (self._app, self._known[name].url, 0, FILES[name].size, stalled)
        thread = threading.Thread(target=patch_slowly, args=arguments)
        thread.start()
        assert has_come.wait(_PATIENCE)
        self._ask(name)
        threading.Timer(0.2, stalled.go_on.set).start()
        self._send(name, FILES[name].size)
        thread.join(_PATIENCE)

    def _write_back(self, pattern: str) -> None:
        """Let the kernel write some files to the disk, which it may do at any time. It flushes nothing then."""
        for file in self._home.rglob(pattern):
            descriptor = os.open(file, os.O_RDONLY)
            write_back(descriptor)
            os.close(descriptor)

    def _note(self, name: str, **facts: Any) -> None:
        for fact, value in facts.items():
            setattr(self._known[name], fact, value)
        self._notes.note(name, **facts)


def write_back(descriptor: int) -> None:
    """Write a file's pages to the disk and wait for that, without a flush and without the file's metadata."""
    call = ctypes.CDLL(None).sync_file_range
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    call(descriptor, 0, 0, _WAIT_WRITE_WAIT)


def use_for_a_while(database: Path) -> None:
    """Let a write-ahead log be as long as it gets, so that it is overwritten from now on.

    A longer file makes file systems write more than they have to when it is synced, which hides what is not synced.
    """
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE past (content BLOB)")
        for _ in range(1100):
            connection.execute("INSERT INTO past VALUES (zeroblob(3000))")
            connection.commit()
        connection.execute("DROP TABLE past")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(RESTART)")


class Stalled(io.RawIOBase):
    """The body of a request that stops in the middle."""

    def __init__(self, content: bytes, on_stall: Callable[[], object]) -> None:
        self._content = io.BytesIO(content)
        self._on_stall = on_stall
        self.go_on = threading.Event()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Read what is left; then wait."""
        block = self._content.read(size)
        if not block:
            self._on_stall()
            self.go_on.wait(_PATIENCE)
        return block


def patch_slowly(app: Flask, url: str, offset: int, length: int, body: Stalled) -> None:
    """Send a PATCH whose body does not end."""
    headers = Headers({**TUS, "Upload-Offset": str(offset), "Content-Type": OCTETS})
    environ = EnvironBuilder(url, method="PATCH", headers=headers).get_environ()
    run_wsgi_app(app, {**environ, "CONTENT_LENGTH": str(length - offset), "wsgi.input": body})


def parameters(name: str, number: int) -> dict[str, str]:
    """Return what flow.js says about a chunk."""
    file = FILES[name]
    return {
        "flowIdentifier": f"{file.size}-{name}",
        "flowFilename": name,
        "flowRelativePath": name,
        "flowTotalSize": str(file.size),
        "flowTotalChunks": str(file.size // file.chunk),
        "flowChunkSize": str(file.chunk),
        "flowChunkNumber": str(number),
        "flowCurrentChunkSize": str(len(chunk_of(name, number))),
    }


def chunk_of(name: str, number: int) -> bytes:
    """Return the bytes of a chunk of flow.js; the last one has all that is left."""
    file = FILES[name]
    start, is_last = (number - 1) * file.chunk, number == file.size // file.chunk
    return CONTENT[name][start : None if is_last else start + file.chunk]


def send_chunk(client: FlaskClient, name: str, number: int) -> TestResponse:
    """Send a chunk as flow.js does."""
    file = (io.BytesIO(chunk_of(name, number)), name)
    return client.post("/flow/", data={**parameters(name, number), "file": file})


def _metadata(name: str) -> str:
    return f"filename {_base64(name.encode())}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

"""Slow clients of tus, flow.js and the IETF draft that send one file after another, whatever happens to the servers."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from itertools import count
from threading import Event
from typing import TypeVar
from urllib.parse import urlencode

from tests.live.dialects import Client
from tests.live.dialects import TusClient
from tests.live.ietf import Ietf
from tests.live.journal import PATIENCE
from tests.live.raw import Answer
from tests.live.raw import Connection
from tests.live.raw import Tus

T = TypeVar("T")
SIZE = 200_000  # bytes of a file
PIECE = 4_000  # bytes that a client sends at a time
PAUSE = 0.1  # seconds between two pieces
CHUNK = 5 * PIECE  # bytes of a flow.js chunk, which a client sends in less than a second


@dataclass
class Sender:
    """One client: it goes to the other node if one does not answer or sends it away."""

    kind: str
    ports: Iterator[int]
    is_over: Event
    files: dict[str, str] = field(default_factory=dict)  # the SHA-256 of each finished upload
    interruptions: int = 0
    repeated: int = 0  # bytes that were sent more than once
    partial: int = 0  # bytes of those that belong to chunks which were not received completely

    def run(self, number: int) -> Sender:
        """Send files until it is over, and then the rest of the last one."""
        for turn in count():
            content = random.Random(f"{self.kind} {number} {turn}").randbytes(SIZE)
            path = self._send_chunks(content, f"{number}-{turn}") if self.kind == "flow" else self._send(content)
            self.files[path] = hashlib.sha256(content).hexdigest()
            if self.is_over.is_set():
                return self
        raise AssertionError

    def _client(self, port: int) -> Client:
        return TusClient(port) if self.kind == "tus" else Ietf(port, 6)

    def _patiently(self, act: Callable[[int], T]) -> T:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return act(next(self.ports))
            except (ConnectionError, AssertionError):  # the node is down, or did not answer as it should
                assert time.monotonic() < deadline
                time.sleep(PAUSE)

    def _send(self, content: bytes) -> str:
        path = self._patiently(lambda port: self._client(port).create(SIZE))
        sent = told = 0
        while True:
            offset = self._patiently(lambda port: self._client(port).offset(path))
            assert told <= offset, "The server has lost what it had."
            self.repeated += sent - offset  # what came after the server had saved, or to a node that was already down
            if offset == SIZE:
                return path
            sent, answer = self._patiently(partial(self._append, path, offset, content))
            if answer is not None and answer.status < 300:
                return path
            assert answer is None or answer.status in (409, 423, 503), answer
            if answer is not None and "upload-offset" in answer.headers and answer.status == 503:  # not a proxy's
                told = answer.offset
                assert offset <= told <= sent
            self.interruptions += 1

    def _append(self, path: str, offset: int, content: bytes, port: int) -> tuple[int, Answer | None]:
        client = self._client(port)
        with client.connect() as connection:
            client.start_append(connection, path, offset, SIZE - offset)
            return self._send_slowly(connection, content, offset), connection.answer_or_end("PATCH")

    def _send_chunks(self, content: bytes, name: str) -> str:
        path = ""
        for start in range(0, SIZE, CHUNK):
            chunk = content[start : start + CHUNK]
            parameters = {
                "flowChunkNumber": start // CHUNK + 1,
                "flowChunkSize": CHUNK,
                "flowTotalSize": SIZE,
                "flowIdentifier": name,
                "flowFilename": name,
                "flowTotalChunks": SIZE // CHUNK,
            }
            url = f"/flow/?{urlencode(parameters)}"
            while True:
                sent, answer = self._patiently(partial(self._post, url, chunk))
                if answer is not None and answer.status == 200:
                    break
                assert answer is None or answer.status == 503, answer
                self.interruptions += 1
                self.partial += sent
            path = "/files/" + answer.body[8:40].decode()
        return path

    def _post(self, url: str, chunk: bytes, port: int) -> tuple[int, Answer | None]:
        with Tus(port).connect() as connection:
            connection.start("POST", url, {"Content-Length": len(chunk), "Content-Type": "x/y"})
            return self._send_slowly(connection, chunk, 0), connection.answer_or_end("POST")

    def _send_slowly(self, connection: Connection, content: bytes, sent: int) -> int:
        while sent < len(content) and connection.is_silent():
            try:
                connection.send(content[sent : sent + PIECE])
            except ConnectionError:
                break
            sent += len(content[sent : sent + PIECE])
            connection.pause(PAUSE)
        return sent

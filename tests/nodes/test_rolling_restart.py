"""Two nodes are stopped and started in turn, as a deployment does, while slow clients send files to both."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from itertools import count
from itertools import cycle
from pathlib import Path
from threading import Event
from typing import TypeVar
from urllib.parse import urlencode

import pytest

from tests.databases.conftest import KINDS
from tests.databases.conftest import started
from tests.databases.live_app import LiveApp
from tests.live.dialects import Client
from tests.live.dialects import TusClient
from tests.live.ietf import Ietf
from tests.live.journal import PATIENCE
from tests.live.raw import Answer
from tests.live.raw import Connection
from tests.live.raw import Tus

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("nodes")]

T = TypeVar("T")
SIZE = 200_000  # bytes of a file
PIECE = 4_000  # bytes that a client sends at a time
PAUSE = 0.1  # seconds between two pieces
CHUNK = 5 * PIECE  # bytes of a flow.js chunk, which a client sends in less than a second
CLIENTS = {"tus": 8, "draft": 6, "flow": 6}
RESTARTS = 4
NODES = {"gthread": ("postgresql", ("-w", "2", "--threads", "24")), "gevent": ("mongo", ("-w", "2"))}
LONG = ("--graceful-timeout", "30", "--timeout", "90")


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
            if answer is not None and answer.status == 503:
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


@pytest.mark.parametrize("kind", NODES)
def test_a_rolling_restart_costs_nothing(kind: str, tmp_path: Path, record_property: Callable[..., None]) -> None:
    """Every file arrives whole and is completed once, and no node loses what another one has acknowledged."""
    database, options = NODES[kind]
    databases = started(KINDS[database])
    nodes = [LiveApp(next(databases), tmp_path / "shared", *options, *LONG, kind=kind, LEASE=5)]
    nodes.append(LiveApp(nodes[0].database, tmp_path / "shared", *options, *LONG, kind=kind, LEASE=5))
    try:
        for node in nodes:
            node.start()
        is_over = Event()
        senders = [
            Sender(dialect, cycle([node.port for node in nodes[:: 1 if number % 2 else -1]]), is_over)
            for dialect, amount in CLIENTS.items()
            for number in range(amount)
        ]
        with ThreadPoolExecutor(len(senders)) as pool:
            done = [pool.submit(sender.run, number) for number, sender in enumerate(senders)]
            stops = []
            try:
                for _, node in zip(range(RESTARTS), cycle(nodes), strict=False):
                    time.sleep(2)
                    begun = time.monotonic()
                    node.terminate()
                    assert node.wait() == 0
                    stops.append(time.monotonic() - begun)
                    node.start()
            finally:
                is_over.set()
            for future in done:
                future.result()
        for sender in senders:
            for path, digest in sender.files.items():
                assert hashlib.sha256(nodes[0].finished(path).read_bytes()).hexdigest() == digest
                assert nodes[0].receipts(path) == [digest]
        figures = {
            "files": sum(len(sender.files) for sender in senders),
            "interruptions": sum(sender.interruptions for sender in senders),
            "repeated": sum(sender.repeated for sender in senders),
            "partial chunks": sum(sender.partial for sender in senders),
            "seconds to stop": [round(seconds, 2) for seconds in stops],
        }
        record_property(f"restart of {kind}", figures)
        print(figures)
        assert figures["interruptions"]
    finally:
        for node in nodes:
            node.stop()
        next(databases, None)

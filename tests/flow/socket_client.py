"""A flow.js client on real sockets, for servers of several processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask_resumable.protocols.flow.messages import DIALECTS
from tests.live.raw import Answer
from tests.live.raw import Connection

from .client import FORM
from .client import form
from .client import Part
from .client import Sample


def query(sample: Sample, number: int) -> dict[str, str]:
    """The parameters of a chunk."""
    return {DIALECTS[0].spell(key): value for key, value in sample.parameters(number).items()}


def address(sample: Sample, number: int, path: str = "") -> str:
    """The URL of a chunk."""
    return f"/flow/{path}?{urlencode(query(sample, number))}"


def octet(connection: Connection, sample: Sample, number: int, body: bytes | None = None) -> Answer:
    """Send a chunk as it is."""
    content = sample.piece(number) if body is None else body
    fields: dict[str, str | int] = {"Content-Type": "application/octet-stream", "Content-Length": len(content)}
    return connection.request("POST", address(sample, number), fields, content)


def post(connection: Connection, sample: Sample, number: int) -> Answer:
    """Send a chunk as a form."""
    fields = [Part(key, value.encode()) for key, value in query(sample, number).items()]
    body = form([*fields, Part("file", sample.piece(number), "blob")])
    return connection.request("POST", "/flow/", {"Content-Type": FORM, "Content-Length": len(body)}, body)


def json_of(answer: Answer) -> dict[str, Any]:
    """The JSON of a 200."""
    assert answer.status == 200, answer
    found: dict[str, Any] = json.loads(answer.body)
    return found


@dataclass
class Racers:
    """Some connections that are kept, and a thread for each: now all to the first server, now some to each."""

    ports: Sequence[int]
    count: int

    def __post_init__(self) -> None:
        self._is_spread = False
        self._connections = [self._connection(at) for at in range(self.count)]
        self._pool = ThreadPoolExecutor(self.count)

    def close(self) -> None:
        """Done."""
        self._pool.shutdown()
        for connection in self._connections:
            connection.close()

    def run(self, *acts: Any) -> list[Answer]:
        """Several requests at once, each called with a connection of its own."""
        return list(self._pool.map(self._act, range(len(acts)), acts))

    def reconnect(self) -> None:
        """Other connections: all to one server if they were not before."""
        for connection in self._connections:
            connection.close()
        self._is_spread = not self._is_spread
        self._connections = [self._connection(at) for at in range(self.count)]

    def _connection(self, at: int) -> Connection:
        return Connection(self.ports[at % len(self.ports) if self._is_spread else 0])

    def _act(self, at: int, act: Any) -> Answer:
        if self._connections[at].is_closing:
            self._connections[at].close()
            self._connections[at] = self._connection(at)
        answer: Answer = act(self._connections[at])
        return answer

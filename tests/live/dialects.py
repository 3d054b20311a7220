"""Clients of tus and of the IETF draft behind one interface, for what must be the same in both, and between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest

from .ietf import Ietf
from .raw import Answer
from .raw import Connection
from .raw import Tus


class Client(Protocol):
    """Whole exchanges, each on a connection of its own."""

    def connect(self) -> Connection:
        """A new connection, which says with every request what it speaks."""
        ...

    def create(self, length: int) -> str:
        """The path of a new upload without content."""
        ...

    def head(self, path: str) -> Answer:
        """What the server says about an upload."""
        ...

    def offset(self, path: str) -> int:
        """How much of an upload the server has."""
        ...

    def start_append(self, connection: Connection, path: str, offset: int, size: int) -> None:
        """Send the head of a request with the rest of a file."""
        ...

    def append(self, path: str, offset: int, body: bytes, *, is_last: bool = True) -> Answer:
        """Send a part of a file."""
        ...

    def resume(self, path: str, content: bytes) -> None:
        """Ask for the offset and send the rest, which must complete the upload."""
        ...


class TusClient(Tus):
    """tus, where the length says what is the last."""

    def start_append(self, connection: Connection, path: str, offset: int, size: int) -> None:
        """Send the head of a PATCH."""
        connection.start_patch(path, offset, {"Content-Length": size})

    def append(self, path: str, offset: int, body: bytes, *, is_last: bool = True) -> Answer:
        """Send a PATCH."""
        return self.patch(path, offset, body)


def _draft(port: int) -> Ietf:
    return Ietf(port, 6)


Speaks = Callable[[int], Client]  # a client of the server at a port
Dialects = tuple[Speaks, Speaks]  # what an upload is begun in, and what goes on with it

DRAFT = pytest.param((_draft, _draft), id="draft")
MIXED = pytest.param((TusClient, _draft), id="mixed")
in_dialects = pytest.mark.parametrize("dialects", [pytest.param((TusClient, TusClient), id="tus"), DRAFT, MIXED])


def clients(dialects: Dialects, *ports: int) -> tuple[Client, Client]:
    """One client of each, of two servers or of the same."""
    first, second = dialects
    return first(ports[0]), second(ports[-1])


def delete(client: Client, path: str) -> int:
    """Remove an upload; the status of the answer."""
    with client.connect() as connection:
        return connection.request("DELETE", path).status

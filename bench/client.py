"""The client: many connections from one process, bodies sent by the kernel, so that the server is what is measured.

A *script* is a generator that yields requests and is sent their answers; each has a connection of its own.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Generator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from bench.content import Content
from bench.content import PERIOD
from bench.units import KIB

_AT_ONCE = 64 * KIB  # bodies up to this go out with their head


@dataclass(frozen=True)
class Piece:
    """A stretch of the content."""

    position: int
    size: int


@dataclass(frozen=True)
class Request:
    """What a script asks for. The body may have literal bytes around pieces of the content."""

    method: str
    path: str
    fields: dict[str, str | int] = field(default_factory=dict)
    body: Sequence[bytes | Piece] = ()

    def head(self) -> bytes:
        """As it is sent."""
        size = sum(len(part) if isinstance(part, bytes) else part.size for part in self.body)
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: bench.test"]
        lines += [f"{name}: {value}" for name, value in self.fields.items()]
        if self.method != "HEAD" and "Transfer-Encoding" not in self.fields:
            lines.append(f"Content-Length: {size}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    fields: dict[str, str]
    body: bytes


Script = Generator[Request, Answer, None]


class Trouble(Exception):
    """An answer that should not be."""


class Connection:
    """One script and its connection."""

    def __init__(self, port: int, script: Script, first: Request, content: Content) -> None:
        self._port, self._script, self._content = port, script, content
        self._out: deque[bytes | Piece] = deque()
        self._answer = b""
        self._request = first
        self.socket = self._connect()
        self._queue()

    def _connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        return made

    def _queue(self) -> None:
        body = self._request.body
        data = self._request.head()
        for part in body:
            if isinstance(part, Piece) and part.size <= _AT_ONCE:
                part = self._content.at(part.position, part.size)
            if isinstance(part, Piece):
                self._out += [data, part] if data else [part]
                data = b""
            else:
                data += part
        if data:
            self._out.append(data)

    def write(self) -> bool:
        """Send what can be sent now; whether that was all."""
        while self._out:
            part = self._out.popleft()
            try:
                if isinstance(part, bytes):
                    sent = self.socket.send(part, socket.MSG_MORE if self._out else 0)
                    rest: bytes | Piece | None = part[sent:] or None
                else:
                    start = part.position % PERIOD
                    sent = os.sendfile(
                        self.socket.fileno(), self._content.file.fileno(), start, min(part.size, PERIOD - start)
                    )
                    rest = Piece(part.position + sent, part.size - sent) if sent < part.size else None
            except BlockingIOError:
                self._out.appendleft(part)
                return False
            if rest is not None:
                self._out.appendleft(rest)
        return True

    def read(self) -> bool:
        """Take what has come; whether the next request is to be sent. Raises ``StopIteration`` after the last."""
        data = self.socket.recv(256 * KIB)
        self._answer += data
        answer = parsed(self._request.method, self._answer, is_over=not data)
        if answer is None:
            return False
        if answer.status >= 400:
            raise Trouble(f"{self._request.method} {self._request.path}: {answer.status} {answer.body[:300]!r}")
        self._answer = b""
        self._out.clear()
        if answer.fields.get("connection", "").lower() == "close":
            self.socket.close()
        self._request = self._script.send(answer)
        self._queue()
        return True

    def reconnect(self) -> None:
        """After the server has closed the connection."""
        self.socket = self._connect()


def parsed(method: str, data: bytes, *, is_over: bool) -> Answer | None:
    """Return the answer, if all of it is there."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        if is_over:
            raise Trouble(f"{method}: the connection was closed without an answer, {data[:200]!r}")
        return None
    status, *lines = head.decode("latin-1").split("\r\n")
    code = int(status.split()[1])
    if code == 100:
        return parsed(method, body, is_over=is_over)
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if method == "HEAD" or code == 204:
        return Answer(code, fields, b"")
    if fields.get("transfer-encoding", "").lower() == "chunked":
        is_whole = body.endswith(b"0\r\n\r\n")
    elif "content-length" in fields:
        is_whole = len(body) >= int(fields["content-length"])
    else:
        is_whole = is_over
    if is_over and not is_whole:
        raise Trouble(f"{method}: the answer was cut off")
    return Answer(code, fields, body) if is_whole else None


def drive(port: int, scripts: Sequence[Script], content: Content) -> float:
    """Run the scripts side by side, each on its connection, to their ends. Returns seconds."""
    with selectors.DefaultSelector() as selector:
        begun = [(script, next(script, None)) for script in scripts]
        connections = [Connection(port, script, first, content) for script, first in begun if first is not None]
        started = time.perf_counter()
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            _push(selector, connection)
        while selector.get_map():
            ready = selector.select(60)
            if not ready:
                raise Trouble("the server has been silent for a minute")
            for key, events in ready:
                _step(selector, key.data, events)
        return time.perf_counter() - started


def _step(selector: selectors.BaseSelector, connection: Connection, events: int) -> None:
    if events & selectors.EVENT_WRITE:
        _push(selector, connection)
    if not events & selectors.EVENT_READ:
        return
    old = connection.socket
    try:
        if not connection.read():
            return
    except StopIteration:
        selector.unregister(old)
        old.close()
        return
    if old.fileno() < 0:
        selector.unregister(old)
        connection.reconnect()
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    _push(selector, connection)


def _push(selector: selectors.BaseSelector, connection: Connection) -> None:
    wanted = selectors.EVENT_READ if connection.write() else selectors.EVENT_READ | selectors.EVENT_WRITE
    if selector.get_key(connection.socket).events != wanted:
        selector.modify(connection.socket, wanted, connection)

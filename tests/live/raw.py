"""A tus client on bare sockets: every byte, pause and way of leaving is the test's decision."""

from __future__ import annotations

import fcntl
import select
import socket
import ssl
import struct
import termios
import time
from collections.abc import Iterable
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from .journal import PATIENCE

OCTETS = "application/offset+octet-stream"
Headers = Mapping[str, str | int]
VERSION: Headers = {"Tus-Resumable": "1.0.0"}  # sent with every request


@dataclass(frozen=True)
class Answer:
    """One response. ``interim`` are the statuses that came before it; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    interim: tuple[int, ...] = ()

    @property
    def offset(self) -> int:
        """What the server says it has."""
        return int(self.headers["upload-offset"])

    @property
    def worker(self) -> int:
        """The process that answered."""
        return int(self.headers["x-worker-pid"])


class Connection:
    """One TCP connection, with TLS on it if there is a context; leaving a ``with`` block closes it."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, fields: Headers = VERSION) -> None:
        self._fields = fields
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.is_closing = False  # the server has said that it will take no more requests here
        self._unread = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    # --- sending ---

    def send(self, data: bytes) -> None:
        """Send, blocking until the kernel has taken all of it."""
        self.socket.sendall(data)

    def start(self, method: str, path: str, headers: Headers | None = None, *, body: bytes = b"") -> None:
        """Send a request's head, and the first bytes of its body along with it."""
        fields = {"Host": "live.test", **self._fields, **(headers or {})}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def start_patch(self, path: str, offset: int, headers: Headers, *, body: bytes = b"") -> None:
        """Send the head of a PATCH; how its body is framed is up to ``headers``."""
        self.start("PATCH", path, {"Content-Type": OCTETS, "Upload-Offset": offset, **headers}, body=body)

    def until_delivered(self) -> None:
        """Wait until the server's kernel has acknowledged every byte sent: a reset cannot take them back then."""
        deadline = time.monotonic() + PATIENCE
        while struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4))[0]:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def pause(self, seconds: float) -> None:
        """Be slow, but no longer than the server stays silent."""
        self._is_readable(seconds)

    # --- leaving ---

    def finish(self) -> None:
        """Send FIN, and stay to hear the answer."""
        with suppress(OSError):  # the server has closed already
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Send FIN and be gone."""
        self.socket.close()

    def reset(self) -> None:
        """Send RST and be gone."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # --- hearing ---

    def is_silent(self) -> bool:
        """Whether the server has neither answered nor closed so far."""
        return not self._unread and not self._is_readable(0)

    def _is_readable(self, seconds: float) -> bool:
        readable = select.poll()  # unlike select(), it takes descriptors above 1023
        readable.register(self.socket, select.POLLIN)
        return bool(readable.poll(seconds * 1000))

    def answer(self, method: str) -> Answer:
        """The next final response on this connection, and the interim ones before it."""
        interim: list[int] = []
        while True:
            head = self._read_head().decode("latin-1").split("\r\n")
            status = int(head[0].split()[1])
            if status >= 200:
                break
            interim.append(status)
        headers = _headers(head)
        body = b"" if method == "HEAD" or status == 204 else self._read_body(headers)
        self.is_closing = headers.get("connection") == "close"
        return Answer(status, headers, body, tuple(interim))

    def interim(self) -> int:
        """The status of one interim response."""
        return self.interim_answer().status

    def interim_answer(self) -> Answer:
        """One interim response."""
        head = self._read_head().decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        assert 100 <= status < 200, head
        return Answer(status, _headers(head), b"")

    def answer_or_end(self, method: str) -> Answer | None:
        """The next response, or ``None`` if the server has closed the connection instead, or said that it will."""
        if self.is_closing:
            self.finish()
        try:
            return self.answer(method)
        except ConnectionError:
            return None

    def request(self, method: str, path: str, headers: Headers | None = None, body: bytes = b"") -> Answer:
        """A whole exchange."""
        framing = {"Content-Length": len(body)} if body else {}
        self.start(method, path, {**framing, **(headers or {})}, body=body)
        return self.answer(method)

    def _read_head(self) -> bytes:
        while b"\r\n\r\n" not in self._unread:
            self._receive()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        return head

    def _read_body(self, headers: Mapping[str, str]) -> bytes:
        size = int(headers["content-length"])  # every answer of this app has a known length
        while len(self._unread) < size:
            self._receive()
        body, self._unread = self._unread[:size], self._unread[size:]
        return body

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError("The server has closed the connection.")
        self._unread += data


def _headers(head: list[str]) -> dict[str, str]:
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}


class Tus:
    """Whole tus exchanges, each on a connection of its own."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._tls = tls

    def connect(self) -> Connection:
        """A new connection."""
        return Connection(self.port, self._tls)

    def request(self, method: str, path: str, headers: Headers | None = None, body: bytes = b"") -> Answer:
        """Send a request and close the connection after its answer."""
        with self.connect() as connection:
            return connection.request(method, path, headers, body)

    def create(self, length: int, headers: Headers | None = None, body: bytes = b"") -> str:
        """The path of a new upload, with its first bytes in it."""
        type_of_body = {"Content-Type": OCTETS} if body else {}
        answer = self.request("POST", "/files/", {"Upload-Length": length, **type_of_body, **(headers or {})}, body)
        assert answer.status == 201, answer
        return "/files/" + answer.headers["location"]

    def head(self, path: str) -> Answer:
        """What the server says about an upload."""
        return self.request("HEAD", path)

    def offset(self, path: str) -> int:
        """How much of an upload the server has."""
        answer = self.head(path)
        assert answer.status == 200, answer
        return answer.offset

    def patch(self, path: str, offset: int, body: bytes, headers: Headers | None = None) -> Answer:
        """Send content with a Content-Length."""
        with self.connect() as connection:
            connection.start_patch(path, offset, {"Content-Length": len(body), **(headers or {})}, body=body)
            return connection.answer("PATCH")

    def resume(self, path: str, content: bytes) -> None:
        """Ask for the offset and send the rest, as a client does after a fault."""
        offset = self.offset(path)
        if offset < len(content):
            answer = self.patch(path, offset, content[offset:])
            assert answer.status == 204, answer
            assert answer.offset == len(content)

    def until_complete(self, path: str) -> None:
        """Ask until the upload is not being finished any more."""
        deadline = time.monotonic() + PATIENCE
        while self.head(path).status == 423:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def chunked(pieces: Iterable[bytes], trailers: Headers | None = None, *, ends: bool = True) -> bytes:
    """A body in chunks, one per piece; without ``ends``, cut after the last piece."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    if not ends:
        return chunks
    fields = "".join(f"{name}: {value}\r\n" for name, value in (trailers or {}).items())
    return chunks + b"0\r\n" + fields.encode() + b"\r\n"

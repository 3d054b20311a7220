"""A tus client on bare sockets, which can be cut in the middle of a PATCH."""

from __future__ import annotations

import fcntl
import select
import socket
import ssl
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urljoin
from urllib.parse import urlsplit

from bench.flaky.servers import Site

Cut = Literal["FIN", "RST", "half-open"]
CUTS: tuple[Cut, ...] = ("FIN", "RST", "half-open")
PATIENCE = 15.0  # seconds that a client waits for an answer
_NOT_SENT = 0x894B  # SIOCOUTQNSD: bytes that the kernel has taken and not sent yet
_BUSY = 423
_RECORD, _FRAMING = 16 * 1024, 22  # bytes of a record of TLS, and around it
_TICKETS = 1.0  # seconds to wait for the session tickets of TLS 1.3, which the server sends after the handshake
_NEXT_TICKET = 0.03  # seconds after the first one in which the second one comes, each with a segment of its own
_AGAIN = 0.02  # seconds until a client asks again that was told to


class Trouble(Exception):
    """What no client could deal with."""


@dataclass(frozen=True)
class Answer:
    """The head of a response; names of header fields are in lower case."""

    status: int
    headers: Mapping[str, str]


class Connection:
    """One connection, which may end in any way."""

    def __init__(self, site: Site) -> None:
        self._site = site
        plain = socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = site.tls.wrap_socket(plain, server_hostname="127.0.0.1") if site.tls else plain
        self._heard = b""
        if site.tls:
            self.is_answered(_TICKETS, is_enough=True)

    def start(self, method: str, path: str, headers: Mapping[str, object]) -> None:
        """Send the head of a request."""
        fields = {"Host": "flaky.test", "Tus-Resumable": "1.0.0", **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self._socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")

    def start_patch(self, path: str, offset: int, size: int) -> None:
        """Send the head of a PATCH."""
        if self._site.tls:
            self.is_answered(_NEXT_TICKET)
        content = {"Content-Type": "application/offset+octet-stream", "Content-Length": size}
        self.start("PATCH", path, {"Upload-Offset": offset, **content})

    def send(self, data: bytes) -> int:
        """Hand bytes to the kernel, until all are there or the server has ended the connection; how many it took."""
        view, sent = memoryview(data), 0
        with suppress(OSError):
            while sent < len(view):
                sent += self._socket.send(view[sent : sent + 64 * 1024])
        return sent

    def is_answered(self, seconds: float, *, is_enough: bool = False) -> bool:
        """Wait, but no longer than the server stays silent; whether it has said something, or closed.

        :param is_enough: End with the first message of TLS, too.
        """
        readable = select.poll()  # unlike select(), it takes descriptors above 1023
        readable.register(self._socket, select.POLLIN)
        deadline = time.monotonic() + seconds
        while readable.poll(max(0, deadline - time.monotonic()) * 1000):
            if self._hear():
                return True
            if is_enough:
                return False
        return False

    def _hear(self) -> bool:
        """Take what is there; whether it was an answer, or the end: TLS has messages of its own."""
        self._socket.settimeout(0)
        try:
            data = self._socket.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            self._socket.settimeout(PATIENCE)
        self._heard += data
        return True

    def answer(self) -> Answer:
        """The head of the response.

        :raises Trouble: There is none.
        """
        try:
            while b"\r\n\r\n" not in self._heard:
                data = self._socket.recv(65536)
                if not data:
                    raise Trouble("the connection was closed without an answer")
                self._heard += data
        except OSError as error:
            raise Trouble(f"no answer: {error}") from error
        lines = self._heard.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines[1:])
        return Answer(int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in fields})

    def reached(self, sent: int) -> int:
        """How many of the bytes sent a server can still read if the connection is reset now; under TLS, whole records.

        A reset destroys what this machine's kernel has taken and not sent yet.
        """
        not_sent = int(struct.unpack("i", fcntl.ioctl(self._socket, _NOT_SENT, b"\0" * 4))[0])
        if not isinstance(self._socket, ssl.SSLSocket):
            return sent - not_sent
        record = sent % _RECORD or _RECORD  # the last one
        while not_sent > 0 and sent:
            sent -= record
            not_sent -= record + _FRAMING
            record = _RECORD
        return sent

    def reset(self) -> None:
        """Send RST and be gone."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Send FIN and be gone."""
        self.is_answered(0)  # Linux sends RST instead if there is anything that was not read
        self._socket.close()


@dataclass(frozen=True)
class Told:
    """What a client was told about its upload."""

    offset: int
    seconds: float  # from the first question on
    busy: int  # how often it was told to ask again


class Client:
    """Whole exchanges, each on a connection of its own."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def request(self, method: str, path: str, headers: Mapping[str, object]) -> Answer:
        """The head of an answer.

        :raises Trouble: There is none.
        """
        connection = Connection(self.site)
        try:
            connection.start(method, path, {"Connection": "close", **headers})
            return connection.answer()
        finally:
            connection.close()

    def create(self, length: int) -> str:
        """The path of a new upload."""
        answer = self.request("POST", self.site.url, {"Upload-Length": length, "Content-Length": 0})
        if answer.status != 201:
            raise Trouble(f"POST was answered with {answer.status}")
        return urlsplit(urljoin(f"http://flaky.test{self.site.url}", answer.headers["location"])).path

    def ask(self, path: str) -> Told:
        """Where the upload goes on; asks again for as long as the server is busy with it."""
        began, busy = time.monotonic(), 0
        while True:
            answer = self.request("HEAD", path, {})
            seconds = time.monotonic() - began
            if answer.status in (200, 204):
                return Told(int(answer.headers["upload-offset"]), seconds, busy)
            if answer.status != _BUSY or seconds > PATIENCE:
                raise Trouble(f"HEAD was answered with {answer.status}, after {seconds:.1f} s")
            busy += 1
            time.sleep(_AGAIN)


def name_of(path: str) -> str:
    """The upload's name at the server."""
    return path.rpartition("/")[2]

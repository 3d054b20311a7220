"""Where the bytes of a request come from: one class for each way in which WSGI servers hand them out.

What a server does with a body that is cut, and how a read can be made not to wait for ever, is decided by the *source*.
Those for gunicorn are in ``gunicorn_body.py``; ``body.py`` chooses.
"""

from __future__ import annotations

import io
import select
import socket
from typing import Any
from typing import Protocol

from ..interfaces import Piped

BLOCK_SIZE = 256 * 1024  # bytes read from a socket at a time
READ_SIZE = 64 * 1024  # bytes asked of wsgi.input: a read that waits for all of them withholds as much of a slow client
TICK = 1.0  # seconds after which a silent client is reported

# What reading raises when the client has left: OSError and its like, ValueError (cheroot), and some servers' own.
NetworkError = Exception


class Source(Protocol):
    """How bytes are got."""

    def read(self, size: int) -> bytes | memoryview | None:
        """Up to ``size`` bytes as soon as there are some; ``b""`` at the end, ``None`` if none came for a ``TICK``."""
        ...

    def read_unseen(self, size: int) -> bytes | memoryview | Piped | None:
        """The same for bytes that nobody will look at."""
        ...

    def abandon(self) -> None:
        """Nobody will read the rest: let the server not wait for it."""
        ...

    def close(self) -> None:
        """Leave everything as the server expects it."""
        ...


class BufferedSocket:
    """The development server: a buffer over a socket. Read without blocking, wait on the socket."""

    def __init__(self, stream: io.BufferedReader, sock: socket.socket) -> None:
        self._stream = stream
        self._socket = sock
        self._timeout = sock.gettimeout()
        self._readable = select.poll()  # unlike select(), it takes descriptors above 1023
        self._readable.register(sock, select.POLLIN)
        sock.setblocking(False)

    def read(self, size: int) -> bytes | None:
        size = min(size, BLOCK_SIZE)
        block = self._stream.read1(size)
        if block:
            return block
        if not self._readable.poll(TICK * 1000):
            return None
        return self._stream.read1(size)  # readable and empty: the end

    read_unseen = read

    def abandon(self) -> None:
        shut(self._socket)

    def close(self) -> None:
        self._socket.settimeout(self._timeout)


class Stream:
    """Any other server: plain reads, which wait for all they ask for; where the socket is known, not for ever."""

    def __init__(self, stream: Any, sock: Any, idle_timeout: float) -> None:
        self._stream = stream
        self._socket = sock
        self._timeout = None if sock is None else sock.gettimeout()
        if sock is not None:
            sock.settimeout(idle_timeout)
        self._read = getattr(stream, "read1", stream.read)
        self._error: Exception | None = None

    def read(self, size: int) -> bytes | None:
        if self._error is not None:
            return self._salvage()
        try:
            block: bytes = self._read(min(size, READ_SIZE))
        except NetworkError as error:
            self._error = error
            return self._salvage()
        return block

    read_unseen = read

    def _salvage(self) -> bytes:
        """gunicorn still has what a failed read had received; ask once more before giving up."""
        self.abandon()
        block: bytes = self._stream.read(READ_SIZE)
        if not block:
            assert self._error is not None
            raise self._error
        return block

    def abandon(self) -> None:
        shut(self._socket)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.settimeout(self._timeout)


def shut(sock: Any) -> None:
    """Tell the kernel that nothing more is read; an answer can still be sent."""
    if isinstance(sock, socket.socket) or hasattr(sock, "shutdown"):
        try:
            sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # it is gone already

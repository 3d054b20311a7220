"""Where the bytes of a request come from: one class for each way in which WSGI servers hand them out.

What a server does with a body that is cut, and how a read can be made not to wait for ever, is decided by the *source*,
chosen for each request by looking, never by the server's name alone. Whatever is unknown gets plain reads.
"""

from __future__ import annotations

import io
import os
import select
import socket
from typing import Any
from typing import Protocol

from ..interfaces import Piped
from .pipes import hand_back_pipe
from .pipes import LEAST
from .pipes import Pipe
from .pipes import REFUSALS
from .pipes import take_pipe

BLOCK_SIZE = 256 * 1024  # bytes read from a socket at a time
READ_SIZE = 64 * 1024  # bytes asked of wsgi.input: a read that waits for all of them withholds as much of a slow client
MAX_SPARE_BUFFERS = 64
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


def source_of(environ: dict[str, Any], size: int | None, idle_timeout: float) -> Source:
    """The best way to the content of a request of ``size`` bytes, ``None`` if that is unknown."""
    stream = environ["wsgi.input"]
    if size is not None and _is_plain_gunicorn(environ, stream):
        return _GunicornSocket(stream.reader, environ["gunicorn.socket"])
    if size is not None and isinstance(stream, io.BufferedReader) and _is_plain_socket(environ, "werkzeug.socket"):
        return _BufferedSocket(stream, environ["werkzeug.socket"])
    return _Stream(stream, environ.get("gunicorn.socket") or environ.get("werkzeug.socket"), idle_timeout)


def _is_plain_socket(environ: dict[str, Any], key: str) -> bool:
    sock = environ.get(key)
    # A TLS socket decrypts in Python, and the kernel's idea of "readable" is not its own.
    return isinstance(sock, socket.socket) and not hasattr(sock, "pending") and environ["wsgi.url_scheme"] == "http"


def _is_plain_gunicorn(environ: dict[str, Any], stream: Any) -> bool:
    """Whether this is gunicorn's reader of a body with Content-Length, over a socket that nobody else reads."""
    reader = getattr(stream, "reader", None)
    unreader: Any = getattr(reader, "unreader", None)
    return (
        type(stream).__module__ == "gunicorn.http.body"
        and type(reader).__name__ == "LengthReader"
        and isinstance(getattr(reader, "length", None), int)
        and isinstance(getattr(unreader, "buf", None), io.BytesIO)
        and hasattr(unreader, "sock")
        and unreader.sock is environ.get("gunicorn.socket")
        and hasattr(unreader.sock, "recv_into")
        and not hasattr(unreader.sock, "pending")
        and stream.buf.tell() == 0
    )


# Buffers are handed out and back, rather than kept by thread: greenlets share a thread, and a block must stay valid
# while its consumer waits. A fresh buffer for each request would cost its page faults every time.
_spare_buffers: list[memoryview] = []


def _take_buffer() -> memoryview:
    try:
        return _spare_buffers.pop()
    except IndexError:
        return memoryview(bytearray(BLOCK_SIZE))


def _hand_back(buffer: memoryview) -> None:
    if len(_spare_buffers) < MAX_SPARE_BUFFERS:
        _spare_buffers.append(buffer)


class _GunicornSocket:
    """Straight from gunicorn's socket, behind what it has read ahead; its own counter is kept right throughout.

    gunicorn's ``read(n)`` waits for all of ``n`` bytes, loses them if the client resets, and copies each three times.
    """

    def __init__(self, reader: Any, sock: socket.socket) -> None:
        self._reader = reader
        self._socket = sock
        self._timeout = sock.gettimeout()
        self._buffer: memoryview | None = None
        self._pipe: Pipe | None = None
        self._can_splice = hasattr(os, "splice")
        sock.settimeout(TICK)

    def read(self, size: int) -> bytes | memoryview | None:
        ahead: bytes = self._reader.unreader.buf.getvalue()
        if ahead:
            # What lies behind the body is the next request, already on its way.
            self._put_back(ahead[size:])
            self._reader.length -= len(ahead[:size])
            return ahead[:size]
        view = self._buffer = self._buffer or _take_buffer()
        try:
            count = self._socket.recv_into(view, min(size, len(view)))
        except TimeoutError:
            return None
        self._reader.length -= count
        return view[:count]

    def read_unseen(self, size: int) -> bytes | memoryview | Piped | None:
        """What is left in the kernel is in a pipe, to be moved to a file from there."""
        if size < LEAST or not self._can_splice or self._reader.unreader.buf.getbuffer().nbytes:
            return self.read(size)
        while True:
            self._pipe = self._pipe or take_pipe()
            if self._pipe is None:
                self._can_splice = False
                return self.read(size)
            try:
                count = os.splice(self._socket.fileno(), self._pipe.entrance, min(size, self._pipe.size))
            except BlockingIOError:
                self._lend_pipe()
                try:
                    self._socket.recv(1, socket.MSG_PEEK)  # waits as such a socket waits: a greenlet lets others run
                except TimeoutError:
                    return None
                continue
            except OSError as error:
                if error.errno not in REFUSALS:
                    raise
                self._can_splice = False
                return self.read(size)
            self._reader.length -= count
            return Piped(self._pipe.exit, count) if count else b""

    def _lend_pipe(self) -> None:
        """Let others have the pipe while nothing is in it."""
        if self._pipe is not None:
            hand_back_pipe(self._pipe)
            self._pipe = None

    def _put_back(self, rest: bytes) -> None:
        buffer = io.BytesIO()
        buffer.write(rest)
        self._reader.unreader.buf = buffer

    def abandon(self) -> None:
        _shut(self._socket)

    def close(self) -> None:
        if self._buffer is not None:
            _hand_back(self._buffer)
        self._lend_pipe()
        self._socket.settimeout(self._timeout)


class _BufferedSocket:
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
        _shut(self._socket)

    def close(self) -> None:
        self._socket.settimeout(self._timeout)


class _Stream:
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
        _shut(self._socket)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.settimeout(self._timeout)


def _shut(sock: Any) -> None:
    """Tell the kernel that nothing more is read; an answer can still be sent."""
    if isinstance(sock, socket.socket) or hasattr(sock, "shutdown"):
        try:
            sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # it is gone already

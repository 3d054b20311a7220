"""The bytes of a request under gunicorn, past its own readers.

Their ``read(n)`` waits for all of ``n`` bytes, loses them if the client resets, and copies each three times.
Both sources leave gunicorn's own objects as it expects them, so that keep-alive, pipelining and refusals work as ever.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
from contextlib import suppress
from inspect import GEN_CREATED
from inspect import getgeneratorstate
from types import GeneratorType
from typing import Any

from ..interfaces import Piped
from .pipes import bytes_waiting
from .pipes import CAN_SPLICE
from .pipes import hand_back_pipe
from .pipes import LEAST
from .pipes import Pipe
from .pipes import REFUSALS
from .pipes import take_pipe
from .sources import Ahead
from .sources import BLOCK_SIZE
from .sources import is_cooperative
from .sources import is_plain
from .sources import NetworkError
from .sources import Readiness
from .sources import ReadsAhead
from .sources import shut
from .sources import TICK

MAX_SPARE_BUFFERS = 64
DRAIN = 16 * 1024 * 1024  # bytes of an unwanted body that are read past
_FRAMING = 64  # bytes: what is longer than that has content in it, and not only the end of a frame


def socket_of(environ: dict[str, Any]) -> socket.socket | None:
    """The connection of a request of HTTP/1, which has it for itself meanwhile. That of HTTP/2 has many streams."""
    sock = environ.get("gunicorn.socket")
    is_alone = environ.get("SERVER_PROTOCOL", "").startswith("HTTP/1")
    return sock if is_alone and (is_plain(sock) or isinstance(sock, ssl.SSLSocket)) else None


def has_length(environ: dict[str, Any], stream: Any, size: int) -> bool:
    """Whether this is gunicorn's reader of a body with Content-Length, over a socket that nobody else reads."""
    if was_read(stream, size):
        return False
    reader = _reader_of(stream, "LengthReader")
    unreader: Any = getattr(reader, "unreader", None)
    return (
        isinstance(getattr(reader, "length", None), int)
        and isinstance(getattr(unreader, "buf", None), io.BytesIO)
        and getattr(unreader, "sock", None) is not None
        and unreader.sock is socket_of(environ)
    )


def is_framed(environ: dict[str, Any], stream: Any) -> bool:
    """Whether this is gunicorn's reader of a chunked body."""
    if was_read(stream, None):
        return False
    reader = _reader_of(stream, "ChunkedReader")
    return (
        isinstance(getattr(reader, "parser", None), GeneratorType)
        and isinstance(getattr(reader, "buf", None), io.BytesIO)
        and socket_of(environ) is not None
    )


def was_read(stream: Any, size: int | None) -> bool:
    """Whether somebody has taken from this body of gunicorn's, or some of it was moved to where it does not belong.

    :param size: What Content-Length says.
    """
    if type(stream).__module__ == "gunicorn.http2.request":
        return bool(getattr(stream, "_eof", False) or getattr(stream, "_buf", b""))
    reader = getattr(stream, "reader", None)
    if type(stream).__module__ != "gunicorn.http.body" or reader is None:
        return False
    try:
        if stream.buf.tell():
            return True
        if type(reader).__name__ == "ChunkedReader":
            parser = reader.parser
            return reader.buf.tell() != 0 or parser is None or getgeneratorstate(parser) != GEN_CREATED
    except AttributeError:
        return False  # a gunicorn that keeps this elsewhere
    return bool(getattr(reader, "length", size) != size)


def _reader_of(stream: Any, kind: str) -> Any:
    """gunicorn's own reader, if the stream is one of gunicorn's and its reader of this kind."""
    reader = getattr(stream, "reader", None)
    is_ours = type(stream).__module__ == "gunicorn.http.body" and type(reader).__name__ == kind
    return reader if is_ours else None


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


class GunicornSocket:
    """Straight from gunicorn's socket, behind what it has read ahead; its own counter is kept right throughout."""

    withholds = False
    holds_some = False

    def __init__(self, reader: Any, sock: socket.socket) -> None:
        self._reader = reader
        self._socket = sock
        self._timeout = sock.gettimeout()
        self._buffer: memoryview | None = None
        self._pipe: Pipe | None = None
        self._can_splice = CAN_SPLICE
        self._readiness: Readiness | None = None
        sock.settimeout(TICK)  # from here on, the descriptor does not block

    def wait(self) -> None:
        if self._reader.unreader.buf.getbuffer().nbytes:
            return
        if is_cooperative():
            with suppress(OSError):
                self._socket.recv(1, socket.MSG_PEEK)  # waits as such a socket waits: others run meanwhile
            return
        self._readiness = self._readiness or Readiness(self._socket)
        self._readiness.wait(TICK)

    def take(self, size: int) -> bytes | memoryview | None:
        ahead = take_ahead(self._reader, size)
        if ahead:
            return ahead
        view = self._buffer = self._buffer or _take_buffer()
        try:
            # Unlike the socket's recv_into(), this never waits.
            count = os.readv(self._socket.fileno(), [view[: min(size, len(view))]])
        except BlockingIOError:
            return None
        self._reader.length -= count
        return view[:count]

    def take_unseen(self, size: int) -> bytes | memoryview | Piped | None:
        """What is left in the kernel is in a pipe, to be moved to a file from there."""
        if size < LEAST or not self._can_splice or self._reader.unreader.buf.getbuffer().nbytes:
            return self.take(size)
        self._pipe = self._pipe or take_pipe()
        if self._pipe is None:
            self._can_splice = False
            return self.take(size)
        assert hasattr(os, "splice")  # see CAN_SPLICE
        try:
            count = os.splice(self._socket.fileno(), self._pipe.entrance, min(size, self._pipe.size))
        except BlockingIOError:
            self._lend_pipe()
            return None
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            self._can_splice = False
            return self.take(size)
        self._reader.length -= count
        return Piped(self._pipe.exit, count) if count else b""

    def _lend_pipe(self) -> None:
        """Let others have the pipe while nothing is in it."""
        if self._pipe is not None:
            hand_back_pipe(self._pipe)
            self._pipe = None

    def interrupt(self) -> None:
        give_up(self._reader.unreader, self._socket)

    abandon = interrupt

    def close(self) -> None:
        if self._buffer is not None:
            _hand_back(self._buffer)
            self._buffer = None
        self._lend_pipe()
        self._socket.settimeout(self._timeout)


class GunicornFrames(ReadsAhead):
    """A chunked body, in the pieces that gunicorn's parser finds."""

    def __init__(self, stream: Any, sock: socket.socket, idle_timeout: float) -> None:
        self._stream = stream
        self._reader = stream.reader
        self._socket = sock
        self._timeout = sock.gettimeout()
        self._ahead = Ahead()
        sock.settimeout(idle_timeout)

    def wait(self) -> None:
        """Read what has arrived. A parser that was interrupted could not go on: this one waits for a piece."""
        if self._ahead:
            return
        found = 0
        try:
            while found < BLOCK_SIZE:
                piece: bytes = next(filter(None, self._reader.parser), b"")
                self._ahead.put(piece)
                found += len(piece)
                # What came before a pause must not wait in it.
                if not piece or not self._has_more():
                    break
        except NetworkError as error:
            # Where the next request begins is not known any more.
            self._stream.failed = True
            self.abandon()
            self._ahead.fail(error)

    def _has_more(self) -> bool:
        """Whether another piece can be read at once."""
        if isinstance(self._socket, ssl.SSLSocket):
            return self._socket.pending() > _FRAMING
        return bytes_waiting(self._socket.fileno()) > _FRAMING

    def interrupt(self) -> None:
        give_up(getattr(self._reader.req, "unreader", None), self._socket)

    abandon = interrupt

    def close(self) -> None:
        self._reader.buf.write(self._ahead.take_all())
        self._socket.settimeout(self._timeout)


def take_ahead(reader: Any, size: int) -> bytes:
    """Up to ``size`` bytes of the body that gunicorn has read along with its head."""
    ahead: bytes = reader.unreader.buf.getvalue()
    if ahead:
        # What follows the body is the next request, already on its way.
        buffer = io.BytesIO()
        buffer.write(ahead[size:])
        reader.unreader.buf = buffer
        reader.length -= len(ahead[:size])
    return ahead[:size]


def give_up(unreader: Any, sock: socket.socket) -> None:
    """The rest of a body will not be read: let gunicorn find nothing more on this connection, and close it.

    To gunicorn, a body that has ended early is one that was read to its end, and what still comes in after that would
    be the next request. It is read past after the answer, as closing without that could take the answer back.
    """
    is_shut = is_plain(sock)
    if is_shut:
        shut(sock)

    def find_nothing(size_hint: int | None = None) -> bytes:
        left = DRAIN if is_shut else 0
        while left > 0 and (block := sock.recv(BLOCK_SIZE)):
            left -= len(block)
        return b""

    if unreader is not None:
        unreader.chunk = find_nothing

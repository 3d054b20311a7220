"""Reads bodies from gunicorn's socket and parser, bypassing its ``read(n)``.

That method waits for all of the ``n`` bytes, loses them if the client resets the connection, and copies each of them
three times. Both classes leave gunicorn's objects in the state it expects, so that keep-alive, pipelining and errors
work as usual.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
import time
from inspect import GEN_CREATED
from inspect import getgeneratorstate
from types import GeneratorType
from typing import Any

from ..interfaces import Piped
from .pipes import bytes_waiting
from .pipes import CAN_SPLICE
from .pipes import hand_back_pipe
from .pipes import MIN_PIPED_SIZE
from .pipes import Pipe
from .pipes import REFUSALS
from .pipes import take_pipe
from .sources import Ahead
from .sources import BLOCK_SIZE
from .sources import is_plain
from .sources import NetworkError
from .sources import Readiness
from .sources import readiness_of
from .sources import ReadsAhead
from .sources import shut
from .sources import TICK
from .stopping import worker

MAX_SPARE_BUFFERS = 64
SLOW = 0.03  # seconds without content after which a client is slow, until it sends a large block
_FRAMING = 64  # more bytes than this contain content, and not only the end of a frame


def socket_of(environ: dict[str, Any]) -> socket.socket | None:
    """Return the connection of an HTTP/1 request, which has it for itself. Those of HTTP/2 are shared."""
    sock = environ.get("gunicorn.socket")
    is_alone = environ.get("SERVER_PROTOCOL", "").startswith("HTTP/1")
    return sock if is_alone and (is_plain(sock) or isinstance(sock, ssl.SSLSocket)) else None


def has_length(environ: dict[str, Any], stream: Any, size: int) -> bool:
    """Whether this is gunicorn's reader of a body with Content-Length, on a socket that nothing else reads."""
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
        and callable(getattr(getattr(getattr(reader, "req", None), "unreader", None), "chunk", None))
        and socket_of(environ) is not None
    )


def was_read(stream: Any, size: int | None) -> bool:
    """Whether something has read from this gunicorn body, or moved some of it elsewhere.

    :param size: The value of Content-Length.
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
        return False  # another version of gunicorn, which keeps this elsewhere
    return bool(getattr(reader, "length", size) != size)


def _reader_of(stream: Any, kind: str) -> Any:
    """Return gunicorn's own reader, if it is of this kind."""
    reader = getattr(stream, "reader", None)
    is_ours = type(stream).__module__ == "gunicorn.http.body" and type(reader).__name__ == kind
    return reader if is_ours else None


# Buffers are borrowed and returned instead of kept per thread, because greenlets share a thread and a block must stay
# valid while its consumer waits. A new buffer for each request would cost its page faults every time.
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
    """Reads from gunicorn's socket, after what gunicorn has read ahead, and keeps gunicorn's counter up to date."""

    withholds = False
    holds_some = False

    def __init__(self, reader: Any, sock: socket.socket) -> None:
        self._reader = reader
        self._socket = sock
        self._descriptor = sock.fileno()
        self._timeout = sock.gettimeout()
        self._buffer: memoryview | None = None
        self._pipe: Pipe | None = None
        self._can_splice = CAN_SPLICE
        self._is_slow = False
        self._has_ahead = bool(reader.unreader.buf.getbuffer().nbytes)  # what gunicorn has read along with the head
        self._readiness: Readiness | None = None
        sock.settimeout(TICK)  # this also makes the descriptor non-blocking

    def wait(self) -> None:
        if self._has_ahead:
            return
        if self._readiness is None:
            self._readiness = readiness_of(self._socket)
        before = time.monotonic()
        self._readiness.wait()
        self._is_slow = self._is_slow or time.monotonic() - before > SLOW

    def take(self, size: int) -> bytes | memoryview | None:
        if self._has_ahead:
            return self._take_ahead(size)
        view = self._buffer
        if view is None:
            view = self._buffer = _take_buffer()
        try:
            # Unlike the socket's recv_into(), this never waits.
            count = os.readv(self._descriptor, [view if size >= BLOCK_SIZE else view[:size]])
        except BlockingIOError:
            return None
        self._reader.length -= count
        if count >= MIN_PIPED_SIZE:
            self._is_slow = False
        return view[:count]

    def _take_ahead(self, size: int) -> bytes:
        ahead = take_ahead(self._reader, size)
        self._has_ahead = bool(self._reader.unreader.buf.getbuffer().nbytes)
        return ahead

    def take_unseen(self, size: int) -> bytes | memoryview | Piped | None:
        """Move bytes to a pipe without leaving the kernel. They are moved from there to a file.

        A slow client's few bytes are read instead, which takes less time, and no pipe from others.
        """
        if size < MIN_PIPED_SIZE or self._is_slow or self._has_ahead or not self._can_splice:
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
        """Return the empty pipe for others to use."""
        if self._pipe is not None:
            hand_back_pipe(self._pipe)
            self._pipe = None

    def read_arrived(self) -> None:
        """Do nothing, because :meth:`take` finds what has arrived."""

    def wake(self) -> None:
        if self._readiness is not None:
            self._readiness.wake()

    def pause(self) -> None:
        if self._buffer is not None:
            _hand_back(self._buffer)
            self._buffer = None
        self._lend_pipe()

    def interrupt(self) -> bool:
        shut(self._socket)
        self.abandon()
        return True

    def abandon(self) -> None:
        give_up(self._reader.unreader)

    def close(self) -> None:
        self.pause()
        if self._readiness is not None:
            self._readiness.close()
        self._socket.settimeout(self._timeout)


class GunicornFrames(ReadsAhead):
    """Reads a chunked body in the pieces that gunicorn's parser finds.

    The parser cannot continue after an exception, but loses no content if reading from the connection raises one.
    """

    def __init__(self, stream: Any, sock: socket.socket, idle_timeout: float) -> None:
        self._stream = stream
        self._reader = stream.reader
        self._socket = sock
        self._timeout = sock.gettimeout()
        self._idle_timeout = idle_timeout
        self._ahead = Ahead()
        self._is_interrupted = False
        self._worker = worker()
        self._unreader = self._reader.req.unreader
        self._receive = self._unreader.chunk
        self._unreader.chunk = self._chunk
        sock.settimeout(min(TICK, idle_timeout))

    def _chunk(self, *size_hint: Any) -> bytes:
        """Read from the connection for the parser. Give up if nothing arrives and nobody waits for it any more."""
        until = time.monotonic() + self._idle_timeout
        while True:
            try:
                block: bytes = self._receive(*size_hint)
            except TimeoutError:
                if self._is_interrupted or not self._worker.alive or time.monotonic() >= until:
                    raise
            else:
                return block

    def wait(self) -> None:
        """Read what has arrived, at least one piece."""
        if not self._ahead:
            self._read()

    def read_arrived(self) -> None:
        self._socket.settimeout(0)
        self._read(until_nothing_is_left=True)

    def _read(self, *, until_nothing_is_left: bool = False) -> None:
        found = 0
        try:
            while found < BLOCK_SIZE:
                piece: bytes = next(filter(None, self._reader.parser), b"")
                self._ahead.put(piece)
                found += len(piece)
                # What arrived before a pause must not wait for its end.
                if not piece or not (until_nothing_is_left or self._has_more()):
                    break
        except NetworkError as error:
            # It is unknown now where the next request starts.
            self._stream.failed = True
            self.abandon()
            self._ahead.fail(error)

    def _has_more(self) -> bool:
        """Whether another piece can be read immediately."""
        if isinstance(self._socket, ssl.SSLSocket):
            return self._socket.pending() > _FRAMING
        return bytes_waiting(self._socket.fileno()) > _FRAMING

    def interrupt(self) -> bool:
        self._is_interrupted = True
        # If the worker stops, the parser gives up by itself within a TICK. A connection that is shut down would lose
        # what is in the kernel on macOS and BSD.
        if self._worker.alive and is_plain(self._socket):
            shut(self._socket)
        return True

    def abandon(self) -> None:
        give_up(self._unreader)

    def close(self) -> None:
        if self._unreader.chunk is not find_nothing:
            self._unreader.chunk = self._receive
        self._reader.buf.write(self._ahead.take_all())
        self._socket.settimeout(self._timeout)


def take_ahead(reader: Any, size: int) -> bytes:
    """Return up to ``size`` bytes of the body that gunicorn has read along with the head of the request."""
    ahead: bytes = reader.unreader.buf.getvalue()
    if ahead:
        # What follows the body belongs to the next request.
        buffer = io.BytesIO()
        buffer.write(ahead[size:])
        reader.unreader.buf = buffer
        reader.length -= len(ahead[:size])
    return ahead[:size]


def give_up(unreader: Any) -> None:
    """Make gunicorn find nothing more on this connection, and close it, because the rest of the body will not be read.

    gunicorn takes a body that ended early for one that was read completely, and whatever follows for the next request.
    What still arrives is skipped after the response; see ``unread.py``.
    """
    unreader.chunk = find_nothing


def find_nothing(size_hint: int | None = None) -> bytes:
    """Stand in for the ``chunk`` of an unreader whose connection gunicorn must not read."""
    return b""

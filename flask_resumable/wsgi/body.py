"""Reads the body of a request in blocks, counts it, and tells at the end whether it was complete.

How the bytes are obtained from a server is in ``sources.py``, ``gunicorn.py`` and ``tls.py``.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections.abc import Generator
from datetime import timedelta
from typing import Any

from ..interfaces import Piped
from ..interfaces import Watch
from .gunicorn import GunicornFrames
from .gunicorn import GunicornSocket
from .gunicorn import has_length
from .gunicorn import is_framed
from .gunicorn import socket_of
from .pipes import MIN_PIPED_SIZE
from .sources import BufferedSocket
from .sources import is_cooperative
from .sources import is_plain
from .sources import NetworkError
from .sources import Source
from .sources import Stream
from .stopping import worker
from .tls import GunicornRecords
from .watched_input import server_input

logger = logging.getLogger(__package__)

TURN = 4 * 1024 * 1024  # bytes after which other greenlets get a chance to run
_LAST = 0.75  # seconds in which a server that stops still takes what comes from a client that does not pause


class RequestBody:
    """The content of a request; implements :class:`~flask_resumable.interfaces.Body`.

    :param stream: The stream to read from, if it is not the server's own.
    """

    def __init__(self, environ: dict[str, Any], idle_timeout: timedelta, stream: Any = None) -> None:
        self._environ = environ
        self._stream = server_input(environ) if stream is None else stream
        self._idle_timeout = idle_timeout.total_seconds()
        self.size = announced_size(environ)
        # Werkzeug's reader of chunked bodies returns uninitialized memory if the client disconnects within a chunk.
        self.counts_only_whole = self.size is None and "werkzeug.socket" in environ
        self.is_whole = self.size == 0
        self.received = 0  # in bytes
        self.is_overlong = False
        self.is_stopped = False
        self.grace = 0.0
        self.unseen = 0
        self.watch: Watch | None = None

    def incoming(self, room: int) -> RequestContent:
        """See :meth:`~flask_resumable.interfaces.Body.incoming`."""
        self.is_whole = self.size is not None and min(room, self.size) == 0
        source = _source_of(self._environ, self._stream, self.size, self._idle_timeout)
        return RequestContent(self, source, room, self._idle_timeout)

    def blocks(self, room: int) -> Generator[bytes | memoryview | Piped, None, None]:
        """Yield the content as it arrives, at most ``room`` bytes. For use by a single thread.

        An empty block means that nothing arrived for about a second; the client may be slow. Network errors end the
        iteration. A block is valid until the next one is requested. Closing the generator early tells the server not to
        wait for the rest.
        """
        with self.incoming(room) as incoming:
            has_waited = False
            while (block := incoming.take()) is None or block:
                if block or has_waited:
                    yield block or b""
                # After a short block, there is usually no more to take, so another call would be wasted.
                if has_waited := block is None or len(block) < MIN_PIPED_SIZE:
                    incoming.pause()
                    incoming.wait()

    def trailer(self, name: str) -> str | None:
        """Return a trailer field, on servers that provide them (see :func:`keeps_trailers`)."""
        request = getattr(getattr(server_input(self._environ), "reader", None), "req", None)
        wanted = name.upper()
        return next((value for key, value in getattr(request, "trailers", ()) if key.upper() == wanted), None)


class RequestContent:
    """A body that is being read; implements :class:`~flask_resumable.interfaces.Incoming`."""

    def __init__(self, body: RequestBody, source: Source, room: int, idle_timeout: float) -> None:
        self._body = body
        self._source = source
        self.withholds = source.withholds
        self._left = room if body.size is None else min(room, body.size)
        self._idle_timeout = idle_timeout
        self._heard_at = time.monotonic()
        self.has_ended = not self._left and body.size is not None
        self._interruption: BaseException | None = None
        self._is_open = True
        self._closing = threading.Lock()
        self._owner = threading.get_ident()
        self._worker = worker()
        self._stop_at: float | None = None  # when to end this body, because the server stops
        self.is_stopping = False  # there was nothing when it was last looked at after that time

    def __enter__(self) -> RequestContent:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def wait(self) -> None:
        if self._interruption is not None:
            raise self._interruption
        if self.has_ended or not (self._worker.alive or self._may_go_on()):
            return
        try:
            self._source.wait()
        except BaseException as error:
            # gunicorn's sync worker ends long requests with SystemExit. First take what was read.
            if not self._source.holds_some:
                raise
            self._interruption = error

    def take(self) -> bytes | memoryview | Piped | None:
        if self.has_ended:
            return b""
        if self._stop_at is not None and time.monotonic() > self._stop_at + _LAST:
            return self._stop()
        body, left = self._body, self._left
        try:
            if body.unseen and left:
                block = self._source.take_unseen(min(left, body.unseen))
            else:
                block = self._source.take(left or 1)  # without room, find out whether the client sent too much
            if block is None and self._stop_at is not None and self.withholds and self._may_end():
                self._source.read_arrived()
                block = self._source.take(left or 1)
        except NetworkError:
            logger.debug("A body could not be read to its end.", exc_info=True)  # usually the client disconnected
            return self._end() if self._worker.alive else self._stop()
        if block is None:
            if self._stop_at is not None and self._may_end():
                if self.is_stopping:
                    return self._stop()
                self.is_stopping = True
                return None
            if time.monotonic() - self._heard_at < self._idle_timeout:
                return None
            self._source.abandon()
            return self._end()
        if not block:
            return self._end(is_whole=body.size is None)
        if not left:
            body.is_overlong = True
            return self._end()
        self._count(len(block))
        self.is_stopping = False
        return block

    def _may_end(self) -> bool:
        """Whether it is time to stop with the server, and this thread can find out that nothing more has arrived."""
        if self._stop_at is None or time.monotonic() < self._stop_at:
            return False
        return not self.withholds or (threading.get_ident() == self._owner and self._interruption is None)

    def pause(self) -> None:
        if self._is_open:
            self._source.pause()

    def _count(self, size: int) -> None:
        body = self._body
        before = body.received
        body.received += size
        if body.unseen:
            body.unseen = max(0, body.unseen - size)
        self._left -= size
        self._heard_at = time.monotonic()
        if not self._left and body.size is not None:
            self._end(is_whole=True)
        if before // TURN != body.received // TURN and threading.get_ident() == self._owner:
            _give_way()
            if not self._worker.alive:
                self._may_go_on()

    def _end(self, *, is_whole: bool = False) -> bytes:
        self.has_ended = True
        self._body.is_whole = is_whole
        if threading.get_ident() != self._owner:
            self._source.wake()
        return b""

    def _may_go_on(self) -> bool:
        """Whether the request may still wait for content, although the server stops."""
        now = time.monotonic()
        if self._stop_at is None:
            self._stop_at = now + self._body.grace
        return now < self._stop_at

    def _stop(self) -> bytes:
        """End the body where it is."""
        self._body.is_stopped = True
        self._source.abandon()
        return self._end()

    def stop(self) -> bool:
        with self._closing:
            if self._is_open and not self.has_ended:
                if not self._source.interrupt():
                    return False
                if not self.withholds:  # otherwise, the request's own thread may just be reading something
                    self._body.is_stopped = True
                    self._end()
            return True

    def interrupt(self) -> None:
        with self._closing:
            if self._is_open and not self.has_ended:
                self._source.interrupt()

    def close(self) -> None:
        with self._closing:
            if not self._is_open:
                return
            self._is_open = False
            if not self.has_ended or self._body.is_stopped:
                self._source.abandon()
            self.has_ended = True
            self._source.close()


def _source_of(environ: dict[str, Any], stream: Any, size: int | None, idle_timeout: float) -> Source:
    """Return the best source for the content of a request of ``size`` bytes, or ``None`` if the size is unknown.

    It is chosen by inspecting each request, never by the server's name alone. The default is plain reads.
    """
    if size is not None and has_length(environ, stream, size):
        sock = environ["gunicorn.socket"]
        return (GunicornSocket if is_plain(sock) else GunicornRecords)(stream.reader, sock)
    if size is None and is_framed(environ, stream):
        return GunicornFrames(stream, environ["gunicorn.socket"], idle_timeout)
    sock = environ.get("werkzeug.socket")
    if size is not None and sock is not None and stream is server_input(environ) and is_plain(sock):
        if isinstance(stream, io.BufferedReader):
            return BufferedSocket(stream, sock)
    return Stream(stream, size, idle_timeout, sock or socket_of(environ), is_last=sock is not None)


def _give_way() -> None:
    """Let other greenlets run. A client that sends as fast as we read would otherwise block them all.

    Threads do not need this, because they run while the kernel moves bytes.
    """
    if is_cooperative():
        time.sleep(1e-6)  # with 0, only greenlets would run that do not wait for I/O


def keeps_trailers(environ: dict[str, Any]) -> bool:
    """Whether the app can read the trailers of chunked bodies, as with gunicorn."""
    stream = server_input(environ)
    if type(stream).__module__ != "gunicorn.http.body":
        return False
    reader = getattr(sys.modules["gunicorn.http.body"], "ChunkedReader", None)
    return hasattr(reader, "parse_trailers")


def proves_end(environ: dict[str, Any]) -> bool:
    """Whether the server tells a chunked body that was cut off from one that is complete. granian does not."""
    return not str(environ.get("SERVER_SOFTWARE", "")).lower().startswith("granian")


def announced_size(environ: dict[str, Any]) -> int | None:
    """Return the size of the body that the request announces, or ``None`` if only the end of the body tells."""
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    value = environ.get("CONTENT_LENGTH") or ""
    if not value and not environ.get("SERVER_PROTOCOL", "HTTP/1.1").startswith("HTTP/1"):
        return None  # since HTTP/2, a body needs neither
    # Servers themselves refuse anything but digits. This is for those that do not.
    return int(value) if value.isascii() and value.isdigit() else 0

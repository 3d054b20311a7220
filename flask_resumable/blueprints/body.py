"""The content of a request: block by block, counted, and judged at the end.

How it is got is in ``sources.py``, and in ``gunicorn_body.py``.
"""

from __future__ import annotations

import io
import logging
import socket
import sys
import time
from collections.abc import Generator
from datetime import timedelta
from types import BuiltinFunctionType
from typing import Any

from ..interfaces import Piped
from .gunicorn_body import GunicornFrames
from .gunicorn_body import GunicornSocket
from .gunicorn_body import has_length
from .gunicorn_body import is_framed
from .sources import BufferedSocket
from .sources import NetworkError
from .sources import Source
from .sources import Stream

logger = logging.getLogger(__package__)

TURN = 4 * 1024 * 1024  # bytes, after which others get a chance to run


class RequestBody:
    """One request's content; see :class:`~flask_resumable.interfaces.Body`."""

    def __init__(self, environ: dict[str, Any], idle_timeout: timedelta) -> None:
        self._environ = environ
        self._idle_timeout = idle_timeout.total_seconds()
        self.size = _announced_size(environ)
        self.is_terminated = bool(environ.get("wsgi.input_terminated"))
        # Werkzeug's reader of chunked bodies returns uninitialised memory when the client leaves within a chunk.
        self.counts_only_whole = self.size is None and "werkzeug.socket" in environ
        self.is_whole = self.size == 0
        self.received = 0  # bytes so far
        self.is_overlong = False
        self.unseen = 0

    def blocks(self, room: int) -> Generator[bytes | memoryview | Piped, None, None]:
        source = _source_of(self._environ, self.size, self._idle_timeout)
        left = room if self.size is None else min(room, self.size)
        ended = False
        silent_since = time.monotonic()
        try:
            while left and not ended:
                try:
                    block = source.read_unseen(min(left, self.unseen)) if self.unseen else source.read(left)
                except NetworkError:
                    logger.debug("A body could not be read to its end.", exc_info=True)  # most often the client left
                    return
                if block is None:
                    if time.monotonic() - silent_since >= self._idle_timeout:
                        source.abandon()
                        return
                    yield b""
                    continue
                ended = not block
                left -= len(block)
                self.unseen = max(0, self.unseen - len(block))
                if self.received // TURN != (self.received + len(block)) // TURN:
                    _give_way()
                self.received += len(block)
                if block:
                    yield block
                    silent_since = time.monotonic()
            self._judge(source, left, ended)
        except GeneratorExit:
            source.abandon()  # whoever read has lost interest
            raise
        finally:
            source.close()

    def _judge(self, source: Source, left: int, ended: bool) -> None:
        if self.size is not None:
            self.is_whole = left == 0
            return
        if not ended:
            try:
                while (more := source.read(1)) is None:
                    pass
            except NetworkError:
                return
            self.is_overlong = bool(more)
        self.is_whole = not self.is_overlong

    def trailer(self, name: str) -> str | None:
        """A trailer field, on servers that keep them (see :func:`keeps_trailers`)."""
        request = getattr(getattr(self._environ["wsgi.input"], "reader", None), "req", None)
        wanted = name.upper()
        return next((value for key, value in getattr(request, "trailers", ()) if key.upper() == wanted), None)


def _source_of(environ: dict[str, Any], size: int | None, idle_timeout: float) -> Source:
    """The best way to the content of a request of ``size`` bytes, ``None`` if that is unknown.

    Chosen for each request by looking, never by the server's name alone. Whatever is unknown gets plain reads.
    """
    stream = environ["wsgi.input"]
    if size is not None and has_length(environ, stream):
        return GunicornSocket(stream.reader, environ["gunicorn.socket"])
    if size is None and is_framed(environ, stream):
        return GunicornFrames(stream, environ["gunicorn.socket"], idle_timeout)
    if size is not None and isinstance(stream, io.BufferedReader) and _is_plain_socket(environ, "werkzeug.socket"):
        return BufferedSocket(stream, environ["werkzeug.socket"])
    return Stream(stream, environ.get("gunicorn.socket") or environ.get("werkzeug.socket"), idle_timeout)


def _is_plain_socket(environ: dict[str, Any], key: str) -> bool:
    sock = environ.get(key)
    # A TLS socket decrypts in Python, and the kernel's idea of "readable" is not its own.
    return isinstance(sock, socket.socket) and not hasattr(sock, "pending") and environ["wsgi.url_scheme"] == "http"


def _give_way() -> None:
    """Let others run: a client that sends as fast as we read would keep all other greenlets of this worker waiting.

    Threads need no such help: they run while the kernel moves bytes.
    """
    if not isinstance(time.sleep, BuiltinFunctionType):  # gevent's
        time.sleep(1e-6)  # 0 would only let those run that wait for nothing


def keeps_trailers(environ: dict[str, Any]) -> bool:
    """Whether the application can read trailers of chunked bodies here: under gunicorn."""
    stream = environ.get("wsgi.input")
    if type(stream).__module__ != "gunicorn.http.body":
        return False
    reader = getattr(sys.modules["gunicorn.http.body"], "ChunkedReader", None)
    return hasattr(reader, "parse_trailers")


def _announced_size(environ: dict[str, Any]) -> int | None:
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    value = environ.get("CONTENT_LENGTH") or "0"
    # Servers refuse anything but digits themselves; this is for those that do not.
    return int(value) if value.isascii() and value.isdigit() else 0

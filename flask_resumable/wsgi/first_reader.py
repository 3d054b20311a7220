"""Detects whether something else has read from a request's body: a ``before_request``, a middleware, or Flask itself.

``Content-Length`` says how many bytes the client sends, not how many are left. Reading that many after some were
already taken waits for bytes that never come, or takes those of the next request.
"""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

from flask import current_app
from flask import Request
from flask import request

from ..core.printable import printable
from ..errors import InvalidRequest
from ..errors import LengthRequired
from .body import announced_size
from .body import RequestBody
from .coding import check_coding
from .gunicorn import was_read
from .watched_input import INPUT
from .watched_input import watch
from .watched_input import WATCHED
from .watched_input import WatchedInput

CAUSE = (
    "%s %s: flask_resumable must be the first to read this body, but %s. Nothing was stored. Do not read the bodies of "
    "uploads in before_request functions, signals and WSGI middleware. If you must, use request.get_data(), which "
    'keeps what it reads, or put a complete stream into environ["wsgi.input"].'
)


def watch_input(endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Watch who reads the body. Flask calls this before any code of the app handles the request."""
    environ = request.environ
    if WATCHED not in environ:
        watch(environ, fault_of(environ[INPUT], announced_size(environ)))


def is_parsed(request: Request) -> bool:
    """Whether Flask has already parsed the form, for example because the app looked for a CSRF token."""
    return request.mimetype == "multipart/form-data" and "form" in request.__dict__


def body_of(request: Request, idle_timeout: timedelta) -> RequestBody:
    """Return the content of a request, from its first byte.

    :raises InvalidRequest: Some of it was read before. The app's log says why.
    :raises UnsupportedMediaType: It is encoded.
    :raises LengthRequired: This server does not pass on bodies without Content-Length.
    """
    check_coding(request.headers)
    environ = request.environ
    size = announced_size(environ)
    if size is None and not environ.get("wsgi.input_terminated"):
        raise LengthRequired("This server cannot receive a body without Content-Length; send one.")
    if size == 0:
        return RequestBody(environ, idle_timeout)
    watched: WatchedInput = environ[WATCHED]
    cached = request.__dict__.get("_cached_data")
    fault = watched.fault
    if not fault and isinstance(cached, bytes) and len(cached) == watched.count:
        return RequestBody(environ, idle_timeout, io.BytesIO(cached))
    stream = watched.stream
    if not fault and environ[INPUT] is not watched:
        stream = environ[INPUT]
        fault = fault_of(stream, size)
        if not fault and watched.was_read and not _is_complete(stream, size):
            fault = f"{watched.count} bytes were read before {type(stream).__qualname__} was put in the stream's place"
    elif not fault and watched.was_read and not (is_parsed(request) and (request.form or request.files)):
        fault = f"{watched.count} bytes were read from {INPUT}"
    if fault:
        current_app.logger.error(CAUSE, printable(request.method), printable(request.path), fault)
        raise InvalidRequest("The app read this content before it could be stored; see the server's log.")
    return RequestBody(environ, idle_timeout, stream)


def fault_of(stream: Any, size: int | None) -> str:
    """Return why a stream cannot be the source of a body of ``size`` bytes, or an empty string if nothing is wrong."""
    name = type(stream).__qualname__
    if size != 0 and (was_read(stream, size) or _position(stream) or _left(stream, size) != size):
        return f"some of it was read from {name}"
    if getattr(stream, "closed", False):
        return f"{name} is closed"
    if size and _is_file(stream) and not _is_complete(stream, size):
        return f"{name} has fewer than the {size} bytes that the client announced"
    return ""


def _left(stream: Any, size: int | None) -> int | None:
    """Return how many bytes of the body are left, according to cheroot. Other servers do not say."""
    is_known = type(stream).__module__.startswith("cheroot") and isinstance(getattr(stream, "remaining", None), int)
    return int(stream.remaining) if is_known else size


def _position(stream: Any) -> int:
    try:
        return int(stream.tell())
    except (AttributeError, OSError, ValueError):  # most streams of servers raise one of these
        return 0


def _is_file(stream: Any) -> bool:
    return isinstance(stream, io.IOBase) and stream.seekable()


def _is_complete(stream: Any, size: int | None) -> bool:
    """Whether the stream is a file that has that many bytes from its beginning."""
    if not _is_file(stream):
        return False
    end: int = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return size is None or end >= size

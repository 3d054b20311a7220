"""The content of a request from which somebody may have read before: a ``before_request``, a middleware, Flask itself.

``Content-Length`` says how many bytes the client sends, and not how many are left. To read that many from a connection
of which some were read waits for bytes that never come, or takes those of the next request.
"""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

from flask import current_app
from flask import Request
from flask import request

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
    "%s %s: flask_resumable must be the first to read this body, and is not: %s. Nothing of it was stored. Leave the "
    "bodies of uploads alone in before_request functions, signals and WSGI middleware; or read them by "
    'request.get_data(), which keeps what it reads; or put a complete stream into environ["wsgi.input"].'
)


def watch_input(endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Flask calls this before all that an app does with a request."""
    environ = request.environ
    if WATCHED not in environ:
        watch(environ, fault_of(environ[INPUT], announced_size(environ)))


def is_parsed(request: Request) -> bool:
    """Whether Flask has read the form already: the app has looked into it for a CSRF token, say."""
    return request.mimetype == "multipart/form-data" and "form" in request.__dict__


def body_of(request: Request, idle_timeout: timedelta) -> RequestBody:
    """The content of a request, from its first byte on.

    :raises InvalidRequest: Some of it is gone. The app's log tells why.
    :raises UnsupportedMediaType: It is coded.
    :raises LengthRequired: This server does not pass on a body without Content-Length.
    """
    check_coding(request.headers)
    environ = request.environ
    size = announced_size(environ)
    if size is None and not environ.get("wsgi.input_terminated"):
        raise LengthRequired("This server cannot take a body without Content-Length; send one.")
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
        current_app.logger.error(CAUSE, request.method, request.path, fault)
        raise InvalidRequest("The server has read this content before it could be stored; its log tells why.")
    return RequestBody(environ, idle_timeout, stream)


def fault_of(stream: Any, size: int | None) -> str:
    """Why this cannot be the source of a body of ``size`` bytes, as far as it shows; empty if nothing does."""
    name = type(stream).__qualname__
    if size != 0 and (was_read(stream, size) or _position(stream) or _left(stream, size) != size):
        return f"some of it was read from {name}"
    if getattr(stream, "closed", False):
        return f"{name} is closed"
    if size and _is_file(stream) and not _is_complete(stream, size):
        return f"{name} has less than the {size} bytes that the client announced"
    return ""


def _left(stream: Any, size: int | None) -> int | None:
    """What cheroot says that is left of a body; of other servers, it is not known."""
    is_known = type(stream).__module__.startswith("cheroot") and isinstance(getattr(stream, "remaining", None), int)
    return int(stream.remaining) if is_known else size


def _position(stream: Any) -> int:
    try:
        return int(stream.tell())
    except (AttributeError, OSError, ValueError):  # as most streams of servers say
        return 0


def _is_file(stream: Any) -> bool:
    return isinstance(stream, io.IOBase) and stream.seekable()


def _is_complete(stream: Any, size: int | None) -> bool:
    """Whether a file, read from its beginning, has that many bytes."""
    if not _is_file(stream):
        return False
    end: int = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return size is None or end >= size

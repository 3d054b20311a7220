"""Skips what a client still sends of a body that nobody will read, so that the client gets the response.

If a connection is closed while content is still arriving, the kernel resets it. The response may then get lost: nginx
reports a 502 if it cannot go on sending. So gunicorn gets the connection back only when the client has seen the
response and stopped, or has sent everything. Both the time and the number of bytes are limited.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from inspect import GEN_CLOSED
from inspect import getgeneratorstate
from typing import Any

from .gunicorn import find_nothing
from .gunicorn import give_up
from .gunicorn import socket_of
from .sources import BLOCK_SIZE
from .sources import NetworkError
from .stopping import worker
from .watched_input import server_input

LINGER = 3.0  # seconds to skip content
LAST = 0.25  # the same, once the server stops
QUIET = 0.5  # seconds after which a silent client is not waited for
LIMIT = 256 * 1024 * 1024  # bytes to skip


def rest_of(environ: dict[str, Any]) -> Callable[[], None] | None:
    """Return a function that skips the rest of a body, to be called after the response was sent.

    ``None`` means that nothing is left, or that the server takes care of it.
    """
    stream = server_input(environ)
    if type(stream).__module__ != "gunicorn.http.body":
        return None
    reader = getattr(stream, "reader", None)
    if getattr(reader, "length", None) == 0 or _has_ended(getattr(reader, "parser", None)):
        return None
    sock = socket_of(environ)
    unreader: Any = getattr(reader, "unreader", None) or getattr(getattr(reader, "req", None), "unreader", None)
    return None if sock is None or unreader is None else partial(_skip, stream, unreader, sock)


def _has_ended(parser: Any) -> bool:
    """Whether this is gunicorn's parser of a chunked body, at the end of the body."""
    return parser is not None and getgeneratorstate(parser) == GEN_CLOSED


def _skip(stream: Any, unreader: Any, sock: socket.socket) -> None:
    timeout = sock.gettimeout()
    process = worker()
    was_alive = process.alive
    until = time.monotonic() + (LINGER if was_alive else LAST)
    before, left = unreader.chunk, LIMIT
    is_given_up = before is find_nothing
    receive: Callable[..., bytes] = sock.recv if is_given_up else before

    def chunk(size_hint: int | None = None) -> bytes:
        nonlocal left
        seconds = min(QUIET, until - time.monotonic())
        if seconds <= 0 or left <= 0 or was_alive != process.alive:
            raise TimeoutError
        sock.settimeout(seconds)
        block = receive(size_hint)
        left -= len(block)
        return block

    unreader.chunk = chunk  # every read comes here, so a client that sends byte by byte does not get more time
    is_whole = False
    try:
        while chunk(BLOCK_SIZE) if is_given_up else stream.read(BLOCK_SIZE):
            pass
        is_whole = not is_given_up  # then gunicorn can go on with the next request
    except NetworkError:  # the limits, too
        pass
    finally:
        unreader.chunk = before
        with suppress(OSError):  # closed
            sock.settimeout(timeout)
    if not is_whole:
        give_up(unreader)

"""Interim answers (1xx): sent while a request is at work, before its final answer.

WSGI has no way to do that. Some servers hand out the connection, and what is written there before the final answer
begins goes out as it is.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from .gunicorn import socket_of
from .sources import is_plain


def send_interim(environ: dict[str, Any], status: int, reason: str, headers: Mapping[str, str]) -> bool:
    """Send an interim answer, if this can be done safely here; whether it was sent.

    It can on plain HTTP/1.1 under gunicorn (its sync, gthread and gevent workers) and the development server. It is for
    the request's own thread, before the final answer begins. Whoever asks for it must know that no proxy is in between
    that cannot deal with it: nginx takes a 104 for the final answer.

    Spec: RFC 9110 "Informational 1xx".
    """
    sock = _connection(environ)
    if sock is None:
        return False
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    try:
        sock.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))
    except OSError:  # the client has gone, or takes nothing: the final answer will find out
        return False
    return True


def _connection(environ: dict[str, Any]) -> socket.socket | None:
    """The connection, if it is one of HTTP/1.1 without TLS that belongs to this request alone."""
    if environ.get("SERVER_PROTOCOL") != "HTTP/1.1":
        return None
    sock: Any = socket_of(environ) or environ.get("werkzeug.socket")
    return sock if sock is not None and is_plain(sock) else None

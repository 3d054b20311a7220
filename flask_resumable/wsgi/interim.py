"""Sends interim responses (1xx) while a request is being handled, before its final response.

WSGI does not support that. But some servers give access to the connection, and bytes written there before the final
response are sent as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from .gunicorn import socket_of
from .sources import is_plain


def send_interim(environ: dict[str, Any], status: int, reason: str, headers: Mapping[str, str]) -> bool:
    """Send an interim response, if that is safe here.

    It works on plain HTTP/1.1 with gunicorn (sync, gthread and gevent workers), the development server, and uWSGI if
    its only socket is an ``http-socket``. Call it in the request's own thread, before the final response starts. Use it
    only if no proxy is involved that cannot handle interim responses: nginx takes a 104 for the final response.

    :return: Whether it was sent.

    Spec: RFC 9110 "Informational 1xx".
    """
    send = _sender(environ)
    if send is None:
        return False
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    try:
        send("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))
    except OSError:  # the client has disconnected or does not read; the final response will notice
        return False
    return True


def _sender(environ: dict[str, Any]) -> Callable[[bytes], object] | None:
    """Return what writes to the connection, if it is HTTP/1.1 without TLS and belongs to this request alone."""
    if environ.get("SERVER_PROTOCOL") != "HTTP/1.1":
        return None
    if "uwsgi.version" in environ:
        return _sender_of_uwsgi()
    sock: Any = socket_of(environ) or environ.get("werkzeug.socket")
    return sock.sendall if sock is not None and is_plain(sock) else None


def _sender_of_uwsgi() -> Callable[[bytes], object] | None:
    """Return what writes to the connection, if the request must have come over plain HTTP.

    A request does not show which of several sockets it came from. On the others there is TLS, or a web server that
    takes an interim response for the final one.
    """
    uwsgi: Any = sys.modules.get("uwsgi")  # exists only within uWSGI
    is_plain_http = uwsgi is not None and "http-socket" in uwsgi.opt and len(uwsgi.sockets) == 1
    return uwsgi.send if is_plain_http else None

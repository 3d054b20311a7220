"""gunicorn's settings for ``python -m demo``."""

from __future__ import annotations

import signal

worker_class = "gevent"
workers = 2
# Each request has its own connection: on one that was used before, Chromium repeats a broken request by itself, from
# its first byte, although the upload is further by then. tus-js-client asks first.
keepalive = 0
control_socket_disable = True
loglevel = "warning"


def post_worker_init(worker: object) -> None:
    """Let the master alone stop the workers: Ctrl-C reaches them, too, and those who are stopped twice complain."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

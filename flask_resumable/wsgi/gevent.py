"""Waits for connections in gevent's way, so that other greenlets run.

gevent's own sockets start a watcher and a timeout for each wait, and stop both after it. For a client on a slow line,
that costs more than everything else that is done with its few kilobytes. Here, a connection is watched from its first
wait to its last, and one timer serves them all.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from gevent import get_hub
from gevent.hub import Waiter

_READ = 1
_CHECK = 0.25  # seconds between two looks for greenlets that have waited long enough


class GreenletReadiness:
    """Tells whether a socket can be read. For a single greenlet.

    Close it before the socket, whose descriptor may belong to another connection after that.

    :param seconds: The time after which :meth:`wait` returns in any case, or a little later.
    """

    __slots__ = ("_clock", "_hub", "_is_watched", "_seconds", "_since", "_waiter", "_watcher")

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._hub = hub = get_hub()
        self._seconds = seconds
        self._since = 0.0
        self._waiter = Waiter(hub)
        self._watcher = hub.loop.io(sock.fileno(), _READ)
        self._is_watched = False
        self._clock = _clock_of(hub)
        self._clock.add(self)

    def wait(self) -> None:
        """Wait until the socket can be read or has ended."""
        if not self._is_watched:
            self._watcher.start(self._on_data)
            self._is_watched = True
        self._since = time.monotonic()
        self._waiter.get()
        self._waiter.clear()

    def _on_data(self) -> None:
        if self._waiter.greenlet is None:
            # It waits for something else. Until it is back, the loop would call this again and again.
            self._watcher.stop()
            self._is_watched = False
        else:
            self._waiter.switch(None)

    def wake(self) -> None:
        """Continue the greenlet soon, if it is waiting. Any thread may call this."""
        self._hub.loop.run_callback_threadsafe(self._continue)

    def _continue(self) -> None:
        if self._waiter.greenlet is not None:
            self._waiter.switch(None)

    def wake_if_due(self, now: float) -> None:
        """Continue the greenlet, if it has waited long enough. For the loop."""
        if now - self._since >= self._seconds:
            self._continue()

    def close(self) -> None:
        """Stop watching the socket."""
        self._watcher.stop()
        self._watcher.close()
        self._clock.discard(self)


class _Clock:
    """Wakes those of a thread's greenlets that have waited long enough."""

    def __init__(self, hub: Any) -> None:
        self._all: set[GreenletReadiness] = set()
        self._timer = hub.loop.timer(_CHECK, _CHECK)

    def add(self, readiness: GreenletReadiness) -> None:
        if not self._all:
            self._timer.start(self._wake)
        self._all.add(readiness)

    def discard(self, readiness: GreenletReadiness) -> None:
        self._all.discard(readiness)
        if not self._all:
            self._timer.stop()

    def _wake(self) -> None:
        now = time.monotonic()
        for readiness in tuple(self._all):
            readiness.wake_if_due(now)


def _clock_of(hub: Any) -> _Clock:
    try:
        clock: _Clock = hub.flask_resumable_clock
    except AttributeError:
        clock = hub.flask_resumable_clock = _Clock(hub)
    return clock

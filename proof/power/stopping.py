"""Lets a campaign end in order when it is told to stop, so that nothing stays mounted and no process runs on.

Ctrl-C, SIGTERM and SIGHUP are noted, and end the campaign only where it waits and can clean up: :func:`interruptible`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1

_came: signal.Signals | None = None
_is_waiting = False


@contextmanager
def stoppable() -> Iterator[None]:
    """Within the context, signals that end a process take effect in :func:`interruptible` only."""
    global _came
    if threading.current_thread() is not threading.main_thread():
        yield  # the main thread gets the signals
        return
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _note) for number in heard}
    try:
        yield
    finally:
        _came = None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the context, raise :class:`SystemExit` if a signal comes, or has come before."""
    global _is_waiting
    _is_waiting = True
    try:
        if _came is not None:
            _stop()
        yield
    finally:
        _is_waiting = False


def _note(number: int, frame: object) -> None:
    global _came
    _came = signal.Signals(number)
    if _is_waiting:
        _stop()


def _stop() -> None:
    global _is_waiting
    _is_waiting = False  # a second signal does not interrupt the cleaning up
    assert _came is not None
    raise SystemExit(f"Stopped by {_came.name}.")


def leave_signals_to_parent() -> None:
    """Let the parent decide when this forked process ends, and end with it."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()


def become_child(seconds: float) -> None:
    """Let this forked process end with its parent, after some seconds, or when it is told; in a group of its own."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    die_with_parent()
    signal.setitimer(signal.ITIMER_REAL, seconds)  # SIGALRM ends it


def die_with_parent() -> None:
    """Let the kernel kill this process as soon as its parent is dead."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

"""Tells whether this process is about to end, so that requests that are receiving content save it and leave.

gunicorn's workers note a SIGTERM in an attribute, and so they do when they have served ``max_requests``. That is read
here instead of handling the signal: gunicorn installs its handlers before it loads the app, or after it if the app is
preloaded, and only the main thread can install any.
"""

from __future__ import annotations

import signal
import sys
from typing import Any
from typing import Protocol


class Worker(Protocol):
    """What receives requests."""

    alive: bool  # False once it stops


class _Unknown:
    """Stands in for the worker of a server that does not tell."""

    alive = True


_UNKNOWN = _Unknown()


def worker() -> Worker:
    """Return gunicorn's worker if this process is one, and otherwise something that never stops."""
    base: Any = sys.modules.get("gunicorn.workers.base")
    found = None if base is None else getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return found if found is not None and isinstance(found, base.Worker) else _UNKNOWN


def is_stopping() -> bool:
    """Whether this process takes no more requests, and ends when those that are running have ended."""
    return not worker().alive

"""Time that a test decides about, in its own thread: other tests may have left threads that sleep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest


def set_time(
    patch: pytest.MonkeyPatch, sleep: Callable[[float], object], monotonic: Callable[[], float] | None = None
) -> None:
    """Replace ``time.sleep``, and ``time.monotonic`` if it is given, in this thread."""
    here, real_sleep, real_monotonic = threading.get_ident(), time.sleep, time.monotonic

    def sleep_here(seconds: float) -> None:
        (sleep if threading.get_ident() == here else real_sleep)(seconds)

    def monotonic_here() -> float:
        return monotonic() if monotonic is not None and threading.get_ident() == here else real_monotonic()

    patch.setattr(time, "sleep", sleep_here)
    patch.setattr(time, "monotonic", monotonic_here)

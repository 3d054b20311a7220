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


class Clock:
    """The time of this thread, in seconds: whoever sleeps moves it, and then what was to happen until then happens."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.slept = 0.0
        self.coming: list[tuple[float, Callable[[], object]]] = []
        set_time(patch, self.sleep, self.monotonic)

    def after(self, seconds: float, happens: Callable[[], object]) -> None:
        self.coming.append((self.now + seconds, happens))

    def sleep(self, seconds: float) -> None:
        self.now += seconds + 1e-6  # a sleep is never shorter
        self.slept += seconds
        for event in [event for event in self.coming if event[0] <= self.now]:
            self.coming.remove(event)
            event[1]()

    def monotonic(self) -> float:
        return self.now

"""Waiting for what will happen, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 60.0  # seconds; only a broken thing takes that long

T = TypeVar("T")


def until(ask: Callable[[], T], what: str) -> T:
    """Ask again until the answer is true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"In vain: {what}"
        time.sleep(0.02)
    return answer

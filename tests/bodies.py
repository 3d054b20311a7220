"""What bodies have in common that do not come from a WSGI server, and an app without hooks that gets them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from typing import Self


class PlainBody:
    """A body that nobody watches, stops or limits. A subclass says which bytes it has, and when they come.

    It is both a :class:`~flask_resumable.interfaces.Body` and what that shows while it is read.
    """

    size: int | None = None
    unseen = 0
    grace = 0.0
    is_whole = False
    is_stopped = False
    counts_only_whole = False
    watch: Any = None
    is_overlong = False
    withholds = False
    has_ended = False
    is_stopping = False

    @contextmanager
    def incoming(self, room: int) -> Iterator[Self]:
        yield self

    def wait(self) -> None:
        """All is here."""

    def pause(self) -> None:
        """Nothing is borrowed."""

    def interrupt(self) -> None:
        """Nobody waits."""

    def stop(self) -> bool:
        """Nothing stops."""
        return True

    def close(self) -> None:
        """Nothing is open."""

    def trailer(self, name: str) -> str | None:
        return None


class NoHooks:
    """An app without hooks."""

    def named(self, name: str) -> None:
        return None

    def observer(self, name: str) -> None:
        return None

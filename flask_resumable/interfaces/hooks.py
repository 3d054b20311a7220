"""The app's hooks, as the service calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol

from ..core.answer import Answer


class Hooks(Protocol):
    """Looks up the app's hooks and signal receivers by name, from ``on_create`` to ``post_delete``."""

    def named(self, name: str) -> Callable[[Any], Answer | None] | None:
        """Return a hook that takes the app's own instance, or ``None`` if the app has no such hook.

        A hook raises ``UploadRejected`` to refuse. ``on_complete`` may return an
        :class:`~flask_resumable.core.answer.Answer`.
        """
        ...

    def observer(self, name: str) -> Callable[[Any], object] | None:
        """Return a function that sends the signal of that name, or ``None`` if it has no receivers."""
        ...

"""How an app takes part in an upload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol

from ..core.answer import Answer


class Hooks(Protocol):
    """The app's hooks by name, from ``on_create`` to ``post_delete``."""

    def named(self, name: str) -> Callable[[Any], Answer | None] | None:
        """The hook, which takes the app's own instance; ``None`` if there is none. It refuses by ``UploadRejected``.

        ``on_complete`` may return an :class:`~flask_resumable.core.answer.Answer`.
        """
        ...

    def observer(self, name: str) -> Callable[[Any], object] | None:
        """A callable to tell that it has happened; ``None`` if nobody listens."""
        ...

"""How an app takes part in an upload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol


class Hooks(Protocol):
    """The app's hooks by name, from ``on_create`` to ``post_delete``."""

    def named(self, name: str) -> Callable[[Any], object] | None:
        """The hook, which takes the app's own instance; ``None`` if there is none. It refuses by ``UploadRejected``."""
        ...

    def observer(self, name: str) -> Callable[[Any], object] | None:
        """A callable to tell that it has happened; ``None`` if nobody listens."""
        ...

"""Hooks whose calls are measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from ..core.answer import Answer
from ..interfaces import Hooks
from ..interfaces.observer import Kind
from ..interfaces.observer import Observer

Hook = Callable[[Any], Answer | None]


class ObservedHooks:
    """Tells an observer when hooks are called."""

    def __init__(self, hooks: Hooks, observer: Observer) -> None:
        self._hooks = hooks
        self._observer = observer
        self.named = cache(self._named)
        self.observer = hooks.observer

    def _named(self, name: str) -> Hook | None:
        hook = self._hooks.named(name)
        if hook is None:
            return None

        def call(upload: Any) -> Answer | None:
            with self._observer.doing(Kind.HOOK, name) as activity:
                activity.note("upload.id", upload.id)
                return hook(upload)

        return call

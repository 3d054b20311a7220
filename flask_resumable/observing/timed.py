"""Methods whose calls an observer is told of."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from functools import wraps
from typing import Any

from ..interfaces.observer import Kind
from ..interfaces.observer import Observer


class Timed:
    """Has everything that another object has, and tells an observer when some of its methods are called.

    :param operations: The names of these methods.
    """

    def __init__(self, inner: Any, observer: Observer, kind: Kind, operations: Iterable[str]) -> None:
        self._inner = inner
        for name in operations:
            method = getattr(inner, name, None)
            if method is not None:
                setattr(self, name, timed(method, observer, kind, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def timed(method: Callable[..., Any], observer: Observer, kind: Kind, operation: str) -> Callable[..., Any]:
    """Return a function that calls the method within an activity."""
    doing = observer.doing

    @wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        with doing(kind, operation):
            return method(*arguments, **named)

    return call

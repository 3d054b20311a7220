"""Puts an observer between the service and what it works with."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from ..interfaces import Hooks
from ..interfaces import StateRepository
from ..interfaces import Storage
from ..interfaces.observer import Kind
from ..interfaces.observer import Observer
from .hooks import ObservedHooks
from .repository import observed_repository
from .storage import ObservedStorage
from .timed import timed

_ABOUT_STORAGE = {Kind.STORAGE, Kind.RECEIVE}


def observe(
    observer: Observer, repository: StateRepository, storage: Storage, hooks: Hooks, stores: Iterable[Storage]
) -> tuple[StateRepository, Storage, Hooks]:
    """Wrap whatever the observer wants to know about, and return the rest as it is.

    :param stores: The storages that ``storage`` consists of.
    """
    if Kind.STORE in observer.kinds:
        for store in stores:
            if store.capabilities.requests is not None:
                store.capabilities.requests.watch_requests(_watch(observer))
    if Kind.DATABASE in observer.kinds:
        repository = observed_repository(repository, observer)
    if _ABOUT_STORAGE & observer.kinds:
        storage = ObservedStorage(storage, observer)
    if Kind.HOOK in observer.kinds:
        hooks = ObservedHooks(hooks, observer)
    return repository, storage, hooks


def _watch(observer: Observer) -> Callable[[str, Callable[..., Any]], Callable[..., Any]]:
    return lambda operation, method: timed(method, observer, Kind.STORE, operation)

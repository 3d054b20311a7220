"""Mistakes that the campaign must find, each made on purpose in the workers of both nodes, and in their commands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy.pool import QueuePool

from flask_resumable.core.upload import Status
from flask_resumable.core.upload import truncated
from flask_resumable.errors import StorageFull
from flask_resumable.repositories.sql import engines
from flask_resumable.repositories.sql.repository import SQLAlchemyRepository
from flask_resumable.service.lifecycle import Lifecycle
from flask_resumable.service.transfer import Receiver
from flask_resumable.storage.local.storage import LocalStorage
from flask_resumable.storage.multipart.completion import Completion
from flask_resumable.storage.multipart.orphans import UnfinishedObjects

kept: list[object] = []  # what should have been let go


@dataclass(frozen=True)
class Mutant:
    """One mistake, and what must come to light."""

    name: str
    make: Callable[[], None]
    shows: str  # a pattern of the faults that it leads to
    store: str = "disk"
    pool: str = ""  # if not empty: how many connections a process has, and how many seconds it waits for one
    events: tuple[str, ...] = ()  # of the weather; all if there are none

    def is_shown(self, fault: str) -> bool:
        """Whether this fault is one that it leads to."""
        return re.search(self.shows, fault) is not None


def _leave_descriptors() -> None:
    accept = Lifecycle.accept

    def leaving(self: Lifecycle, claimed: Any) -> None:
        accept(self, claimed)
        kept.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(5))

    Lifecycle.accept = leaving  # type: ignore[method-assign]


def _keep_memory() -> None:
    accept = Lifecycle.accept

    def keeping(self: Lifecycle, claimed: Any) -> None:
        accept(self, claimed)
        kept.append(bytearray(b"x") * (10 << 20))

    Lifecycle.accept = keeping  # type: ignore[method-assign]


def _call_twice() -> None:
    save_with_hook = SQLAlchemyRepository.save_with_hook

    def twice(self: SQLAlchemyRepository, upload: Any, claim: Any, hook: Callable[[Any], Any], *, until: Any) -> Any:
        def both(record: Any) -> None:
            hook(record)
            hook(record)

        is_complete = upload.status is Status.COMPLETE
        return save_with_hook(self, upload, claim, both if is_complete else hook, until=until)

    SQLAlchemyRepository.save_with_hook = twice  # type: ignore[method-assign]


def _leave_files() -> None:
    LocalStorage.delete = lambda self, upload: None  # type: ignore[method-assign]
    LocalStorage.orphans = lambda self, older_than: iter(())  # type: ignore[method-assign]


def _know_no_pool() -> None:
    is_trouble = engines.is_trouble
    engines.is_trouble = lambda error: not isinstance(error, engines.PoolTimeout) and is_trouble(error)  # type: ignore[attr-defined]


def _go_back_when_full() -> None:
    receive = Receiver.receive

    def forgetful(self: Receiver, claimed: Any, *args: Any) -> None:
        try:
            receive(self, claimed, *args)
        except StorageFull:
            with suppress(Exception):
                claimed.save(truncated(claimed.upload, claimed.upload.offset // 2))
            raise

    Receiver.receive = forgetful  # type: ignore[method-assign, assignment]


def _keep_connections() -> None:
    give_back = QueuePool._do_return_conn
    count = 0

    def keeping(self: QueuePool, record: Any) -> None:
        nonlocal count
        count += 1
        if count % 50 == 0:
            kept.append(record)
        else:
            give_back(self, record)

    QueuePool._do_return_conn = keeping  # type: ignore[method-assign]


def _never_abort() -> None:
    UnfinishedObjects._abort = lambda self, key, multipart: 0  # type: ignore[method-assign]


class _Blind:
    """A store that does not see what it has."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def size(self, key: str) -> None:
        return None


def _believe_the_silence() -> None:
    publish = Completion.publish

    def blindly(self: Completion, part_size: int) -> None:
        self._store = _Blind(self._store)  # type: ignore[assignment]
        publish(self, part_size)

    Completion.publish = blindly  # type: ignore[method-assign]


ALL = (
    Mutant("each creation leaves five descriptors open", _leave_descriptors, "descriptors or threads are left"),
    Mutant("each creation keeps 10 MiB", _keep_memory, "memory grows"),
    Mutant("on_complete is called twice", _call_twice, "on_complete (has left|of)"),
    Mutant(
        "removed uploads leave their files, also when cleaning", _leave_files, "has no record after|left at the end"
    ),
    Mutant("a hook that gets no connection from the pool is a 500", _know_no_pool, r"status=500", pool="1 0.5"),
    Mutant(
        "the offset goes back when the disk is full",
        _go_back_when_full,
        "went back",
        events=("the disk is full, and then is not",),
    ),
    Mutant("some connections are not given back to the pool", _keep_connections, "nothing but .*503", pool="5 1"),
    Mutant(
        "multipart uploads are never aborted",
        _never_abort,
        r"uploadId=\S+ has no record after|left at the end",
        store="s3",
    ),
    Mutant(
        "an object is taken for lost if the store's answer was",
        _believe_the_silence,
        "went back|has left",
        store="s3",
        events=("most answers of the object store are lost",),
    ),
)
MUTANTS = {mutant.name: mutant for mutant in ALL}


def make_mistake(name: str | None) -> None:
    """Make a mistake in this process and its forks, or none."""
    if name:
        MUTANTS[name].make()

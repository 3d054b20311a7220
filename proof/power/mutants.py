"""Faults made on purpose in the package, each of which a loss of power must bring to light."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask_resumable.repositories.sql import factory
from flask_resumable.repositories.sql.repository import SQLAlchemyRepository
from flask_resumable.repositories.sql.sqlite import Direct
from flask_resumable.service.lifecycle import Lifecycle
from flask_resumable.service.transfer import Receiver
from flask_resumable.storage.local import chunk_folder
from flask_resumable.storage.local import chunk_writer
from flask_resumable.storage.local import fence
from flask_resumable.storage.local import files
from flask_resumable.storage.local import moved
from flask_resumable.storage.local import storage
from flask_resumable.storage.local import writer
from flask_resumable.storage.local.storage import LocalStorage

from .app import Setup


@dataclass(frozen=True)
class Mutant:
    """A fault.

    :param what: What is wrong, for the reader.
    :param apply: Makes this process do it.
    :param chapters: The chapters of the story in which it shows.
    """

    what: str
    apply: Callable[[], None]
    chapters: tuple[str, ...]
    setup: Setup = Setup(database="wal")


def _nothing(*arguments: object, **named: object) -> None:
    """Take the place of a sync."""


def _set(place: Any, name: str, value: Any = _nothing) -> Callable[[], None]:
    return lambda: setattr(place, name, value)


def _late_syncs(place: Any, name: str) -> Callable[[], None]:
    """Sync content only after the function ``name`` of ``place``, which should find it synced."""

    def apply() -> None:
        held: list[int] = []
        inner = getattr(place, name)

        def hold(descriptor: int, durability: str) -> None:
            held.append(os.dup(descriptor))

        def outer(*arguments: Any, **named: Any) -> Any:
            try:
                return inner(*arguments, **named)
            finally:
                while held:
                    os.fdatasync(held[-1])
                    os.close(held.pop())

        writer.sync = hold
        setattr(place, name, outer)

    return apply


def _hook_apart(self: Any, upload: Any, claim: Any, hook: Any, *, until: Any) -> Any:
    """Commit what a hook wrote, and then the state of its upload."""
    self.call(upload, hook)
    self.save(upload, claim, until=until)
    return upload


def _publish(file: str, name: str, *, is_durable: bool) -> None:
    files.publish(file, name, is_durable=False)


def _never_lasting(self: Any, raw: Any, lasting: bool) -> None:
    raw.execute("PRAGMA synchronous=NORMAL")
    self._is_lasting = lasting


MUTANTS: dict[str, Mutant] = {
    "content": Mutant("content is not synced", _set(writer, "sync"), ("whole",)),
    "takeover": Mutant("what is taken over is not synced", _set(LocalStorage, "_sync"), ("takeovers",)),
    "concatenation": Mutant("joined parts are not synced", _set(LocalStorage, "_sync"), ("concatenation",)),
    "small chunk": Mutant("a chunk that comes at once is not synced", _set(LocalStorage, "_sync"), ("chunks",)),
    "large chunk": Mutant("a chunk written in place is not synced", _set(chunk_writer, "sync"), ("chunks",)),
    "publishing": Mutant("the name of a finished file is not synced", _set(storage, "publish", _publish), ("whole",)),
    "record first": Mutant(
        "the offset is saved before the content is synced", _late_syncs(Receiver, "receive"), ("whole",)
    ),
    "name first": Mutant(
        "a file is published, and on_complete called, before its content is synced",
        _late_syncs(Lifecycle, "catch_up"),
        ("at_once",),  # what does not finish an upload would not be synced at all
    ),
    "old note": Mutant(
        "how far a writer got is believed after a restart", _set(fence, "boot", lambda: bytes(16)), ("takeovers",)
    ),
    "journal": Mutant(
        "SQLite's journal is removed without a sync of its folder",
        _set(factory, "make_durable"),
        ("whole",),
        Setup(database="delete"),
    ),
    "embedded": Mutant(
        "the embedded database never syncs its log",
        _set(Direct, "_set_lasting", _never_lasting),
        ("whole",),
        Setup(database="embedded"),
    ),
    "hook apart": Mutant(
        "on_complete's row and the upload's state are two transactions",
        _set(SQLAlchemyRepository, "save_with_hook", _hook_apart),
        ("whole", "move"),
    ),
    "removal": Mutant("a removed file may be back", _set(storage, "sync_removals"), ("removals", "cleaning")),
    "chunk name": Mutant(
        "the name of a chunk in a folder is not synced",
        _set(chunk_folder, "sync_directory"),
        ("chunks",),
        Setup(database="wal", chunks="folder"),
    ),
    "move": Mutant(
        "a file's new place is not synced", _set(moved.MovedFiles, "_synced", lambda self, path: True), ("move",)
    ),
}

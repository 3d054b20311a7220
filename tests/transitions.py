"""Watches the statuses that repositories save, and compares each change with the table of those that are possible."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest

from flask_resumable.core.upload import Status
from flask_resumable.core.upload import TRANSITIONS
from flask_resumable.core.upload import Upload
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.repositories.sql.embedded import EmbeddedRepository
from flask_resumable.repositories.sql.records import Records
from flask_resumable.repositories.sql.repository import SQLAlchemyRepository

Change = tuple[Status | None, Status | None]  # None: there is no record

POSSIBLE = {(before, after) for before, reachable in TRANSITIONS.items() for after in reachable}
SAVING = ("add", "add_within", "save", "save_with_hook", "amend")


class Watch:
    """What has been saved. Uploads are told apart by the names of their bytes, which are never used twice."""

    def __init__(self) -> None:
        self.changes: set[Change] = set()
        self._statuses: dict[str, Status] = {}

    def saved(self, upload: Upload) -> None:
        """A record has this status now. Only records that were added while this watches are noted."""
        before = self._statuses.get(upload.stored_as)
        if before is not upload.status:
            self.changes.add((before, upload.status))
        self._statuses[upload.stored_as] = upload.status

    def removed(self, upload: Upload) -> None:
        """The record is gone."""
        before = self._statuses.pop(upload.stored_as, None)
        if before is not None:
            self.changes.add((before, None))


@contextmanager
def watching(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Watch all repositories of this process, and fail if something is saved that the table does not have."""
    watch = Watch()
    for repository in (MemoryRepository, Records, EmbeddedRepository, SQLAlchemyRepository):
        for name in (*SAVING, "remove"):
            if name in vars(repository):
                monkeypatch.setattr(repository, name, _watched(vars(repository)[name], name, watch))
    yield watch
    assert not watch.changes - POSSIBLE


def _watched(method: Callable[..., Any], name: str, watch: Watch) -> Callable[..., Any]:
    @wraps(method)
    def call(self: object, upload: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, upload, *args, **kwargs)
        if name == "remove":
            watch.removed(upload)
        elif name == "amend":  # it is given an id, and returns the upload
            watch.saved(result)
        else:
            watch.saved(upload)
        return result

    return call

"""Mistakes that the campaign must find, each made on purpose in all processes of a server.

A mistake whose window is too short to be hit in a few hundred rounds waits a moment in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from typing import BinaryIO

from flask_resumable import processes
from flask_resumable.core.ranges import ChunkSpan
from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.repositories.sql.repository import SQLAlchemyRepository
from flask_resumable.service import claims
from flask_resumable.service import uploads
from flask_resumable.service.chunks import ChunkService
from flask_resumable.service.claims import ClaimedUpload
from flask_resumable.service.lifecycle import Lifecycle
from flask_resumable.storage.local.fence import Fence

WINDOW = 0.005  # seconds


def _hook_before_save() -> None:
    """Commit what the hook wrote, and save the upload in a transaction of its own after that."""

    def save_with_hook(
        self: SQLAlchemyRepository, upload: Upload, claim: Any, hook: Callable[[Any], Any], *, until: datetime | None
    ) -> Upload:
        self.call(upload, hook)
        time.sleep(WINDOW)
        self.save(upload, claim, until=until)
        return upload

    SQLAlchemyRepository.save_with_hook = save_with_hook  # type: ignore[method-assign]


def _hook_after_save() -> None:
    """Save the upload, and call the hook in a transaction of its own after that."""

    def save_with_hook(
        self: SQLAlchemyRepository, upload: Upload, claim: Any, hook: Callable[[Any], Any], *, until: datetime | None
    ) -> Upload:
        self.save(upload, claim, until=until)
        time.sleep(WINDOW)
        self.call(upload, hook)
        return upload

    SQLAlchemyRepository.save_with_hook = save_with_hook  # type: ignore[method-assign]


def _finishing_is_forgotten() -> None:
    """Do not make up for a hook that a crash has interrupted."""
    catch_up = Lifecycle.catch_up

    def forgetful(self: Lifecycle, claimed: ClaimedUpload) -> None:
        if claimed.upload.status is not Status.FINISHING:
            catch_up(self, claimed)

    Lifecycle.catch_up = forgetful  # type: ignore[method-assign]


def _creation_is_forgotten() -> None:
    """Take an upload for created whose ``on_create`` a crash has interrupted."""
    accept = Lifecycle.accept

    def forgetful(self: Lifecycle, claimed: ClaimedUpload) -> None:
        if claimed.upload.fence == 1:
            accept(self, claimed)
        else:
            claimed.save(claimed.upload.with_status(Status.ACTIVE))

    Lifecycle.accept = forgetful  # type: ignore[method-assign]


def _dead_are_respected() -> None:
    """Wait for the lease of a process that is known to be dead."""
    claims.is_dead = lambda name: False  # type: ignore[attr-defined]
    processes.is_dead = lambda name: False


def _progress_is_not_noted() -> None:
    """Do not note next to the fence how far a request has got."""
    Fence.note = lambda self, progress: None  # type: ignore[method-assign]


def _record_before_bytes() -> None:
    """Remove the record first, and the bytes after that."""

    def remove(self: Lifecycle, claimed: ClaimedUpload, remembered_until: datetime | None) -> None:
        self._repository.remove(claimed.upload, claimed.claim)
        time.sleep(WINDOW)
        self._storage.delete(claimed.upload)

    Lifecycle._remove_bytes_and_record = remove  # type: ignore[method-assign]


def _removal_is_forgotten() -> None:
    """Leave an upload alone whose removal a crash has interrupted."""
    Lifecycle.resume_removal = lambda self, claimed: None  # type: ignore[method-assign]


def _chunk_before_bytes() -> None:
    """Add a chunk to the record, and write its bytes after that."""

    def place(self: ChunkService, upload: Upload, span: ChunkSpan, content: BinaryIO, limits: Limits) -> Upload:
        content.seek(0)
        with self._storage.placing(upload, span.number, span.start) as slot:
            current = self._repository.get(upload.id)
            if not current.received.has(span):
                current = self._commit(current, span, limits, known=current)
                time.sleep(WINDOW)
                slot.fill(content)
        return self._stored(current, span)

    ChunkService.place = place  # type: ignore[method-assign]


def _keys_are_forgotten() -> None:
    """Make a new upload each time that a creation is repeated."""
    uploads.request_key_of = lambda creation, owner: None  # type: ignore[attr-defined]


# The name of each mistake, what makes it, and the kinds of rounds that must find it.
MUTANTS: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {
    "the hook's rows are committed before the upload is saved": (_hook_before_save, ("finishing",)),
    "the hook is called after the upload is saved": (_hook_after_save, ("finishing",)),
    "an interrupted on_complete is not made up for": (_finishing_is_forgotten, ("finishing",)),
    "an interrupted on_create is not made up for": (_creation_is_forgotten, ("creating",)),
    "the lease of a dead process is waited for": (_dead_are_respected, ("finishing",)),
    "progress is not noted beside the bytes": (_progress_is_not_noted, ("receiving",)),
    "the record is removed before the bytes": (_record_before_bytes, ("deleting",)),
    "an interrupted removal is not made up for": (_removal_is_forgotten, ("deleting",)),
    "a chunk is recorded before it is written": (_chunk_before_bytes, ("chunks",)),
    "a repeated creation makes a second upload": (_keys_are_forgotten, ("creating",)),
}


def make_mistake(name: str | None) -> None:
    """Make a mistake in this process and its forks, or none."""
    if name:
        MUTANTS[name][0]()

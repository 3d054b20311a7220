"""Moves a finished upload while ``on_complete`` runs.

The bytes stay in both places until the record says which one is right, and only then the other copy is removed. After a
crash or a failed hook the record still points to existing bytes, and the move can be repeated.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from ..core import upload as rules
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import ClaimLost
from ..errors import Unavailable
from ..errors import UploadLocked
from ..errors import UploadNotFound
from ..interfaces import StateRepository
from ..interfaces import Storage
from ..interfaces.capabilities import Moves
from .claims import ClaimedUpload
from .claims import Clock

logger = logging.getLogger(__package__)

Target = str | os.PathLike[str]


class _Completion:
    """An upload whose ``on_complete`` is running. ``notes`` are saved when the hook returns, as they are by then."""

    def __init__(self, storage: Moves, upload: Upload) -> None:
        self.notes = dict(upload.storage)
        self.upload = replace(upload, storage=self.notes)
        self.moved_to: Target | None = None
        self._storage = storage

    def move(self, target: Target, *, overwrite: bool) -> None:
        stored = self._storage.move(self.upload, target, overwrite=overwrite)
        moved = dict(rules.with_storage(self.upload, stored).storage)  # a copy: this may be the notes themselves
        self.notes.clear()
        self.notes.update(moved)
        self.moved_to = target


_running: ContextVar[_Completion | None] = ContextVar("resumable_completion", default=None)


def move(upload: Upload, target: Target, *, overwrite: bool) -> Upload:
    """Move the bytes of an upload, and return the upload with their new place.

    :raises RuntimeError: ``on_complete`` is not running for this upload, or its storage cannot move uploads.
    """
    completion = _running.get()
    if completion is None or completion.upload.id != upload.id:
        raise RuntimeError(
            "upload.move_to() only works in on_complete, for the upload that the hook was called with, and only if "
            "its storage can move uploads."
        )
    completion.move(target, overwrite=overwrite)
    return replace(upload, storage=dict(completion.notes))


class Mover:
    """Allows ``on_complete`` to move its upload, and afterwards removes the copy that is not needed."""

    def __init__(self, repository: StateRepository, storage: Storage, now: Clock) -> None:
        self._repository = repository
        self._storage = storage.capabilities.moves
        self._now = now

    @contextmanager
    def completing(self, claimed: ClaimedUpload, done: Upload) -> Iterator[Upload]:
        """Yield the upload to save after the hook returns, which must happen within the context.

        Its ``storage`` may change until then.
        """
        if self._storage is None:
            yield done
            return
        completion = _Completion(self._storage, done)
        token = _running.set(completion)
        try:
            yield completion.upload
        except BaseException:
            if completion.moved_to is not None:
                self._abandon(self._storage, claimed, done)
            raise
        finally:
            _running.reset(token)
        if completion.moved_to is not None:
            self._settle(self._storage, completion.upload, completion.moved_to)

    def _settle(self, storage: Moves, moved: Upload, target: Target) -> None:
        try:
            current = self._repository.get(moved.id)
            if not current.is_same(moved):
                raise UploadNotFound(moved.id)
            if current.storage != moved.storage:  # the hook committed before it moved the upload
                storage.move(current, target, overwrite=True)
                place = rules.only_for(moved, lambda upload: _placed(upload, moved))
                self._repository.amend(moved.id, place, now=self._now())
            storage.settle_moves(moved)
        except UploadNotFound:  # removed by another request
            self._quietly(storage, moved)
        except (UploadLocked, Unavailable):
            logger.exception("Upload %s exists in two places; delete_expired removes the extra copy.", moved.id)

    def _abandon(self, storage: Moves, claimed: ClaimedUpload, done: Upload) -> None:
        """Remove the moved copy after the hook or its commit failed, unless another request has taken over."""
        try:
            current = self._repository.get(done.id)
            if not current.is_same(done):
                raise UploadNotFound(done.id)
            if current.status is Status.FINISHING:
                claimed.renew()  # fails if another request took over: its hook may have moved it to the same place
                storage.settle_moves(done)
            elif current.status is Status.COMPLETE:  # the commit succeeded, but its result was lost
                storage.settle_moves(current)
        except (ClaimLost, UploadNotFound):
            pass
        except Unavailable:
            logger.exception("Upload %s exists in two places until its on_complete is called again.", done.id)

    @staticmethod
    def _quietly(storage: Moves, moved: Upload) -> None:
        try:
            storage.delete(moved)
        except Unavailable:
            logger.exception("Upload %s was removed, but some of its bytes were not.", moved.id)


def _placed(upload: Upload, moved: Upload) -> Upload:
    return replace(upload, storage=moved.storage) if upload.status is Status.COMPLETE else upload

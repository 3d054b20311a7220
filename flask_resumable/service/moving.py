"""Putting a finished upload elsewhere, while ``on_complete`` runs.

The bytes are in both places until the record says which is theirs; only then the other one goes. So a crash, or a hook
that fails, leaves them where the record looks for them, and moving may be repeated.
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
    """An upload whose ``on_complete`` is running. ``notes`` are saved when that returns, as they are by then."""

    def __init__(self, storage: Moves, upload: Upload) -> None:
        self.notes = dict(upload.storage)
        self.upload = replace(upload, storage=self.notes)
        self.moved_to: Target | None = None
        self._storage = storage

    def move(self, target: Target, *, overwrite: bool) -> None:
        stored = self._storage.move(self.upload, target, overwrite=overwrite)
        moved = dict(rules.with_storage(self.upload, stored).storage)  # which may be the notes themselves
        self.notes.clear()
        self.notes.update(moved)
        self.moved_to = target


_running: ContextVar[_Completion | None] = ContextVar("resumable_completion", default=None)


def move(upload: Upload, target: Target, *, overwrite: bool) -> Upload:
    """Put the bytes of the upload whose ``on_complete`` is running elsewhere; the upload, which tells where.

    :raises RuntimeError: It is not running, or the upload's storage moves nothing.
    """
    completion = _running.get()
    if completion is None or completion.upload.id != upload.id:
        raise RuntimeError(
            "upload.move_to() works in on_complete, for the upload that this is called with, if its storage moves "
            "uploads."
        )
    completion.move(target, overwrite=overwrite)
    return replace(upload, storage=dict(completion.notes))


class Mover:
    """Lets ``on_complete`` move its upload, and settles afterwards where the bytes are."""

    def __init__(self, repository: StateRepository, storage: Storage, now: Clock) -> None:
        self._repository = repository
        self._storage = storage.capabilities.moves
        self._now = now

    @contextmanager
    def completing(self, claimed: ClaimedUpload, done: Upload) -> Iterator[Upload]:
        """What is to be saved when the hook has returned, which must happen in the block.

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
            if current.storage != moved.storage:  # the hook had committed before it moved
                storage.move(current, target, overwrite=True)
                self._repository.amend(moved.id, lambda upload: _placed(upload, moved), now=self._now())
            storage.settle_moves(moved)
        except UploadNotFound:  # it was removed just now
            self._quietly(storage, moved)
        except (UploadLocked, Unavailable):
            logger.exception("Upload %s is in two places; delete_expired removes the one that is not needed.", moved.id)

    def _abandon(self, storage: Moves, claimed: ClaimedUpload, done: Upload) -> None:
        """The hook failed, or its commit did: back to where the bytes were published, unless somebody else decides."""
        try:
            current = self._repository.get(done.id)
            if current.status is Status.FINISHING:
                claimed.renew()  # or it is another request's by now, whose hook may have moved them to the same place
                storage.settle_moves(done)
            elif current.status is Status.COMPLETE:  # the commit got through, and only its answer was lost
                storage.settle_moves(current)
        except (ClaimLost, UploadNotFound):
            pass
        except Unavailable:
            logger.exception("Upload %s is in two places until its on_complete is repeated.", done.id)

    @staticmethod
    def _quietly(storage: Moves, moved: Upload) -> None:
        try:
            storage.delete(moved)
        except Unavailable:
            logger.exception("Upload %s was removed, but not all of its bytes.", moved.id)


def _placed(upload: Upload, moved: Upload) -> Upload:
    return replace(upload, storage=moved.storage) if upload.status is Status.COMPLETE else upload

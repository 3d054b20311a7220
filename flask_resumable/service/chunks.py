"""Chunks that arrive side by side, in any order, from several processes: what flow.js asks of uploads.

Nobody waits for another's body or disk. What is serialised is the commit, by a conditional update; what is exclusive is
the place of one chunk. Whichever commit makes the upload whole goes on to finish it, and nobody else does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from ..core import upload as rules
from ..core.ranges import ChunkSpan
from ..core.upload import Limits
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import ClaimLost
from ..errors import UploadExpired
from ..errors import UploadNotFound
from ..interfaces.chunks import IncomingChunk
from ..interfaces.chunks import PlacesChunks
from .client_keys import Keys
from .client_keys import patiently
from .uploads import UploadService

LEAST_IN_PLACE = 64 * 1024  # bytes of a chunk that is put in its place as it comes; smaller ones come at once


class ChunkService:
    """Store and cancel."""

    def __init__(self, service: UploadService, keys: Keys, storage: PlacesChunks) -> None:
        self._service = service
        self._keys = keys
        self._repository = service.repository
        self._storage = storage

    def let_go(self) -> None:
        """Hold no connection of the app's while a body is read."""
        self._repository.let_go()

    def spool(self) -> BinaryIO:
        """Room for a chunk on its way."""
        self.let_go()
        return self._storage.spool()

    def store(self, upload: Upload, chunk: ChunkSpan, content: BinaryIO, limits: Limits) -> Upload:
        """Place a chunk that was received whole; the upload with it, complete if it has all its bytes.

        :raises UploadNotFound: The upload was cancelled meanwhile.
        :raises UploadExpired: Its time was over meanwhile; the chunk belongs to a new one.
        :raises UploadLocked: Another request completes it, and takes too long.
        """
        if not _is_wanted(upload, chunk):
            return self._told(upload, chunk)
        self._service.call_hook("pre_save", upload)
        self._repository.let_go()

        def place() -> tuple[Upload, bool]:
            with self._storage.placing(upload, chunk.number, chunk.start) as slot:
                # Only now is it certain that nobody else is putting these bytes there.
                current = self._repository.get(upload.id)
                is_wanted = _is_wanted(current, chunk)
                if is_wanted:
                    slot.fill(content)
                    current = self._commit(upload.id, chunk, limits, known=current)
                return current, is_wanted

        return self._stored(upload, chunk, place)

    def receive(self, upload: Upload, chunk: ChunkSpan) -> IncomingChunk | None:
        """Where to put a chunk while it comes in; ``None``: it must be received whole before, or is not wanted."""
        if not _is_wanted(upload, chunk) or chunk.size < LEAST_IN_PLACE:
            return None
        self._repository.let_go()
        incoming = self._storage.receiving(upload, chunk.number, chunk.start, chunk.size)
        if incoming is None:
            return None
        try:
            if incoming.is_first or self._is_missing(upload, chunk):
                self._service.call_hook("pre_save", upload)
                self._repository.let_go()
                return incoming
        except BaseException:
            incoming.close()
            raise
        incoming.withdraw()
        return None

    def _is_missing(self, upload: Upload, chunk: ChunkSpan) -> bool:
        """Whether a chunk still is, though others may have been here since the record was read."""
        try:
            current = self._repository.get(upload.id)
        except UploadNotFound:
            return False
        return _is_wanted(current, chunk)

    def settle(self, upload: Upload, chunk: ChunkSpan, incoming: IncomingChunk, limits: Limits) -> Upload:
        """The upload with a chunk that has come in whole. Raises as ``store``, and:

        :raises ClaimLost: A later request with the same chunk has taken over, and is not done.
        """

        def settle() -> tuple[Upload, bool]:
            with incoming.settling():
                return self._commit(upload.id, chunk, limits), True

        return self._stored(upload, chunk, settle)

    def _stored(self, upload: Upload, chunk: ChunkSpan, act: Callable[[], tuple[Upload, bool]]) -> Upload:
        """What ``act`` has made of the upload, and whether it did; or what others have made of it meanwhile."""
        try:
            current, has_stored = act()
        except (ClaimLost, UploadNotFound, UploadExpired):
            self._service.discard_stray(upload)
            return self._told(self._keys.current(upload), chunk)
        if current.status not in (Status.ACTIVE, Status.FINISHING):
            self._service.discard_stray(upload)  # its fence was just put up again
        elif has_stored:
            self._service.call_hook("post_save", current)
        return self._told(current, chunk)

    def _told(self, upload: Upload, chunk: ChunkSpan) -> Upload:
        """What a client hears that has sent a chunk: the upload that has it, and that stays."""
        completed = self._keys.completed(upload)
        if completed.status is Status.COMPLETE:
            return completed
        present = self._keys.present(completed)
        if present is None or present.client_key is None:
            raise UploadExpired
        if present.status is Status.ACTIVE and not present.received.has(chunk):
            raise ClaimLost
        return present

    def cancel(self, upload: Upload, *, owner: str | None) -> None:
        """Remove the upload, and refuse what comes late for a while."""
        self._service.delete(upload.id, owner=owner)

    def _commit(self, upload_id: str, chunk: ChunkSpan, limits: Limits, *, known: Upload | None = None) -> Upload:
        def add(upload: Upload) -> Upload:
            if upload.status is not Status.ACTIVE:
                return upload
            now = self._service.now()
            more = rules.settle(rules.advance(upload, chunk.start, chunk.stop, limits, now, unit=chunk.unit))
            if upload.client_key is None or more.is_expired(now):
                raise UploadExpired  # others have begun anew, or are about to
            return more

        return patiently(lambda: self._repository.amend(upload_id, add, now=self._service.now(), known=known))


def _is_wanted(upload: Upload, chunk: ChunkSpan) -> bool:
    return upload.status is Status.ACTIVE and not upload.received.has(chunk)

"""Chunks that arrive side by side, in any order, from several processes: what flow.js asks of uploads.

Nobody waits for another's body or disk. What is serialised is the commit, by a conditional update; what is exclusive is
the place of one chunk. Whichever commit makes the upload whole goes on to finish it, and nobody else does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import BinaryIO

from .abilities import IncomingChunk
from .abilities import PlacesChunks
from .abilities import ReceivesChunks
from .errors import ClaimLost
from .errors import RemovalRefused
from .errors import UploadExists
from .errors import UploadLocked
from .errors import UploadNotFound
from .sansio import upload as rules
from .sansio.ranges import ChunkSpan
from .sansio.upload import Creation
from .sansio.upload import Limits
from .sansio.upload import Status
from .sansio.upload import Upload
from .service import UploadService

LEAST_IN_PLACE = 64 * 1024  # bytes of a chunk that is put in its place as it comes; smaller ones come at once
PATIENCE = 40.0  # seconds that a request waits for another: longer than the lease of one that has died
_POLL = 0.02  # seconds


class ChunkService:
    """Find, test, store and cancel, by the key that the client has chosen.

    :param remembered: How long a finished upload is still found by its key, for clients that lost the last answer.
    :param tombstone: How long a cancelled one refuses chunks that come late.
    """

    def __init__(
        self, service: UploadService, storage: PlacesChunks, *, remembered: timedelta, tombstone: timedelta
    ) -> None:
        self._service = service
        self._repository = service.repository
        self._storage = storage
        self._in_place = storage if isinstance(storage, ReceivesChunks) else None
        self._remembered = remembered
        self._tombstone = tombstone

    def let_go(self) -> None:
        """Hold no connection of the app's while a body is read."""
        self._repository.let_go()

    def spool(self) -> BinaryIO:
        """Room for a chunk on its way."""
        self.let_go()
        return self._storage.spool()

    def look(self, key: str) -> Upload | None:
        """The upload as far as it is, for a client that asks what it still has to send. Creates nothing.

        :raises UploadNotFound: It was cancelled a moment ago.
        """
        try:
            upload = self._repository.find(key)
        except UploadNotFound:
            return None
        if self._is_over(upload):
            return None
        if upload.status in (Status.DELETING, Status.GONE):
            raise UploadNotFound(upload.id)
        return self._finished(upload)

    def prepare(self, creation: Creation, *, owner: str | None, limits: Limits) -> Upload:
        """The upload for a chunk that is coming: the one that is there, or a new one.

        :raises UploadNotFound: It was cancelled a moment ago.
        :raises UploadRejected: ``on_create`` refused.
        :raises UploadLocked: Another request creates it, and takes too long.
        """
        assert creation.key is not None
        if creation.length == 0:
            limits = replace(limits, expiration=self._remembered)  # finished as soon as it is there
        return self._patiently(lambda: self._found_or_made(creation, owner, limits))

    def _found_or_made(self, creation: Creation, owner: str | None, limits: Limits) -> Upload:
        try:
            upload = self._repository.find(creation.key or "")
        except UploadNotFound:
            try:
                return self._service.create(creation, owner=owner, limits=limits)
            except UploadExists:  # the first chunks of a file come together
                raise UploadLocked from None
        if self._is_over(upload):
            self._forget(upload)
            raise UploadLocked
        if upload.status in (Status.DELETING, Status.GONE):
            raise UploadNotFound(upload.id)
        if upload.status is not Status.NEW:
            return self._finished(upload)
        try:
            return self._service.make_up(upload.id)
        except UploadNotFound:  # refused and removed, just now; this chunk asks for itself
            raise UploadLocked from None

    def store(self, upload: Upload, chunk: ChunkSpan, content: BinaryIO, limits: Limits) -> Upload:
        """Place a chunk that was received whole; the upload with it.

        :raises UploadNotFound: The upload was removed meanwhile.
        """
        if not _is_wanted(upload, chunk):
            return self._finished(upload)
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
        if self._in_place is None or not _is_wanted(upload, chunk) or chunk.size < LEAST_IN_PLACE:
            return None
        self._repository.let_go()
        incoming = self._in_place.receiving(upload, chunk.number, chunk.start, chunk.size)
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
        """The upload with a chunk that has come in whole.

        :raises UploadNotFound: The upload was removed meanwhile.
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
        except (ClaimLost, UploadNotFound):
            self._service.discard_stray(upload)
            current = self._repository.get(upload.id)
            is_stored = current.status is Status.ACTIVE and current.received.has(chunk)
            return current if is_stored else self._overtaken(current)
        if current.status not in (Status.ACTIVE, Status.FINISHING):
            self._service.discard_stray(upload)  # its fence was just put up again
            return self._overtaken(current)
        if has_stored:
            self._service.call_hook("post_save", current)
        return self._finished(current)

    def _overtaken(self, upload: Upload) -> Upload:
        """The answer to a chunk whose upload was finished or removed by others, while it was being placed.

        :raises UploadNotFound: It was removed.
        """
        if upload.status in (Status.DELETING, Status.GONE):
            raise UploadNotFound(upload.id)
        if upload.status is Status.ACTIVE:
            raise ClaimLost
        return self._finished(upload)

    def cancel(self, upload: Upload, *, owner: str | None) -> None:
        """Remove the upload, and refuse what comes late for a while."""
        self._service.delete(upload.id, owner=owner, remembered_for=self._tombstone)

    def _commit(self, upload_id: str, chunk: ChunkSpan, limits: Limits, *, known: Upload | None = None) -> Upload:
        def add(upload: Upload) -> Upload:
            if upload.status is not Status.ACTIVE:
                return upload
            now = self._service.now()
            more = rules.settle(rules.advance(upload, chunk.start, chunk.stop, limits, now, unit=chunk.unit))
            return replace(more, expires_at=now + self._remembered) if more.status is Status.FINISHING else more

        return self._patiently(lambda: self._repository.amend(upload_id, add, now=self._service.now(), known=known))

    def _finished(self, upload: Upload) -> Upload:
        """The upload, brought to its end if it waits for that and nobody is at it."""
        # Or it is an empty file, whose creation was interrupted.
        is_due = upload.status in (Status.NEW, Status.ACTIVE) and upload.is_whole
        if upload.status is not Status.FINISHING and not is_due:
            return upload
        try:
            return self._service.make_up(upload.id)
        except UploadLocked:
            return self._repository.get(upload.id)

    def _is_over(self, upload: Upload) -> bool:
        """Whether its key is free for another: it has expired, or been remembered for long enough."""
        now = self._service.now()
        if upload.status in (Status.COMPLETE, Status.GONE):
            return upload.expires_at is not None and upload.expires_at <= now
        if upload.status is Status.DELETING:
            return not upload.is_claimed(now)  # half removed, and whoever did it is gone
        return upload.is_expired(now) and not upload.is_claimed(now)

    def _forget(self, upload: Upload) -> None:
        """Free the key. A finished upload stays, and is from now on known by its id alone."""
        if upload.status is Status.COMPLETE:
            return self._free_key(upload)
        try:
            with suppress(UploadNotFound), self._service.holding(upload.id) as hold:
                if self._is_over(replace(hold.upload, claimed_until=None)):
                    self._service.remove(hold)
        except RemovalRefused:  # something of the app's refers to it, which is no reason to refuse the file
            self._free_key(upload)

    def _free_key(self, upload: Upload) -> None:
        self._repository.amend(upload.id, lambda current: replace(current, key=None), now=self._service.now())

    def _patiently(self, act: Callable[[], Upload]) -> Upload:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return act()
            except UploadLocked:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_POLL)


def _is_wanted(upload: Upload, chunk: ChunkSpan) -> bool:
    return upload.status is Status.ACTIVE and not upload.received.has(chunk)

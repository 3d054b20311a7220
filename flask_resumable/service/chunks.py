"""Chunks that arrive side by side, in any order, from several processes: what flow.js asks of uploads.

Nobody waits for another's body or disk. What is serialised is the commit, by a conditional update; what is exclusive is
the place of one chunk. Whichever commit makes the upload whole goes on to finish it, and nobody else does.
"""

from __future__ import annotations

from typing import BinaryIO
from typing import cast
from typing import Protocol

from ..core import upload as rules
from ..core.ranges import ChunkSpan
from ..core.upload import ChunkWrite
from ..core.upload import Limits
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import ClaimLost
from ..errors import UploadExpired
from ..errors import UploadNotFound
from ..interfaces import Piped
from ..interfaces.chunks import IncomingChunk
from ..interfaces.chunks import PlacesChunks
from .client_keys import Keys
from .client_keys import patiently
from .uploads import UploadService

LEAST_IN_PLACE = 64 * 1024  # bytes of a chunk that is put in its place as it comes; smaller ones come at once
_OVERTAKEN = (ClaimLost, UploadNotFound, UploadExpired)


class ChunkTransfer(Protocol):
    """One chunk on its way into its upload: write all of it, then finish; close it in any case."""

    room: int  # bytes that may still come unseen, as ``Piped``; 0: what comes is looked at, and kept as it is
    is_kept: bool  # whether the content is still at hand: it may turn out to belong elsewhere

    def write(self, block: bytes | memoryview | Piped) -> None:
        """Take the next block."""
        ...

    def finish(self, wish: ChunkWrite) -> Upload:
        """The upload with the chunk; complete if it has all its bytes.

        :param wish: What it was begun with; where it is kept, it may be another.
        :raises UploadNotFound: The upload was cancelled meanwhile.
        :raises UploadExpired: Its time was over meanwhile; the chunk belongs to a new one.
        :raises UploadLocked: Another request completes it, and takes too long.
        :raises ClaimLost: A later request with the same chunk has taken over, and is not done.
        """
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class ChunkService:
    """Store and cancel."""

    def __init__(self, service: UploadService, keys: Keys, storage: PlacesChunks) -> None:
        self._service = service
        self._keys = keys
        self._repository = service.repository
        self._storage = storage

    def release_connection(self) -> None:
        """Hold no connection of the app's while a body is read."""
        self._repository.release_connection()

    def cancel(self, upload: Upload, *, owner: str | None) -> None:
        """Remove the upload, and refuse what comes late for a while."""
        self._service.delete(upload.id, owner=owner)

    # --- a chunk, step by step ---

    def begin(self, wish: ChunkWrite, owner: str | None, limits: Limits, *, in_place: bool) -> ChunkTransfer:
        """Find the upload, or create it, and make room for the chunk.

        :param in_place: Whether the chunk may be in its place before all of it has come.
        :raises UploadNotFound: The upload was cancelled a moment ago, or refused.
        :raises UploadRejected: ``on_create`` or ``pre_save`` refuses.
        :raises UploadLocked: Another request creates the upload, or removes one that has expired, and takes too long.
        """
        upload, span, size = self.prepare(wish, owner, limits), wish.span, wish.span.size
        if size > 0 and upload.received.has(span):
            return _Skipped(self, upload)
        self._repository.release_connection()
        if in_place and size >= LEAST_IN_PLACE and upload.status is Status.ACTIVE:
            incoming = self._storage.receiving(upload, span.number, span.start, size)
            if incoming is not None and self._is_admitted(upload, span, incoming):
                return _InPlace(self, upload, incoming, size, limits)
        return _Spooled(self, self._storage.spool(), upload, owner, limits)

    def prepare(self, wish: ChunkWrite, owner: str | None, limits: Limits) -> Upload:
        """The upload that a chunk belongs to. Raises as :meth:`begin`."""
        return self._keys.prepare(wish.creation, owner=owner, limits=limits)

    def keep(self, owner: str | None, limits: Limits) -> ChunkTransfer:
        """Make room for a chunk of which nothing is known before all of it has come."""
        self._repository.release_connection()
        return _Spooled(self, self._storage.spool(), None, owner, limits)

    def _is_admitted(self, upload: Upload, span: ChunkSpan, incoming: IncomingChunk) -> bool:
        """Whether a chunk can be put in its place now; if not, ``incoming`` is closed."""
        try:
            is_missing = incoming.is_first or self._is_missing(upload, span)
            if is_missing:
                self._service.call_hook("pre_save", upload)
                self._repository.release_connection()
        except BaseException:
            incoming.close()
            raise
        if not is_missing:
            incoming.withdraw()
        return is_missing

    def _is_missing(self, upload: Upload, span: ChunkSpan) -> bool:
        """Whether a chunk still is, though others may have been here since the record was read."""
        try:
            current = self._repository.get(upload.id)
        except UploadNotFound:
            return False
        return _is_wanted(current, span)

    def place(self, upload: Upload, span: ChunkSpan, content: BinaryIO, limits: Limits) -> Upload:
        """Put a chunk that was received whole in its place."""
        if not _is_wanted(upload, span):
            return self.told(upload, span)
        self._service.call_hook("pre_save", upload)
        self._repository.release_connection()
        content.seek(0)
        try:
            with self._storage.placing(upload, span.number, span.start) as slot:
                # Only now is it certain that nobody else is putting these bytes there.
                current = self._repository.get(upload.id)
                is_wanted = _is_wanted(current, span)
                if is_wanted:
                    slot.fill(content)
                    current = self._commit(upload.id, span, limits, known=current)
        except _OVERTAKEN:
            return self._overtaken(upload, span)
        return self._stored(current, span, is_news=is_wanted)

    def record(self, upload: Upload, span: ChunkSpan, incoming: IncomingChunk, limits: Limits) -> Upload:
        """Make known that a chunk is in its place, all of it."""
        try:
            with incoming.settling():
                current = self._commit(upload.id, span, limits)
        except _OVERTAKEN:
            return self._overtaken(upload, span)
        return self._stored(current, span)

    def _commit(self, upload_id: str, span: ChunkSpan, limits: Limits, *, known: Upload | None = None) -> Upload:
        def add(upload: Upload) -> Upload:
            if upload.status is not Status.ACTIVE:
                return upload
            now = self._service.now()
            more = rules.finish_if_ready(rules.advance(upload, span.start, span.stop, limits, now, unit=span.unit))
            if upload.client_key is None or more.is_expired(now):
                raise UploadExpired  # others have begun anew, or are about to
            return more

        return patiently(lambda: self._repository.amend(upload_id, add, now=self._service.now(), known=known))

    def _stored(self, current: Upload, span: ChunkSpan, *, is_news: bool = True) -> Upload:
        if current.status not in (Status.ACTIVE, Status.FINISHING):
            self._service.discard_stray(current)  # its fence was just put up again
        elif is_news:
            self._service.call_hook("post_save", current)
        return self.told(current, span)

    def _overtaken(self, upload: Upload, span: ChunkSpan) -> Upload:
        """What others have made of the upload meanwhile."""
        self._service.discard_stray(upload)
        return self.told(self._keys.current(upload), span)

    def told(self, upload: Upload, span: ChunkSpan) -> Upload:
        """What a client hears that has sent a chunk: the upload that has it, and that stays."""
        completed = self._keys.completed(upload)
        if completed.status is Status.COMPLETE:
            return completed
        present = self._keys.present(completed)
        if present is None or present.client_key is None:
            raise UploadExpired
        if present.status is Status.ACTIVE and not present.received.has(span):
            raise ClaimLost
        return present


def _is_wanted(upload: Upload, span: ChunkSpan) -> bool:
    return upload.status is Status.ACTIVE and not upload.received.has(span)


class _Skipped:
    """A chunk that its upload has already: it is read past."""

    room = 0
    is_kept = False

    def __init__(self, chunks: ChunkService, upload: Upload) -> None:
        self._chunks = chunks
        self._upload = upload

    def write(self, block: bytes | memoryview | Piped) -> None:
        """There is nothing to be done."""

    def finish(self, wish: ChunkWrite) -> Upload:
        return self._chunks.told(self._upload, wish.span)

    def close(self) -> None:
        """There is nothing to be closed."""


class _Spooled:
    """A chunk that is received whole before it is placed.

    :param upload: Its upload, if that is known.
    """

    room = 0
    is_kept = True

    def __init__(
        self, chunks: ChunkService, content: BinaryIO, upload: Upload | None, owner: str | None, limits: Limits
    ) -> None:
        self._chunks = chunks
        self._content = content
        self._upload = upload
        self._owner = owner
        self._limits = limits

    def write(self, block: bytes | memoryview | Piped) -> None:
        self._content.write(cast(bytes, block))

    def finish(self, wish: ChunkWrite) -> Upload:
        upload = self._upload
        if upload is None or upload.client_key != wish.creation.client_key:
            upload = self._chunks.prepare(wish, self._owner, self._limits)
        try:
            return self._chunks.place(upload, wish.span, self._content, self._limits)
        except (UploadExpired, UploadNotFound):
            # It has gone while the chunk came in. Unless it left a tombstone, this is the first chunk of the next one.
            upload = self._chunks.prepare(wish, self._owner, self._limits)
            return self._chunks.place(upload, wish.span, self._content, self._limits)

    def close(self) -> None:
        self._content.close()


class _InPlace:
    """A chunk that is written to its place while it comes in."""

    is_kept = False

    def __init__(
        self, chunks: ChunkService, upload: Upload, incoming: IncomingChunk, size: int, limits: Limits
    ) -> None:
        self._chunks = chunks
        self._upload = upload
        self._incoming = incoming
        self._limits = limits
        self.room = size

    def write(self, block: bytes | memoryview | Piped) -> None:
        if not self.room:
            return
        try:
            if isinstance(block, Piped):
                self._incoming.write_piped(block)
            else:
                self._incoming.write(block)
        except ClaimLost:  # the end will show what others have made of the chunk
            self.room = 0
        else:
            self.room = max(0, self.room - len(block))

    def finish(self, wish: ChunkWrite) -> Upload:
        return self._chunks.record(self._upload, wish.span, self._incoming, self._limits)

    def close(self) -> None:
        self._incoming.close()

"""Stores chunks that arrive at the same time, in any order and in several processes, as flow.js sends them.

No request waits for the body or the disk of another one. Only commits are serialized, by conditional updates, and only
the place of one chunk is exclusive. The request whose commit makes the upload whole also finishes it.
"""

from __future__ import annotations

from functools import partial
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
from .progress import ArrivingChunk
from .progress import Progress
from .uploads import UploadService

LEAST_IN_PLACE = 64 * 1024  # bytes; smaller chunks arrive at once, and are received before they are placed
_OVERTAKEN = (ClaimLost, UploadNotFound, UploadExpired)


class ChunkTransfer(Protocol):
    """The transfer of one chunk. Write all of its content, then call :meth:`finish`, and always :meth:`close`."""

    @property
    def room(self) -> int:
        """How many of the next bytes may come as ``Piped``; 0 if they must be inspected and stay unchanged."""
        ...

    is_kept: bool  # whether the content can still be stored elsewhere

    @property
    def upload(self) -> Upload | None:
        """The upload, if it is known before all of the chunk has arrived."""
        ...

    def write(self, block: bytes | memoryview | Piped) -> None:
        """Accept the next block."""
        ...

    def finish(self, wish: ChunkWrite) -> Upload:
        """Record the chunk and return its upload, which is complete if it has all its bytes.

        :param wish: The write that this was begun with. If :attr:`is_kept`, it may be another one.
        :raises UploadNotFound: The upload was cancelled in the meantime.
        :raises UploadExpired: The upload expired in the meantime. The chunk belongs to a new one.
        :raises UploadLocked: Another request is completing the upload and takes too long.
        :raises ClaimLost: A later request with the same chunk has taken over and is not finished.
        """
        ...

    def close(self) -> None:
        """Release everything that this holds."""
        ...


class ChunkService:
    """Stores chunks, and cancels their uploads."""

    def __init__(self, service: UploadService, keys: Keys, storage: PlacesChunks) -> None:
        self._service = service
        self._keys = keys
        self._repository = service.repository
        self._storage = storage

    def release_connection(self) -> None:
        """Release the app's database connection, before a body is read."""
        self._repository.release_connection()

    def cancel(self, upload: Upload, *, owner: str | None) -> None:
        """Remove the upload, and refuse its late chunks for a while."""
        self._service.delete(upload.id, owner=owner)

    # --- a chunk, step by step ---

    def begin(self, wish: ChunkWrite, owner: str | None, limits: Limits, *, in_place: bool) -> ChunkTransfer:
        """Find or create the upload, and begin to store a chunk.

        :param in_place: Whether the chunk may be written to its place before all of it has arrived.
        :raises UploadNotFound: The upload was recently cancelled or refused.
        :raises UploadRejected: ``on_create`` or ``pre_save`` refused.
        :raises UploadLocked: Another request is creating the upload or removing an expired one, and takes too long.
        """
        upload, span, size = self.prepare(wish, owner, limits), wish.span, wish.span.size
        if upload.received.has(span):
            return _Skipped(self, upload)
        self._repository.release_connection()
        if in_place and size >= LEAST_IN_PLACE and upload.status is Status.ACTIVE:
            incoming = self._storage.receiving(upload, span.number, span.start, size)
            if incoming is not None and self._is_admitted(upload, span, incoming):
                return _InPlace(self, upload, incoming, size, limits)
        return _Spooled(self, self._storage.spool(), upload, owner, limits)

    def prepare(self, wish: ChunkWrite, owner: str | None, limits: Limits) -> Upload:
        """Return the upload that a chunk belongs to. Raises the same errors as :meth:`begin`."""
        return self._keys.prepare(wish.creation, owner=owner, limits=limits)

    def keep(self, owner: str | None, limits: Limits) -> ChunkTransfer:
        """Begin to store a chunk whose upload is not known before all of it has arrived."""
        self._repository.release_connection()
        return _Spooled(self, self._storage.spool(), None, owner, limits)

    def _is_admitted(self, upload: Upload, span: ChunkSpan, incoming: IncomingChunk) -> bool:
        """Whether a chunk may be written to its place now. If not, this closes ``incoming``."""
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
        """Whether a chunk is still missing, according to the current record."""
        try:
            return _is_wanted(self._keys.read(upload), span)
        except UploadNotFound:
            return False

    def place(self, upload: Upload, span: ChunkSpan, content: BinaryIO, limits: Limits) -> Upload:
        """Store a chunk that was received completely."""
        if not _is_wanted(upload, span):
            return self.told(upload, span)
        self._service.call_hook("pre_save", upload)
        self._repository.release_connection()
        content.seek(0)
        try:
            with self._storage.placing(upload, span.number, span.start) as slot:
                # Only now is it certain that no other request is writing these bytes.
                current = self._repository.get(upload.id)
                if not current.is_same(upload):
                    raise UploadNotFound(upload.id)
                is_wanted = _is_wanted(current, span)
                if is_wanted:
                    slot.fill(content)
                    current = self._commit(current, span, limits, known=current)
        except _OVERTAKEN:
            return self._overtaken(upload, span)
        return self._stored(current, span, is_news=is_wanted)

    def record(self, upload: Upload, span: ChunkSpan, incoming: IncomingChunk, limits: Limits) -> Upload:
        """Record a chunk that was written to its place."""
        try:
            with incoming.settling():
                current = self._commit(upload, span, limits)
        except _OVERTAKEN:
            return self._overtaken(upload, span)
        return self._stored(current, span)

    def _commit(self, to: Upload, span: ChunkSpan, limits: Limits, *, known: Upload | None = None) -> Upload:
        def add(upload: Upload) -> Upload:
            if upload.status is not Status.ACTIVE:
                return upload
            now = self._service.now()
            more = rules.advance(upload, span.start, span.stop, limits, now, unit=span.unit, requests=1)
            more = rules.finish_if_ready(more)
            if upload.client_key is None or more.is_expired(now):
                raise UploadExpired  # another request has created a new upload, or is about to
            return more

        add_to_it = rules.only_for(to, add)
        return patiently(partial(self._service.amend, to.id, add_to_it, known=known))

    def _stored(self, current: Upload, span: ChunkSpan, *, is_news: bool = True) -> Upload:
        if current.status not in (Status.ACTIVE, Status.FINISHING):
            self._service.discard_stray(current)  # this request has just created its fence again
        elif is_news:
            self._service.call_hook("post_save", current)
        return self.told(current, span)

    def _overtaken(self, upload: Upload, span: ChunkSpan) -> Upload:
        """Return the upload as other requests have left it."""
        self._service.discard_stray(upload)
        return self.told(self._keys.current(upload), span)

    def told(self, upload: Upload, span: ChunkSpan) -> Upload:
        """Return the upload to describe to a client that sent a chunk. It has the chunk, and has not expired."""
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
    """A chunk that its upload already has. Its content is discarded."""

    room = 0
    is_kept = False

    def __init__(self, chunks: ChunkService, upload: Upload) -> None:
        self._chunks = chunks
        self.upload = upload

    def write(self, block: bytes | memoryview | Piped) -> None:
        """Discard the block."""

    def finish(self, wish: ChunkWrite) -> Upload:
        return self._chunks.told(self.upload, wish.span)

    def close(self) -> None:
        """Do nothing."""


class _Spooled:
    """A chunk that is received completely before it is stored.

    :param upload: Its upload, or ``None`` if it is not known yet.
    """

    room = 0
    is_kept = True

    def __init__(
        self, chunks: ChunkService, content: BinaryIO, upload: Upload | None, owner: str | None, limits: Limits
    ) -> None:
        self._chunks = chunks
        self._content = content
        self.upload = upload
        self._owner = owner
        self._limits = limits

    def write(self, block: bytes | memoryview | Piped) -> None:
        self._content.write(cast(bytes, block))

    def finish(self, wish: ChunkWrite) -> Upload:
        upload = self.upload
        if upload is None or upload.client_key != wish.creation.client_key:
            upload = self._chunks.prepare(wish, self._owner, self._limits)
        try:
            return self._chunks.place(upload, wish.span, self._content, self._limits)
        except (UploadExpired, UploadNotFound):
            # The upload was removed meanwhile. Unless it left a tombstone, the chunk belongs to a new one.
            upload = self._chunks.prepare(wish, self._owner, self._limits)
            return self._chunks.place(upload, wish.span, self._content, self._limits)

    def close(self) -> None:
        self._content.close()


class _InPlace:
    """A chunk that is written to its place while it arrives."""

    is_kept = False

    def __init__(
        self, chunks: ChunkService, upload: Upload, incoming: IncomingChunk, size: int, limits: Limits
    ) -> None:
        self._chunks = chunks
        self.upload = upload
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
        except ClaimLost:  # finish() finds out what happened to the chunk
            self.room = 0
        else:
            self.room = max(0, self.room - len(block))

    def finish(self, wish: ChunkWrite) -> Upload:
        return self._chunks.record(self.upload, wish.span, self._incoming, self._limits)

    def close(self) -> None:
        self._incoming.close()


class ReportingChunkService(ChunkService):
    """Stores chunks, and tells ``on_progress`` how they arrive."""

    def __init__(self, service: UploadService, keys: Keys, storage: PlacesChunks, progress: Progress) -> None:
        super().__init__(service, keys, storage)
        self._progress = progress

    def begin(self, wish: ChunkWrite, owner: str | None, limits: Limits, *, in_place: bool) -> ChunkTransfer:
        transfer = super().begin(wish, owner, limits, in_place=in_place)
        if isinstance(transfer, _Skipped) or transfer.upload is None:
            return transfer
        return _Reported(transfer, self._progress.begin_chunk(transfer.upload))


def chunk_service(service: UploadService, keys: Keys, storage: PlacesChunks) -> ChunkService:
    """Return what stores chunks for the app."""
    if service.progress is None:
        return ChunkService(service, keys, storage)
    return ReportingChunkService(service, keys, storage, service.progress)


class _Reported:
    """A chunk whose arrival is reported to the app."""

    def __init__(self, transfer: ChunkTransfer, chunk: ArrivingChunk) -> None:
        self.is_kept = transfer.is_kept
        self.upload = transfer.upload
        self._transfer = transfer
        self._chunk = chunk

    @property
    def room(self) -> int:
        return self._transfer.room

    def write(self, block: bytes | memoryview | Piped) -> None:
        self._transfer.write(block)
        self._chunk.add(len(block))

    def finish(self, wish: ChunkWrite) -> Upload:
        upload = self._transfer.finish(wish)
        self._chunk.end(upload)
        return upload

    def close(self) -> None:
        self._chunk.end()
        self._transfer.close()

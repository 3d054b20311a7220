"""Calls ``on_progress`` while content arrives. Without such a hook, nothing of this exists."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from time import monotonic

from ..core import upload as rules
from ..core.ranges import ByteRanges
from ..core.replacing import replace
from ..core.upload import Limits
from ..core.upload import Upload
from ..core.upload import Write
from .claims import Clock

EVERY = 1.0  # minimum seconds between two calls for an upload
_MANY = 1000  # uploads


class Progress:
    """Reports the progress of uploads to the app, for each of them at most once a second in this process.

    :param call: Calls the hook. It must not leave a database connection in use.
    """

    def __init__(self, call: Callable[[Upload], object], now: Clock) -> None:
        self._call = call
        self._now = now
        self._lock = threading.Lock()
        self._called: dict[str, float] = {}  # by upload
        self._chunks: dict[str, _Chunks] = {}

    def report(self, upload: Upload, write: Write, position: int, limits: Limits) -> None:
        """Report that the content of ``write`` has reached ``position``, if that is due.

        When every byte has arrived, there is nothing to stop any more, and the other hooks follow.

        :raises UploadRejected: The app wants no more of it.
        """
        if position != upload.length and self._is_due(upload.id):
            self._call(rules.advance(upload, write.start, position, limits, self._now()))

    def _is_due(self, upload_id: str) -> bool:
        with self._lock:
            now = monotonic()
            if now - self._called.get(upload_id, -EVERY) < EVERY:
                return False
            if len(self._called) >= _MANY:
                self._called = {known: at for known, at in self._called.items() if now - at < EVERY}
            self._called[upload_id] = now
            return True

    # --- chunks, which arrive side by side ---

    def begin_chunk(self, upload: Upload) -> ArrivingChunk:
        """Count a chunk that begins to arrive, until it is closed."""
        with self._lock:
            chunks = self._chunks.setdefault(upload.id, _Chunks())
            chunks.recorded = max(chunks.recorded, upload.received.total)
            chunk = ArrivingChunk(self, upload)
            chunks.arriving.append(chunk)
        return chunk

    def report_chunk(self, chunk: ArrivingChunk) -> None:
        """Report the bytes of all chunks that have arrived, if that is due."""
        upload = chunk.upload
        with self._lock:
            chunks = self._chunks[upload.id]
            total = chunks.recorded + sum(one.size for one in chunks.arriving)
        if upload.length is None or total >= upload.length or not self._is_due(upload.id):
            return
        self._call(replace(upload, received=ByteRanges.prefix(total)))

    def end_chunk(self, chunk: ArrivingChunk, recorded: Upload | None) -> None:
        """Stop to count a chunk. From now on, it counts as the record says."""
        with self._lock:
            chunks = self._chunks.get(chunk.upload.id)
            if chunks is None or chunk not in chunks.arriving:
                return
            chunks.arriving.remove(chunk)
            if recorded is not None and recorded.id == chunk.upload.id:
                chunks.recorded = max(chunks.recorded, recorded.received.total)
            if not chunks.arriving:
                del self._chunks[chunk.upload.id]


class ArrivingChunk:
    """A chunk that is arriving."""

    def __init__(self, progress: Progress, upload: Upload) -> None:
        self.upload = upload
        self.size = 0  # bytes that have arrived
        self._progress = progress

    def add(self, size: int) -> None:
        """Count bytes, and report them if that is due. Raises ``UploadRejected``."""
        self.size += size
        self._progress.report_chunk(self)

    def end(self, recorded: Upload | None = None) -> None:
        """Stop to count. ``recorded`` is the upload that has the chunk."""
        self._progress.end_chunk(self, recorded)


@dataclass
class _Chunks:
    """The chunks of an upload that are arriving in this process, and how many bytes its record has besides."""

    recorded: int = 0
    arriving: list[ArrivingChunk] = field(default_factory=list)

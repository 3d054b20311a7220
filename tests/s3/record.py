"""One upload's record in memory, and requests that change it as the server does, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from typing import cast

from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import ClaimLost
from flask_resumable.interfaces import Writer
from flask_resumable.storage.multipart import MultipartStorage
from flask_resumable.storage.multipart.writer import MultipartWriter
from flask_resumable.testing.samples import an_upload

BLOCKS = 4  # in which a part is written


class Record:
    """What a database would say. It takes saves of the newest request only."""

    def __init__(self, length: int | None, number: int = 1, **changes: Any) -> None:
        self.upload = an_upload(number, length=length, **changes)
        self.fence = 0

    def save(self, upload: Upload, fence: int) -> None:
        """Save, unless a newer request has come."""
        if fence != self.fence:
            raise ClaimLost
        self.upload = upload

    def request(self, storage: MultipartStorage) -> Request:
        """A new request, which takes the upload over."""
        self.fence += 1
        return Request(self, storage, self.fence)

    def put(self, storage: MultipartStorage, content: bytes) -> None:
        """A request that brings content and ends as it should."""
        with self.request(storage) as request:
            request.send(content)
            request.end()

    def finish(self, storage: MultipartStorage) -> Upload:
        """Publish, and save that."""
        self.upload = replace(self.upload, storage=storage.finish(self.upload, self.fence), status=Status.COMPLETE)
        return self.upload

    def assemble(self, storage: MultipartStorage, parts: Sequence[Record]) -> None:
        """Fill it with others."""
        stored = storage.concatenate(self.upload, [part.upload for part in parts], self.fence)
        self.upload = replace(self.upload, storage=stored, received=ByteRanges.prefix(self.upload.length or 0))


class Request:
    """One request's writer. Leaving the ``with`` block without :meth:`end` is how a process dies."""

    def __init__(self, record: Record, storage: MultipartStorage, fence: int) -> None:
        self._record = record
        self._upload = record.upload
        self._start = record.upload.offset
        self._fence = fence
        self._opened: AbstractContextManager[Writer] = storage.writer(record.upload, self._start, fence)

    def __enter__(self) -> Request:
        self.writer = cast(MultipartWriter, self._opened.__enter__())
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._opened.__exit__(*exc_info)

    def send(self, content: bytes, *, counts: bool = True) -> None:
        """Write, and save when that is due."""
        step = max(1, self.writer._state.geometry.first // BLOCKS)
        for at in range(0, len(content), step):
            self.writer.write(content[at : at + step])
            if self.writer.is_due:
                self.save(counts=counts)

    def save(self, *, counts: bool = True) -> None:
        """Save what is durable."""
        self._save(*self.writer.checkpoint(counts=counts))
        self.writer.saved()

    def end(self) -> None:
        """All of it is here."""
        stored = self.writer.flush()
        self._save(self.writer._position - self._start, stored)

    def fail(self, *, counts: bool = True) -> None:
        """Something went wrong: save what can be saved."""
        self._save(*self.writer.conclude(counts=counts))

    def _save(self, size: int, stored: Any) -> None:
        received = ByteRanges.prefix(self._start + size)
        self._record.save(replace(self._upload, received=received, storage=stored), self._fence)

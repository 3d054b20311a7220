"""Bytes on a local disk.

Unfinished bytes lie in ``ROOT/.partial/<id>.part``, with the upload's fence beside them in ``<id>.lock``. Publishing
is a rename to the upload folder, or to the folder below it that the app has chosen. Of what clients say, nothing but an
id ever becomes a part of a path.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import suppress
from datetime import datetime
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import BinaryIO
from typing import cast

from ..abilities import IncomingChunk
from ..abilities import Slot
from ..errors import BytesLost
from ..errors import ClaimLost
from ..interfaces import Writer
from ..sansio.concat import ID_PATTERN
from ..sansio.place import Place
from ..sansio.upload import JSONObject
from ..sansio.upload import Upload
from .chunk_folder import ChunkFolder
from .fence import CLOSED
from .fence import Fence
from .files import closing_on_error
from .files import copy_range
from .files import sync_directory
from .files import translated
from .files import write_all
from .in_place import ChunkInPlace
from .inspection import inspect
from .leftovers import leftovers
from .spool import Spool
from .writing import LocalSlot
from .writing import LocalWriter
from .writing import sync

_BLOCK = 256 * 1024  # bytes


class LocalStorage:
    """Files in a folder. Several processes, and hosts that share a disk with working locks, may use one folder.

    :param directory: The upload folder; ``strftime`` patterns in it stand for the upload's time of creation, in UTC.
    :param chunks: Where flow.js chunks are kept until they are merged; without it they are placed in the file at once.
    :param durability: ``"none"``: what is reported survives the end of the process; ``"data"``: also a loss of power,
        for the contents; ``"full"``: and for names and sizes, at every step.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        durability: str = "data",
        chunks: ChunkFolder | None = None,
    ) -> None:
        self.root, self._pattern = _split(os.path.abspath(directory))
        self._work = self.root / ".partial"
        self._durability = durability
        self._merges = chunks is not None
        self._chunks = chunks or ChunkFolder(self._work)

    # --- writing ---

    def writer(self, upload: Upload, start: int, fence: int) -> AbstractContextManager[Writer]:
        return self._writer(upload, start, fence)

    @contextmanager
    def _writer(self, upload: Upload, start: int, number: int) -> Iterator[Writer]:
        with self._fenced(upload, number) as fence:
            with translated():
                descriptor = self._open_part(upload, create=start == 0)
            try:
                with translated():
                    size = os.fstat(descriptor).st_size
                if size < start:
                    raise BytesLost(size)
                yield LocalWriter(descriptor, fence, number, start, self._durability)
            finally:
                os.close(descriptor)

    def _open_part(self, upload: Upload, *, create: bool) -> int:
        try:
            return os.open(self._part(upload), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            if not create:
                raise BytesLost(0) from None
        descriptor = os.open(self._part(upload), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if self._durability == "full":
            sync_directory(self._work)
        return descriptor

    @contextmanager
    def _fenced(self, upload: Upload, number: int) -> Iterator[Fence]:
        """The upload's fence, raised to ``number``: from here on, writers with older claims write nothing."""
        fence = self._open_fence(upload)
        try:
            with translated():
                fence.raise_to(number)
            yield fence
        finally:
            fence.close()

    def _open_fence(self, upload: Upload) -> Fence:
        with translated():
            try:
                return Fence.open(self._lock(upload))
            except FileNotFoundError:
                self._work.mkdir(parents=True, exist_ok=True)
                return Fence.open(self._lock(upload))

    # --- chunks ---

    def layout(self, chunk_size: int, total_chunks: int) -> JSONObject:
        return {"chunk_size": chunk_size, "chunks": total_chunks} if self._merges else {}

    def spool(self) -> BinaryIO:
        with translated():
            self._work.mkdir(parents=True, exist_ok=True)
            return cast(BinaryIO, Spool(self._work))

    @contextmanager
    def placing(self, upload: Upload, number: int, start: int) -> Iterator[Slot]:
        fence = self._open_fence(upload)
        is_filled = False

        def fill(content: BinaryIO) -> None:
            nonlocal is_filled
            is_filled = True
            self._fill(upload, fence, number, start, content)

        try:
            with fence.alone_at(number):
                with translated():
                    fence.mark(number, secrets.token_bytes(8))  # who was putting the same chunk there stops
                yield LocalSlot(fill)
            if fence.is_new and not is_filled and "chunks" not in upload.storage:  # its own fence has gone: it is over
                with translated():
                    fence.take_down(self._part(upload))
        finally:
            fence.close()

    def receiving(self, upload: Upload, number: int, start: int, size: int) -> IncomingChunk | None:
        if "chunks" in upload.storage:
            return None
        fence = self._open_fence(upload)
        with closing_on_error(fence.close):
            open_file = partial(self._open_part, upload, create=True)
            return ChunkInPlace(self._part(upload), open_file, fence, number, start, size, self._durability)

    def _fill(self, upload: Upload, fence: Fence, number: int, start: int, content: BinaryIO) -> None:
        with translated(), fence.shared():
            if "chunks" in upload.storage:
                return self._chunks.store(upload, number, content, self._sync)
            descriptor = self._open_part(upload, create=True)
            try:
                while block := content.read(_BLOCK):
                    start += write_all(descriptor, block, start)
                self._sync(descriptor)
            finally:
                os.close(descriptor)

    def _sync(self, descriptor: int) -> None:
        sync(descriptor, self._durability)

    # --- finishing ---

    def finish(self, upload: Upload, fence: int) -> JSONObject:
        target = self._target(upload)
        if upload.is_partial:
            self._complete_part(upload)
            return {}
        with translated():
            is_published = target.exists()
        if not is_published:
            if "chunks" in upload.storage:
                self._merge(upload)
            else:
                self._complete_part(upload)
            with translated():
                target.parent.mkdir(parents=True, exist_ok=True)
                self._part(upload).replace(target)
                self._sync_names(target.parent, self._work)
                self._lock(upload).unlink(missing_ok=True)  # closed before: who has it open writes nothing any more
        else:
            self.discard_stray(upload)
        if "chunks" in upload.storage:
            with translated():
                self._chunks.finish(upload)
        return {"path": str(target.relative_to(self.root))}

    def _merge(self, upload: Upload) -> None:
        """Write the unfinished file anew from its chunks, with all that would still place one locked out."""
        with translated():
            self._chunks.check(upload)  # before the fence is closed: if one is lost, the upload goes on from there
        with self._fenced(upload, CLOSED), translated(), open(self._part(upload), "wb") as target:
            self._chunks.merge(upload, target)
            target.flush()
            self._sync(target.fileno())

    def _complete_part(self, upload: Upload) -> None:
        """Cut the unfinished file to its length and lock all writers out."""
        assert upload.length is not None
        with translated():
            if upload.length == 0:
                self._work.mkdir(parents=True, exist_ok=True)
            descriptor = self._open_part(upload, create=upload.length == 0)
        try:
            size = os.fstat(descriptor).st_size
            if size < upload.length:
                raise BytesLost(size)  # before the fence is closed: the upload goes on from there
            with self._fenced(upload, CLOSED), translated():
                if os.fstat(descriptor).st_size > upload.length:
                    os.ftruncate(descriptor, upload.length)  # content that failed its checksum lies behind the end
                self._sync(descriptor)
        finally:
            os.close(descriptor)

    def _sync_names(self, *directories: Path) -> None:
        if self._durability != "none":
            for directory in directories:
                sync_directory(directory)

    def concatenate(self, upload: Upload, parts: Sequence[Upload], fence: int) -> JSONObject:
        """Copy the parts together in the kernel, where that can be done."""
        with self._fenced(upload, fence) as held, translated():
            descriptor = self._open_part(upload, create=True)
            try:
                position = 0
                for part in parts:
                    with open(self._part(part), "rb") as source:
                        position = copy_range(source.fileno(), descriptor, position, part.length or 0)
                    held.check(fence)
                os.ftruncate(descriptor, position)
                self._sync(descriptor)
            finally:
                os.close(descriptor)
        return {}

    # --- reading and removing ---

    def open(self, upload: Upload) -> BinaryIO:
        with translated():
            return self.path(upload).open("rb")

    def path(self, upload: Upload) -> Path:
        published = upload.storage.get("path")
        return self.root / published if published else self._part(upload)

    def delete(self, upload: Upload) -> None:
        self.discard_stray(upload)
        with translated():
            # Its record may have been written before the rename was noted: look in both places.
            for path in {self.path(upload), self._target(upload)}:
                path.unlink(missing_ok=True)
            self._chunks.delete(upload)

    def discard_stray(self, upload: Upload) -> None:
        with translated():
            if self._lock(upload).exists():
                with suppress(ClaimLost):
                    fence = Fence.open(self._lock(upload))
                    try:
                        fence.raise_to(CLOSED)
                    finally:
                        fence.close()
            self._part(upload).unlink(missing_ok=True)
            self._lock(upload).unlink(missing_ok=True)

    def verify(self, upload: Upload) -> list[str]:
        """What is wrong with the upload's files, in plain words."""
        published = self.path(upload) if "path" in upload.storage else self._target(upload)
        with translated():
            return inspect(upload, part=self._part(upload), published=published, chunks=self._chunks)

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        yield from self._chunks.orphans(older_than.timestamp())
        yield from leftovers(self._work, older_than.timestamp())

    # --- paths ---

    def _part(self, upload: Upload) -> Path:
        return self._work / f"{_checked(upload.id)}.part"

    def _lock(self, upload: Upload) -> Path:
        return self._work / f"{_checked(upload.id)}.lock"

    def _target(self, upload: Upload) -> Path:
        folder = upload.created_at.astimezone(UTC).strftime(self._pattern) if self._pattern else ""
        return self.root / folder / Place.of(upload.storage).folder / _checked(upload.id)


def _split(directory: str) -> tuple[Path, str]:
    """The fixed part of an upload folder, and the part with ``strftime`` patterns."""
    fixed, percent, rest = directory.partition("%")
    if not percent:
        return Path(directory), ""
    root = fixed[: fixed.rindex(os.sep)] or os.sep
    return Path(root), directory[len(root) :].lstrip(os.sep)


def _checked(upload_id: str) -> str:
    # The last line of defence: whatever happened before, nothing but an id becomes a path.
    if not ID_PATTERN.fullmatch(upload_id):
        raise ValueError(f"{upload_id!r} is no upload id.")
    return upload_id

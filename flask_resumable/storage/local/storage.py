"""Stores bytes on a local disk.

Unfinished bytes are in ``ROOT/.partial/<id>.part``, next to the upload's fence, ``<id>.lock``. A finished file is
renamed into the upload folder, or into a folder below it that the app has chosen.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import closing
from contextlib import contextmanager
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO
from typing import cast

from ...core.health import CheckResult
from ...core.upload import JSONObject
from ...core.upload import Status
from ...core.upload import Upload
from ...errors import BytesLost
from ...errors import ClaimLost
from ...interfaces import StorageCapabilities
from ...interfaces import Writer
from ...interfaces.chunks import IncomingChunk
from ...interfaces.chunks import Slot
from ..file_io import file_errors
from ..file_io import write_all
from ..spool import Spool
from .chunk_folder import ChunkFolder
from .chunk_writer import ChunkInPlace
from .fence import CLOSED
from .fence import Fence
from .files import closing_on_error
from .files import copy_range
from .files import make_folders
from .files import publish
from .files import remove
from .files import size_of
from .files import sync_directory
from .files import sync_removals
from .health import check
from .moved import MovedFiles
from .orphans import orphans
from .paths import Paths
from .verify import inspect
from .writer import LocalSlot
from .writer import LocalWriter
from .writer import sync

_BLOCK = 256 * 1024  # in bytes


class LocalStorage:
    """Keeps uploads as files in a folder.

    Several processes can use one folder, and so can several hosts if they share a disk on which locks work::

        FlaskResumable(app, storage=LocalStorage("/srv/uploads/%Y-%m", durability="full"))

    :param directory: The upload folder. Pass an absolute path: unlike ``UPLOAD_DIR``, a relative one depends on the
        working directory. ``strftime`` patterns are replaced by the upload's time of creation in UTC.
    :param durability: What survives. ``"none"``: acknowledged bytes survive the end of the process; ``"data"``: they
        survive a power failure, too; ``"full"``: so do file names and sizes, at every step.
    :param chunks: A folder to keep flow.js chunks in until they are merged. By default, chunks are written straight
        into the file.
    :param min_free_space: How many bytes of the disk to leave free. Content that does not fit is refused before it is
        received. ``None``: the disk is not asked.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        durability: str = "data",
        chunks: ChunkFolder | None = None,
        min_free_space: int | None = 0,
    ) -> None:
        self._min_free_space = min_free_space
        self._paths = Paths(directory)
        self._durability = durability
        self._is_durable = durability != "none"
        self._merges = chunks is not None
        self._chunks = chunks or ChunkFolder(Path(self._paths.work))
        self._moved = MovedFiles(self._paths, is_durable=self._is_durable)
        self.capabilities = StorageCapabilities(
            chunks=self,
            concatenation=self,
            progress=self,
            moves=self,
            verification=self,
            space=None if min_free_space is None else self,
            health=self,
        )

    @property
    def root(self) -> Path:
        """The upload folder, up to the first part with a ``strftime`` pattern."""
        return Path(self._paths.root)

    # --- writing ---

    def writer(self, upload: Upload, start: int, fence: int) -> AbstractContextManager[Writer]:
        held = self._raised_fence(upload, fence, expect_new=start == 0, progress=start)
        with closing_on_error(held.close):
            with file_errors:
                descriptor = self._open_part(self._paths.part(upload), create=start == 0)
            with closing_on_error(partial(os.close, descriptor)), file_errors:
                size = os.fstat(descriptor).st_size
                if size < start:
                    raise BytesLost(size)
        return LocalWriter(descriptor, held, fence, start, self._durability)

    def _open_part(self, path: str, *, create: bool) -> int:
        if create and self._durability != "full":
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            if not create:
                raise BytesLost(0) from None
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        sync_directory(self._paths.work)
        return descriptor

    def progress(self, upload: Upload, *, durable: bool = True) -> int:
        with file_errors:
            writer, progress = Fence.progress(self._paths.lock(upload))
        if writer != upload.fence:
            return upload.offset
        return self._made_durable(upload, progress) if durable else max(progress, upload.offset)

    def recover(self, upload: Upload, fence: int) -> int:
        with file_errors:
            if not os.path.exists(self._paths.lock(upload)):
                return upload.offset
        self._raised_fence(upload, fence).close()
        with file_errors:
            _, progress = Fence.progress(self._paths.lock(upload))
        return self._made_durable(upload, progress)

    def lower_fence(self, upload: Upload, newest: Callable[[], int | None]) -> None:
        path = self._paths.lock(upload)
        with file_errors:
            if os.path.exists(path):
                with closing(Fence.open(path)) as fence:
                    fence.lower(upload.fence, newest)

    def _made_durable(self, upload: Upload, progress: int) -> int:
        """Make what was written as durable as the setting promises, and return the offset up to which it counts."""
        if progress <= upload.offset:
            return upload.offset
        with file_errors:
            try:
                descriptor = os.open(self._paths.part(upload), os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return upload.offset
            try:
                progress = min(progress, os.fstat(descriptor).st_size)
                self._sync(descriptor)
            finally:
                os.close(descriptor)
        return max(progress, upload.offset)

    def _raised_fence(
        self, upload: Upload, number: int, *, expect_new: bool = False, progress: int | None = None
    ) -> Fence:
        """Open the upload's fence and raise it to ``number``, so that writers with older claims cannot write."""
        fence = self._open_fence(upload, expect_new=expect_new)
        with closing_on_error(fence.close), file_errors:
            fence.raise_to(number, progress)
        return fence

    def _open_fence(self, upload: Upload, *, expect_new: bool = False) -> Fence:
        path = self._paths.lock(upload)
        with file_errors:
            try:
                return Fence.open(path, expect_new=expect_new)
            except FileNotFoundError:
                self._make_work()
                return Fence.open(path)

    def check(self, now: datetime, *, quick: bool) -> Iterator[CheckResult]:
        return check(self._paths, now, self._min_free_space)

    def free(self, upload: Upload) -> int | None:
        with file_errors:
            try:
                disk = os.statvfs(self._paths.work)
            except FileNotFoundError:
                self._make_work()
                disk = os.statvfs(self._paths.work)
        if not disk.f_blocks:  # some file systems have no size
            return None
        return disk.f_bavail * disk.f_frsize - (self._min_free_space or 0)

    def _make_work(self) -> None:
        make_folders(self._paths.work, is_durable=self._is_durable)

    # --- chunks ---

    def layout(self, chunk_size: int, total_chunks: int) -> JSONObject:
        return {"chunk_size": chunk_size, "chunks": total_chunks} if self._merges else {}

    def spool(self) -> BinaryIO:
        return cast(BinaryIO, Spool(self._paths.work))

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
                with file_errors:
                    fence.mark(number, secrets.token_bytes(8))  # an earlier request with this chunk stops
                yield LocalSlot(fill)
            if fence.is_new and not is_filled and "chunks" not in upload.storage:  # the fence was gone: it is over
                with file_errors:
                    fence.take_down(self._paths.part(upload))
        finally:
            fence.close()

    def receiving(self, upload: Upload, number: int, start: int, size: int) -> IncomingChunk | None:
        if "chunks" in upload.storage:
            return None
        fence = self._open_fence(upload)
        with closing_on_error(fence.close):
            path = self._paths.part(upload)
            open_file = partial(self._open_part, path, create=True)
            return ChunkInPlace(path, open_file, fence, number, start, size, self._durability)

    def _fill(self, upload: Upload, fence: Fence, number: int, start: int, content: BinaryIO) -> None:
        with file_errors, fence.shared():
            if "chunks" in upload.storage:
                return self._chunks.store(upload, number, content, self._sync, is_durable=self._is_durable)
            descriptor = self._open_part(self._paths.part(upload), create=True)
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
        if upload.is_partial:
            self._complete_part(upload)
            return {}
        name, target = self._paths.name(upload), self._paths.published(upload)
        with file_errors:
            is_published = os.path.exists(target)
        if is_published:
            self._remove_unfinished(upload)
        else:
            if "chunks" in upload.storage:
                self._merge(upload)
            else:
                self._complete_part(upload)
            with file_errors:
                publish(self._paths.part(upload), target, is_durable=self._is_durable)
                remove(self._paths.lock(upload))  # it was closed before: a late writer that has it open writes nothing
        if "chunks" in upload.storage:
            with file_errors:
                self._chunks.finish(upload, is_durable=self._is_durable)
        return {"path": name}

    def _merge(self, upload: Upload) -> None:
        """Write the unfinished file again from its chunks, with all chunk writers locked out."""
        with file_errors:
            self._chunks.check(upload)  # before the fence is closed, so that lost chunks can be sent again
        with closing(self._raised_fence(upload, CLOSED)), file_errors, open(self._paths.part(upload), "wb") as target:
            self._chunks.merge(upload, target)
            target.flush()
            self._sync(target.fileno())

    def _complete_part(self, upload: Upload) -> None:
        """Lock all writers out of the unfinished file, and make sure that it has its full length.

        Its bytes need no sync, because bytes count only after they were synced.
        """
        assert upload.length is not None
        part = self._paths.part(upload)
        with file_errors:
            if upload.length == 0:
                self._make_work()
                os.close(self._open_part(part, create=True))
            size = size_of(part) or 0
        if size < upload.length:
            raise BytesLost(size)  # before the fence is closed, so that the upload can continue from there
        with closing(self._raised_fence(upload, CLOSED)), file_errors:
            if os.stat(part).st_size > upload.length:  # content that failed its checksum lies after the end
                self._cut(part, upload.length)

    def _cut(self, part: str, length: int) -> None:
        descriptor = os.open(part, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, length)
            self._sync(descriptor)
        finally:
            os.close(descriptor)

    def concatenate(self, upload: Upload, parts: Sequence[Upload], fence: int) -> JSONObject:
        """Copy the parts, within the kernel if possible."""
        with closing(self._raised_fence(upload, fence)) as held, file_errors:
            descriptor = self._open_part(self._paths.part(upload), create=True)
            try:
                position = 0
                for part in parts:
                    with open(self._paths.part(part), "rb") as source:
                        position = copy_range(source.fileno(), descriptor, position, part.length or 0)
                    held.check(fence)
                os.ftruncate(descriptor, position)
                self._sync(descriptor)
            finally:
                os.close(descriptor)
        return {}

    # --- reading ---

    def open(self, upload: Upload) -> BinaryIO:
        with file_errors:
            try:
                return open(self._paths.current(upload), "rb")
            except FileNotFoundError:
                if self._may_be_published(upload):
                    return open(self._paths.published(upload), "rb")
                raise

    def path(self, upload: Upload) -> Path:
        current = self._paths.current(upload)
        if self._may_be_published(upload) and not os.path.exists(current):
            published = self._paths.published(upload)
            return Path(published if os.path.exists(published) else current)
        return Path(current)

    @staticmethod
    def _may_be_published(upload: Upload) -> bool:
        """Whether the file may be at its final place, although the record does not say so.

        It gets there before ``on_complete`` is called, and the record is saved after that.
        """
        return upload.is_whole and not upload.is_partial and "path" not in upload.storage

    # --- moving ---

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> JSONObject:
        return self._moved.move(upload, target, overwrite=overwrite)

    def settle_moves(self, upload: Upload) -> None:
        self._moved.settle(upload)

    # --- removing ---

    def delete(self, upload: Upload) -> None:
        self._remove_unfinished(upload)
        self._moved.forget(upload)
        with file_errors:
            # The record may be older than the rename, so look in both places.
            removed = [path for path in {self._paths.current(upload), self._paths.published(upload)} if remove(path)]
            if self._is_durable:
                sync_removals(removed)  # once the record is gone, nothing would find them
            self._chunks.delete(upload, is_durable=self._is_durable)

    def remove_orphans(self, upload: Upload) -> None:
        self._remove_unfinished(upload)
        if upload.status is Status.COMPLETE:
            self._moved.settle(upload)

    def _remove_unfinished(self, upload: Upload) -> None:
        lock = self._paths.lock(upload)
        with file_errors:
            if os.path.exists(lock):
                with suppress(ClaimLost), closing(Fence.open(lock)) as fence:
                    fence.raise_to(CLOSED)
            remove(self._paths.part(upload))
            remove(lock)

    def verify(self, upload: Upload) -> list[str]:
        """Describe what is wrong with the upload's files."""
        paths = self._paths
        published = paths.current(upload) if "path" in upload.storage else paths.published(upload)
        with file_errors:
            return inspect(upload, part=paths.part(upload), published=published, chunks=self._chunks)

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        seconds = older_than.timestamp()
        folders = dict(self._chunks.orphans(seconds))
        for name, remove_files in orphans(Path(self._paths.work), seconds):
            remove_folder = folders.pop(name, None)
            yield name, remove_files if remove_folder is None else partial(_freed, remove_folder, remove_files)
        yield from folders.items()


def _freed(*removals: Callable[[], int]) -> int:
    return sum(remove() for remove in removals)

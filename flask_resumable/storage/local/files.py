"""File operations that differ between systems: syncing, copying, and moving bytes within the kernel.

What a system supports is detected by looking for each function, because a Python that was built for an old Linux lacks
some of them, too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..file_io import write_all

_START_ONLY = 2  # SYNC_FILE_RANGE_WRITE
_COPY_STEP = 1 << 30  # the maximum number of bytes per call; the kernel may copy fewer
_COPY_BLOCK = 1 << 20  # bytes to copy at a time if the kernel cannot do it
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY)
_NOT_IN_KERNEL = (*_UNSUPPORTED, errno.EXDEV, errno.EPERM)
_TO_THE_PLATTER: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS


class closing_on_error:  # noqa: N801 - used like a function, such as those of contextlib
    """Call ``close`` if the block raises."""

    __slots__ = ("_close",)

    def __init__(self, close: Callable[[], object]) -> None:
        self._close = close

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._close()


def splice_all(pipe: int, size: int, descriptor: int, position: int) -> None:
    """Move the next ``size`` bytes from a pipe to ``position`` in a file, within the kernel if possible.

    :raises OSError: Bytes may be left in the pipe.
    """
    assert hasattr(os, "splice")  # else nobody has put anything into a pipe
    end = position + size
    while position < end:
        try:
            moved = os.splice(pipe, descriptor, end - position, offset_dst=position)
        except OSError as error:
            if error.errno not in _NOT_IN_KERNEL:
                raise
            moved = write_all(descriptor, os.read(pipe, min(end - position, _COPY_BLOCK)), position)
        if moved == 0:
            raise OSError(errno.EIO, "the pipe has less in it than was put there")
        position += moved


def _kernels_write_out() -> Callable[[int, int, int], object] | None:
    """Return Linux's ``sync_file_range``, which Python does not expose, or ``None`` if it is not available."""
    try:
        import ctypes

        call = ctypes.CDLL(None).sync_file_range
    except (ImportError, AttributeError, OSError, TypeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return lambda descriptor, start, size: call(descriptor, start, size, _START_ONLY)


_write_out = _kernels_write_out()


def begin_sync(descriptor: int, start: int, size: int) -> None:
    """Make the disk start to write these bytes, without waiting, so that a later sync is faster. Best effort."""
    if _write_out is not None:
        _write_out(descriptor, start, size)


def copy_range(source: int, target: int, position: int, size: int) -> int:
    """Copy the first ``size`` bytes of one file to ``position`` in another, within the kernel if possible.

    :return: The position after the copy.
    :raises OSError: Copying failed, or ``source`` is too short.
    """
    done = 0
    in_kernel = True
    while done < size:
        step = min(size - done, _COPY_STEP)
        if in_kernel and hasattr(os, "copy_file_range"):
            try:
                copied = os.copy_file_range(source, target, step, done, position + done)
            except OSError as error:
                if error.errno not in _NOT_IN_KERNEL:
                    raise
                in_kernel = False
                continue
        else:
            block = os.pread(source, min(step, _COPY_BLOCK), done)
            copied = write_all(target, block, position + done)
        if copied == 0:
            raise OSError(errno.EIO, "the file is shorter than its record says")
        done += copied
    return position + done


def size_of(path: str | Path) -> int | None:
    """Return the size of a file in bytes, or ``None`` if it does not exist or is not a regular file."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def copy_stream(source: BinaryIO, target: BinaryIO) -> None:
    """Copy the rest of one stream to another, in blocks of limited size."""
    shutil.copyfileobj(source, target, _COPY_BLOCK)


def remove(path: str) -> bool:
    """Remove a file if it exists. Return whether it did."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def make_folders(folder: str, *, is_durable: bool) -> None:
    """Create a folder and those above it, if needed.

    :param is_durable: Whether they must survive a power failure together with what is put there.
    """
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder) or os.curdir
    make_folders(parent, is_durable=is_durable)
    with suppress(FileExistsError):
        os.mkdir(folder)
    if is_durable:
        sync_directory(parent)


def publish(file: str, name: str, *, is_durable: bool) -> None:
    """Rename a file, and create the folder of the new name if needed. An existing file is replaced."""
    try:
        os.replace(file, name)
    except FileNotFoundError:
        make_folders(os.path.dirname(name), is_durable=is_durable)
        os.replace(file, name)
    if is_durable:
        sync_directory(os.path.dirname(name))


def sync_content(descriptor: int) -> None:
    """Make a file's bytes survive a power failure. Its timestamps may not."""
    if _TO_THE_PLATTER is None and hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        sync_file(descriptor)


def sync_file(descriptor: int) -> None:
    """Make a file, or the names in a folder, survive a power failure.

    On macOS, ``fsync`` leaves the bytes in the drive's own cache, which loses power as well. Only ``F_FULLFSYNC`` makes
    the drive write them. Network shares do not support that, so ``fsync`` has to do there.
    """
    if _TO_THE_PLATTER is not None:
        try:
            fcntl.fcntl(descriptor, _TO_THE_PLATTER)
            return
        except OSError as error:
            # After a failed sync, another one may report success although the bytes are lost.
            if error.errno not in _UNSUPPORTED:
                raise
    os.fsync(descriptor)


def sync_removals(paths: Iterable[str]) -> None:
    """Make it survive a power failure that these files were removed. Otherwise they may be back after it."""
    for folder in {os.path.dirname(path) for path in paths}:
        with suppress(FileNotFoundError):
            sync_directory(folder)


def sync_directory(path: str) -> None:
    """Make the names in a folder survive a power failure, if the file system supports that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_file(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:  # some network shares can only sync files
            raise
    finally:
        os.close(descriptor)

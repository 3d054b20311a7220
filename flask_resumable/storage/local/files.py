"""What the operating system's file calls leave to the caller, and what is done where one of them is missing.

Syncing, copying and moving bytes within the kernel differ between systems. What each has is found out here, by looking
for the call itself: a Python that was built for an old Linux lacks some of them, too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..file_io import write_all

_START_ONLY = 2  # SYNC_FILE_RANGE_WRITE
_COPY_STEP = 1 << 30  # bytes in one call; the kernel may do less
_COPY_BLOCK = 1 << 20  # bytes, where the kernel does not do it
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY)
_NOT_IN_KERNEL = (*_UNSUPPORTED, errno.EXDEV, errno.EPERM)
_TO_THE_PLATTER: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS


class closing_on_error:  # noqa: N801 - to be used as a function, like contextlib's
    """Give back what was opened, if it does not come to be used."""

    __slots__ = ("_close",)

    def __init__(self, close: Callable[[], object]) -> None:
        self._close = close

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._close()


def splice_all(pipe: int, size: int, descriptor: int, position: int) -> None:
    """Move the next ``size`` bytes out of a pipe to ``position`` in a file, within the kernel where that is possible.

    :raises OSError: Some of them may be left in the pipe.
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
    """Linux's ``sync_file_range``, which Python does not offer; ``None`` where it cannot be had."""
    try:
        import ctypes

        call = ctypes.CDLL(None).sync_file_range
    except (ImportError, AttributeError, OSError, TypeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return lambda descriptor, start, size: call(descriptor, start, size, _START_ONLY)


_write_out = _kernels_write_out()


def begin_sync(descriptor: int, start: int, size: int) -> None:
    """Let the disk begin to take these bytes, without waiting, so that a sync finds less to do. Promises nothing."""
    if _write_out is not None:
        _write_out(descriptor, start, size)


def copy_range(source: int, target: int, position: int, size: int) -> int:
    """Copy the first ``size`` bytes of one file to ``position`` in another, in the kernel where it can.

    :return: The position behind the copy.
    :raises OSError: Also if ``source`` is shorter.
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
            raise OSError(errno.EIO, "a part is shorter than its record says")
        done += copied
    return position + done


def size_of(path: str | Path) -> int | None:
    """How many bytes a file has; ``None`` if there is no such file."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def copy_stream(source: BinaryIO, target: BinaryIO) -> None:
    """Copy what is left of one stream to another, through bounded memory."""
    shutil.copyfileobj(source, target, _COPY_BLOCK)


def remove(path: str) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def publish(file: str, name: str) -> None:
    """Give a file another name, in a folder that is made if need be; whatever had that name is replaced."""
    try:
        os.replace(file, name)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(name), exist_ok=True)
        os.replace(file, name)


def sync_content(descriptor: int) -> None:
    """Make a file's bytes survive a loss of power; its times may be older then."""
    if _TO_THE_PLATTER is None and hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        sync_file(descriptor)


def sync_file(descriptor: int) -> None:
    """Make a file, or the names in a folder, survive a loss of power.

    On macOS, ``fsync`` leaves the bytes in the drive's own cache, which a loss of power empties. Only ``F_FULLFSYNC``
    asks the drive to write them. Network shares do not know it; for them, ``fsync`` is all there is.
    """
    if _TO_THE_PLATTER is not None:
        try:
            fcntl.fcntl(descriptor, _TO_THE_PLATTER)
            return
        except OSError as error:
            # After a sync that has failed, another one may report success for bytes that are gone.
            if error.errno not in _UNSUPPORTED:
                raise
    os.fsync(descriptor)


def sync_directory(path: str) -> None:
    """Make the names in a folder survive a loss of power, where the file system can be asked to."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_file(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:  # some network shares sync files alone
            raise
    finally:
        os.close(descriptor)

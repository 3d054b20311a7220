"""Kernel pipes that move content from a socket to a file without creating Python objects.

They are borrowed and returned instead of kept per thread, because greenlets share a thread. A new pipe for each request
would cost as much as it saves. Return a pipe while you wait for content: a user may have only 64 of this size.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from contextlib import suppress
from dataclasses import dataclass

# In bytes. A socket's buffer should fit: if some of it is left behind, the sender is held up again and again.
PIPE_SIZES = (1024 * 1024, 256 * 1024)
MIN_PIPED_SIZE = 64 * 1024  # bytes; for smaller pipes and bodies, reading is just as fast
MAX_SPARE_PIPES = 16
# Errors of kernels and sandboxes that do not support splice.
REFUSALS = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP)
# Only Linux supports this. Elsewhere, content is read and written.
_SET_SIZE: int = getattr(fcntl, "F_SETPIPE_SZ", 0)
_GET_SIZE: int = getattr(fcntl, "F_GETPIPE_SZ", 0)
CAN_SPLICE = hasattr(os, "splice") and _SET_SIZE > 0 and _GET_SIZE > 0


@dataclass(frozen=True, slots=True)
class Pipe:
    """Two descriptors, and how many bytes are guaranteed to fit between them."""

    entrance: int
    exit: int
    size: int

    @property
    def is_empty(self) -> bool:
        """Whether everything written has been read."""
        return bytes_waiting(self.exit) == 0

    def close(self) -> None:
        """Close both ends."""
        os.close(self.entrance)
        os.close(self.exit)


def bytes_waiting(descriptor: int) -> int:
    """Return how many bytes can be read from a pipe or socket without waiting."""
    (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))
    return int(count)


_spare: list[Pipe] = []


def take_pipe() -> Pipe | None:
    """Return an empty pipe, or ``None`` if the kernel does not provide one that is large enough."""
    try:
        return _spare.pop()
    except IndexError:
        return _make()


def hand_back_pipe(pipe: Pipe) -> None:
    """Return a pipe for others to use. If it is not empty, it is closed: its bytes would end up in the next body."""
    if len(_spare) < MAX_SPARE_PIPES and pipe.is_empty:
        _spare.append(pipe)
    else:
        pipe.close()


def _make() -> Pipe | None:
    try:
        exit, entrance = os.pipe()  # which no program that is started inherits
    except OSError:  # too many open files
        return None
    pipe = Pipe(entrance, exit, _grown(entrance))
    if pipe.size >= MIN_PIPED_SIZE:
        return pipe
    pipe.close()
    return None


def _grown(entrance: int) -> int:
    """Make a pipe as large as allowed, and return its size. Beyond a limit per user, pipes are as small as 8 KiB."""
    for size in PIPE_SIZES:
        with suppress(OSError):
            return fcntl.fcntl(entrance, _SET_SIZE, size)
    return fcntl.fcntl(entrance, _GET_SIZE)


def _after_fork() -> None:
    """Close the pipes inherited from the parent, whose content is not for this process."""
    while _spare:
        _spare.pop().close()


os.register_at_fork(after_in_child=_after_fork)

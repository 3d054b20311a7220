"""Pipes of the kernel's, by which content gets from a socket to a file without ever being a Python object.

They are handed out and back, rather than kept by thread: greenlets share a thread. A fresh one for each request would
cost as much as it saves. Who has to wait for content hands its pipe back meanwhile: a user may have 64 of this size.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from contextlib import suppress
from dataclasses import dataclass

# Bytes. A socket's buffer should fit in: if some of it stays behind, the sender is held up again and again.
PIPE_SIZES = (1024 * 1024, 256 * 1024)
LEAST = 64 * 1024  # bytes, of a pipe and of a body: below that, reading is as cheap
MAX_SPARE_PIPES = 16
# Of a kernel, or a sandbox, that cannot splice.
REFUSALS = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP)
# Only Linux can; elsewhere, content is read and written.
_SET_SIZE: int = getattr(fcntl, "F_SETPIPE_SZ", 0)
_GET_SIZE: int = getattr(fcntl, "F_GETPIPE_SZ", 0)
CAN_SPLICE = hasattr(os, "splice") and _SET_SIZE > 0 and _GET_SIZE > 0


@dataclass(frozen=True, slots=True)
class Pipe:
    """Two descriptors, and how many bytes are certain to fit between them."""

    entrance: int
    exit: int
    size: int

    @property
    def is_empty(self) -> bool:
        """Whether all that went in has come out."""
        return bytes_waiting(self.exit) == 0

    def close(self) -> None:
        """Give it back to the kernel."""
        os.close(self.entrance)
        os.close(self.exit)


def bytes_waiting(descriptor: int) -> int:
    """How many bytes can be read from a pipe or a socket without waiting."""
    (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))
    return int(count)


_spare: list[Pipe] = []


def take_pipe() -> Pipe | None:
    """An empty pipe; ``None`` if the kernel gives no good one, or none at all."""
    try:
        return _spare.pop()
    except IndexError:
        return _make()


def hand_back_pipe(pipe: Pipe) -> None:
    """For somebody else. One in which bytes were left must not be used again: they would be taken for the next body."""
    if len(_spare) < MAX_SPARE_PIPES and pipe.is_empty:
        _spare.append(pipe)
    else:
        pipe.close()


def _make() -> Pipe | None:
    try:
        exit, entrance = os.pipe()  # which no program that is started inherits
    except OSError:  # too many files are open
        return None
    pipe = Pipe(entrance, exit, _grown(entrance))
    if pipe.size >= LEAST:
        return pipe
    pipe.close()
    return None


def _grown(entrance: int) -> int:
    """The size of a pipe, made as large as it may be. Past a limit for each user, pipes are as small as 8 KiB."""
    for size in PIPE_SIZES:
        with suppress(OSError):
            return fcntl.fcntl(entrance, _SET_SIZE, size)
    return fcntl.fcntl(entrance, _GET_SIZE)


def _after_fork() -> None:
    """What the parent puts into its pipes is not for us."""
    while _spare:
        _spare.pop().close()


os.register_at_fork(after_in_child=_after_fork)

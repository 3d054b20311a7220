"""Sources of a request's bytes: a class for each way in which WSGI servers provide them.

A source knows what its server does with a body that is cut off, and how to read without waiting forever. The sources
for gunicorn are in ``gunicorn.py`` and ``tls.py``; ``body.py`` chooses between them.

The request's own thread waits, and the thread that holds the transfer's turn takes. If content can be read without
waiting, it stays in the kernel until it is taken. Otherwise waiting means reading, and :class:`Ahead` keeps what was
read until it is taken.
"""

from __future__ import annotations

import io
import select
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from types import BuiltinFunctionType
from typing import Any
from typing import Protocol
from typing import TypeGuard

from ..interfaces import Piped

BLOCK_SIZE = 256 * 1024  # bytes to read from a socket at a time
READ_SIZE = 64 * 1024  # the maximum number of bytes to request from wsgi.input
LEAST_READ = 2 * 1024  # the first number of bytes to request from it, if it waits for all of them
PAUSE = 0.02  # seconds of small reads after which their bytes are passed on
TICK = 1.0  # seconds after which waiting for a silent client is interrupted

# What reading raises when the client disconnects: OSError, ValueError (cheroot), and exceptions of some servers.
NetworkError = Exception


class Source(Protocol):
    """Provides the bytes of a request."""

    withholds: bool  # whether what has arrived may be out of reach until more arrives, or the connection ends

    @property
    def holds_some(self) -> bool:
        """Whether something was read but not taken."""
        ...

    def wait(self) -> None:
        """Wait for more, for about a ``TICK`` where the server allows it. Called by the request's own thread."""
        ...

    def take(self, size: int) -> bytes | memoryview | None:
        """Return up to ``size`` bytes without waiting, ``b""`` at the end, or ``None`` if nothing has arrived."""
        ...

    def take_unseen(self, size: int) -> bytes | memoryview | Piped | None:
        """Return the same as :meth:`take`, for bytes that nothing needs to inspect."""
        ...

    def read_arrived(self) -> None:
        """Read what has arrived, without waiting, so that it can be taken. Nothing more may be found after that.

        Called by the request's own thread at the end of a body that is cut off here.
        """
        ...

    def wake(self) -> None:
        """Make :meth:`wait` return soon where that is possible without harm, because another thread took the end."""
        ...

    def pause(self) -> None:
        """Return what is needed only while content arrives, such as a buffer. The last block is not valid any more."""
        ...

    def interrupt(self) -> bool:
        """Make :meth:`wait` in another thread return, if that is safe. Take what has arrived first.

        On macOS and BSD, shutting down a connection for reading discards it. If waiting means reading, what is read
        until it returns can be taken afterwards.

        :return: Whether it returns within a ``TICK``.
        """
        ...

    def abandon(self) -> None:
        """Make the server not wait for the rest, because it will not be read."""
        ...

    def close(self) -> None:
        """Leave everything in the state that the server expects."""
        ...


class Ahead:
    """Keeps what was read while waiting. One thread puts blocks, and the thread that holds the turn takes them."""

    def __init__(self) -> None:
        self._blocks: deque[bytes | memoryview] = deque()
        self._has_ended = False
        self._error: Exception | None = None

    def __bool__(self) -> bool:
        """Whether there is something to take, which may be the end."""
        return bool(self._blocks) or self._has_ended

    def put(self, block: bytes | memoryview) -> None:
        """Add a block. An empty block marks the end."""
        if block:
            self._blocks.append(block)
        else:
            self._has_ended = True

    def fail(self, error: Exception) -> None:
        """Note that reading has failed, so that nothing follows the blocks that were put before."""
        self._error = error
        self._has_ended = True

    def take(self, size: int) -> bytes | memoryview | None:
        """Return up to ``size`` bytes, ``b""`` at the end, or ``None`` if there are none. Raises any read error."""
        has_ended = self._has_ended  # read first, because a block that is put in the meantime must not be missed
        if self._blocks:
            return self._joined(min(size, BLOCK_SIZE))
        if has_ended and self._error is not None:
            raise self._error
        return b"" if has_ended else None

    def _joined(self, size: int) -> bytes | memoryview:
        blocks: list[bytes | memoryview] = []
        while size and self._blocks:
            block = self._blocks.popleft()
            if len(block) > size:
                self._blocks.appendleft(block[size:])
            blocks.append(block[:size])
            size -= len(blocks[-1])
        return b"".join(blocks) if len(blocks) > 1 else blocks[0]

    def take_all(self) -> bytes:
        """Return everything that was not taken."""
        rest = b"".join(self._blocks)
        self._blocks.clear()
        return rest


class ReadsAhead:
    """What sources have in common whose waiting is what reads."""

    withholds = True

    _ahead: Ahead

    @property
    def holds_some(self) -> bool:
        return bool(self._ahead)

    def take(self, size: int) -> bytes | memoryview | None:
        return self._ahead.take(size)

    take_unseen = take

    def wake(self) -> None:
        """Do nothing: whoever waits has read the end."""

    def pause(self) -> None:
        """Do nothing: what was read stays until it is taken."""


class BufferedSocket:
    """Reads from the development server's buffer over a socket without blocking, and waits on the socket."""

    withholds = False
    holds_some = False

    def __init__(self, stream: io.BufferedReader, sock: socket.socket) -> None:
        self._stream = stream
        self._socket = sock
        self._timeout = sock.gettimeout()
        self._readiness = ThreadReadiness(sock)
        self._may_have_more = True  # in the buffer
        sock.setblocking(False)

    def wait(self) -> None:
        if not self._may_have_more:
            self._readiness.wait()

    def take(self, size: int) -> bytes | None:
        size = min(size, BLOCK_SIZE)
        block = self._stream.read1(size)
        self._may_have_more = len(block) == size
        if block:
            return block
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        return self._stream.read1(size)  # readable but empty: the end

    take_unseen = take

    def read_arrived(self) -> None:
        """Do nothing, because :meth:`take` finds what has arrived."""

    def wake(self) -> None:
        self._readiness.wake()

    def pause(self) -> None:
        """Do nothing: the buffer is the server's."""

    def interrupt(self) -> bool:
        shut(self._socket)
        return True

    def abandon(self) -> None:
        self.interrupt()

    def close(self) -> None:
        self._socket.settimeout(self._timeout)


class Stream(ReadsAhead):
    """Reads from any other server, with plain reads that may wait for everything they request.

    They therefore request little: a hundredth of what has arrived so far, and no more than a slow client sends in a
    ``TICK``. That much is lost if the read fails, and held back while it waits.

    :param size: The number of bytes that may be read, or ``None`` if the stream ends by itself.
    :param sock: The connection, if it belongs to this request alone. Reads then have a timeout.
    :param is_last: Whether this is the last request on its connection, which can then be shut down.
    """

    def __init__(
        self, stream: Any, size: int | None, idle_timeout: float, sock: socket.socket | None, *, is_last: bool
    ) -> None:
        self._socket = sock
        self._is_last = is_last
        self._left = size
        self._timeout = None if sock is None else sock.gettimeout()
        if sock is not None:
            sock.settimeout(idle_timeout)
        self._reads_what_is_there = hasattr(stream, "read1")
        self._read = stream.read1 if self._reads_what_is_there else stream.read
        self._received = 0
        self._pace = READ_SIZE  # at least as many bytes as the client sends in a ``TICK``
        self._ahead = Ahead()

    def wait(self) -> None:
        if self._ahead:
            return
        until = time.monotonic() + PAUSE
        goal = self._received + min(READ_SIZE, max(8 * LEAST_READ, self._received // 32))
        try:
            while self._received < goal and time.monotonic() < until and self._left != 0:
                block = self._paced(self._wanted())
                self._ahead.put(block)
                if not block or self._reads_what_is_there:
                    break
        except NetworkError as error:
            self._ahead.fail(error)

    def _wanted(self) -> int:
        size = READ_SIZE
        if not self._reads_what_is_there:
            size = min(self._pace, max(LEAST_READ, self._received // 128), size)
        return size if self._left is None else min(size, self._left)

    def _paced(self, wanted: int) -> bytes:
        """Read, and measure how long it takes."""
        begun = time.monotonic()
        block: bytes = self._read(wanted)
        seconds = time.monotonic() - begun
        self._pace = min(READ_SIZE, 2 * self._pace) if seconds < TICK else max(1, int(len(block) / seconds))
        self._received += len(block)
        if self._left is not None:
            self._left -= len(block)
        return block

    def read_arrived(self) -> None:
        """Do nothing, because a plain read may wait."""

    def interrupt(self) -> bool:
        if not self._is_last or not is_plain(self._socket):
            return False
        shut(self._socket)
        return True

    def abandon(self) -> None:
        self.interrupt()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.settimeout(self._timeout)


class Readiness(Protocol):
    """Tells whether a socket can be read. For a single thread: no other may call it while this one waits."""

    def wait(self) -> None:
        """Wait for about a ``TICK`` at most, until the socket can be read or has ended."""
        ...

    def wake(self) -> None:
        """Make :meth:`wait` return, where that is possible. Any thread may call this."""
        ...

    def close(self) -> None:
        """Free what it uses. Call this before the socket is closed."""
        ...


class ThreadReadiness:
    """Waits in the kernel."""

    def __init__(self, sock: socket.socket) -> None:
        self._poll = select.poll()  # unlike select(), it takes descriptors above 1023
        self._poll.register(sock, select.POLLIN)

    def wait(self) -> None:
        self._poll.poll(TICK * 1000)

    def wake(self) -> None:
        """Do nothing: the thread is in the kernel until the ``TICK`` is over."""

    def close(self) -> None:
        """Do nothing, because the kernel keeps nothing between two calls."""


class PeekReadiness:
    """Waits with the socket's own methods, which some library has replaced so that other greenlets run."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def wait(self) -> None:
        with suppress(OSError):
            self._socket.recv(1, socket.MSG_PEEK)

    def wake(self) -> None:
        """Do nothing, because it is not known how."""

    def close(self) -> None:
        """Do nothing: the socket belongs to the server."""


def readiness_of(sock: socket.socket) -> Readiness:
    """Return what waits for this socket without blocking others. Its timeout must be a ``TICK``."""
    if not is_cooperative():
        return ThreadReadiness(sock)
    if "gevent" not in sys.modules:
        return PeekReadiness(sock)
    from .gevent import GreenletReadiness

    return GreenletReadiness(sock, TICK)


def is_cooperative() -> bool:
    """Whether the threads of this process are greenlets, which run only while others wait."""
    return not isinstance(time.sleep, BuiltinFunctionType)  # gevent's


def is_plain(sock: Any) -> TypeGuard[socket.socket]:
    """Whether the kernel has the plain bytes of this socket, without TLS or anything else."""
    return type(sock) is socket.socket


def shut(sock: socket.socket) -> None:
    """Tell the kernel that nothing more will be read. Responses can still be sent. For plain sockets only.

    An ``SSLSocket`` would lose its TLS layer and continue in the clear.
    """
    with suppress(OSError):  # already closed
        # gevent's own method would raise an error in the greenlet that waits, instead of waking it.
        getattr(sock, "_sock", sock).shutdown(socket.SHUT_RD)

"""Where the bytes of a request come from: one class for each way in which WSGI servers hand them out.

What a server does with a body that is cut, and how a read can be made not to wait for ever, is decided by the *source*.
Those for gunicorn are in ``gunicorn.py``; ``body.py`` chooses.

A request's own thread waits, and whoever holds the transfer's turn takes. Where the content can be read without
waiting, it stays in the kernel until it is taken. Elsewhere the waiting is what reads, and :class:`Ahead` keeps what
was read until it is taken.
"""

from __future__ import annotations

import io
import select
import socket
import time
from collections import deque
from contextlib import suppress
from types import BuiltinFunctionType
from typing import Any
from typing import Protocol
from typing import TypeGuard

from ..interfaces import Piped

BLOCK_SIZE = 256 * 1024  # bytes read from a socket at a time
READ_SIZE = 64 * 1024  # bytes asked of wsgi.input at most
LEAST_READ = 2 * 1024  # bytes asked of it at first, if it waits for all of them
PAUSE = 0.02  # seconds of small reads, after which what they have brought is passed on
TICK = 1.0  # seconds after which waiting for a silent client is interrupted

# What reading raises when the client has left: OSError and its like, ValueError (cheroot), and some servers' own.
NetworkError = Exception


class Source(Protocol):
    """How bytes are got."""

    withholds: bool  # what has arrived may be out of reach until more comes, or the connection ends

    @property
    def holds_some(self) -> bool:
        """Whether something was read and not taken."""
        ...

    def wait(self) -> None:
        """Wait for more, about a ``TICK`` at most where the server allows it. For the request's own thread."""
        ...

    def take(self, size: int) -> bytes | memoryview | None:
        """Up to ``size`` bytes without waiting; ``b""`` at the end, ``None`` if there are none now."""
        ...

    def take_unseen(self, size: int) -> bytes | memoryview | Piped | None:
        """The same for bytes that nobody will look at."""
        ...

    def interrupt(self) -> None:
        """End ``wait`` from another thread, where that is safe. What has arrived is to be taken before.

        On macOS and BSD, a connection that is shut for reading forgets it.
        """
        ...

    def abandon(self) -> None:
        """Nobody will read the rest: let the server not wait for it."""
        ...

    def close(self) -> None:
        """Leave everything as the server expects it."""
        ...


class Ahead:
    """What was read while waiting. One thread puts; whoever has the turn takes."""

    def __init__(self) -> None:
        self._blocks: deque[bytes | memoryview] = deque()
        self._has_ended = False
        self._error: Exception | None = None

    def __bool__(self) -> bool:
        """Whether there is something to take, be it the end."""
        return bool(self._blocks) or self._has_ended

    def put(self, block: bytes | memoryview) -> None:
        """Add a block; an empty one is the end."""
        if block:
            self._blocks.append(block)
        else:
            self._has_ended = True

    def fail(self, error: Exception) -> None:
        """Reading has failed: there is nothing after what was put before."""
        self._error = error
        self._has_ended = True

    def take(self, size: int) -> bytes | memoryview | None:
        """Up to ``size`` bytes; ``b""`` at the end, ``None`` if there are none now. Raises what reading has raised."""
        has_ended = self._has_ended  # looked at first: a block that is put meanwhile must not be passed over
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
        """All that was not asked for."""
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


class BufferedSocket:
    """The development server: a buffer over a socket. Read without blocking, wait on the socket."""

    withholds = False
    holds_some = False

    def __init__(self, stream: io.BufferedReader, sock: socket.socket) -> None:
        self._stream = stream
        self._socket = sock
        self._timeout = sock.gettimeout()
        self._readiness = Readiness(sock)
        self._may_have_more = True  # in its buffer
        sock.setblocking(False)

    def wait(self) -> None:
        if not self._may_have_more:
            self._readiness.wait(TICK)

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
        return self._stream.read1(size)  # readable and empty: the end

    take_unseen = take

    def interrupt(self) -> None:
        shut(self._socket)

    abandon = interrupt

    def close(self) -> None:
        self._socket.settimeout(self._timeout)


class Stream(ReadsAhead):
    """Any other server: plain reads, which may wait for all they ask for.

    So they ask for little: a hundredth of what has come in so far, and no more than a slow client sends in a ``TICK``.
    That much is lost if the read fails, and withheld if it waits.

    :param size: Bytes that may be read, ``None`` if the stream ends by itself.
    :param sock: The connection, if it is this request's alone: then a read has a time-out.
    :param is_last: Whether this is the connection's last request: then it can be shut down.
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
        self._pace = READ_SIZE  # bytes that the client sends in a ``TICK``, or more
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
        """Read, and see how long that takes."""
        begun = time.monotonic()
        block: bytes = self._read(wanted)
        seconds = time.monotonic() - begun
        self._pace = min(READ_SIZE, 2 * self._pace) if seconds < TICK else max(1, int(len(block) / seconds))
        self._received += len(block)
        if self._left is not None:
            self._left -= len(block)
        return block

    def interrupt(self) -> None:
        if self._is_last and is_plain(self._socket):
            shut(self._socket)

    abandon = interrupt

    def close(self) -> None:
        if self._socket is not None:
            self._socket.settimeout(self._timeout)


class Readiness:
    """Whether a socket can be read from. For one thread: no other may ask while this one waits."""

    def __init__(self, sock: socket.socket) -> None:
        self._poll = select.poll()  # unlike select(), it takes descriptors above 1023
        self._poll.register(sock, select.POLLIN)

    def wait(self, seconds: float) -> None:
        """Wait until it can, or has come to its end."""
        self._poll.poll(seconds * 1000)


def is_cooperative() -> bool:
    """Whether the threads of this process are greenlets, which run only when others let them."""
    return not isinstance(time.sleep, BuiltinFunctionType)  # gevent's


def is_plain(sock: Any) -> TypeGuard[socket.socket]:
    """Whether what the kernel has for this socket is what was sent: there is no TLS, nor anything else, on it."""
    return type(sock) is socket.socket


def shut(sock: socket.socket) -> None:
    """Tell the kernel that nothing more is read; an answer can still be sent. For plain sockets only.

    An ``SSLSocket`` would forget that it is one, and go on in clear.
    """
    with suppress(OSError):  # it is gone already
        # gevent's own method would raise an error in the greenlet that waits, instead of waking it.
        getattr(sock, "_sock", sock).shutdown(socket.SHUT_RD)

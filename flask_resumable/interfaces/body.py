"""The content of a request, as a WSGI server delivers it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ..core.upload import Upload


@dataclass(frozen=True, slots=True)
class Piped:
    """A block of content in a kernel pipe. It is the next ``size`` bytes of the pipe, and all of them must be read."""

    descriptor: int  #: the read end
    size: int  #: in bytes

    def __len__(self) -> int:
        return self.size


class Incoming(Protocol):
    """The content of a request while it arrives.

    The request's own thread waits for content. Whichever thread holds the transfer's turn takes it, so that another
    request can save what has arrived while the request's own thread is still waiting.
    """

    withholds: bool  #: whether this server buffers what it received until there is more, or the connection ends

    @property
    def has_ended(self) -> bool:
        """Whether the end is known to be reached, so that there is nothing to wait for."""
        ...

    @property
    def is_stopping(self) -> bool:
        """Whether the server stops, and the body ends where it is unless :meth:`take` finds something more.

        Save first, which takes a while, and then look for what has come in the meantime.
        """
        ...

    def wait(self) -> None:
        """Wait until there may be more content. This takes about a second at most, where the server allows that.

        Only the request's own thread may call this, without holding the turn. It may return early.
        """
        ...

    def take(self) -> bytes | memoryview | Piped | None:
        """Return the next block without waiting, ``b""`` at the end, or ``None`` if nothing has arrived.

        The end is reached when the body is complete or cut off, or nothing arrived for the idle timeout. Any thread may
        call this, but only one at a time. A block is valid until the next call. After a short block, call :meth:`wait`
        first: most likely there is nothing to take yet.
        """
        ...

    def pause(self) -> None:
        """Return what is needed only while content arrives. Call it in the turn, before the thread waits.

        The last block is not valid any more.
        """
        ...

    def interrupt(self) -> None:
        """Make :meth:`wait` return soon, if that is safe. Called by another thread after it took what it needs.

        The connection is not used again afterwards. This does nothing if the server has no plain connection for this
        request alone, or after :meth:`close`.
        """
        ...

    def stop(self) -> bool:
        """End the body here, because the server stops, and make :meth:`wait` return soon, if that is safe.

        Called by another thread, in its turn, after it took what has arrived.

        :return: Whether it returns soon. If not, the body has not ended.
        """
        ...

    def close(self) -> None:
        """Stop reading. Called by the request's own thread, in its turn. The server must not wait for unread bytes."""
        ...


class Watch(Protocol):
    """An observer of a request's progress while its content arrives."""

    every: float  #: minimum seconds between two calls; each one syncs the bytes and saves the record

    def tell(self, upload: Upload) -> None:
        """Report progress. Called by the request's own thread with the upload as it was saved."""
        ...


class Body(Protocol):
    """The body of a request."""

    size: int | None  #: the announced size in bytes; None if only the end of the body tells

    watch: Watch | None  #: what is told about the progress of this request, if anything

    unseen: int  #: how many of the next bytes need not be inspected, and may stay in the kernel as ``Piped``

    def incoming(self, room: int) -> AbstractContextManager[Incoming]:
        """Start to read at most ``room`` bytes of content. Leaving the context closes it."""
        ...

    counts_only_whole: bool  #: whether this server may return garbage when a body is cut off

    grace: float  #: seconds that it may still take when the server stops, because nothing counts unless it is whole

    @property
    def is_stopped(self) -> bool:
        """Whether it was cut off because the server stops. Valid after the end."""
        ...

    @property
    def is_whole(self) -> bool:
        """Whether the body arrived completely, with proof of its end. Valid after the end."""
        ...

    @property
    def is_overlong(self) -> bool:
        """Whether the client sent more than ``room`` bytes. Valid after the end."""
        ...

    def trailer(self, name: str) -> str | None:
        """Return a trailer field. Valid after the end."""
        ...

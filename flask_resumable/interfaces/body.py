"""The content of a request, as a WSGI server delivers it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ..core.upload import Upload


@dataclass(frozen=True, slots=True)
class Piped:
    """A block of content that is in a pipe of the kernel's: its next ``size`` bytes, all of which must be taken out."""

    descriptor: int  # the end to read from
    size: int

    def __len__(self) -> int:
        return self.size


class Incoming(Protocol):
    """The content of a request while it comes in.

    The request's own thread waits; whoever holds the transfer's turn takes. So what has arrived need not wait for the
    thread that waits for more.
    """

    withholds: bool  # this server's reader keeps what it has got until it has more, or the connection ends

    def wait(self) -> None:
        """Wait until there may be more content, for about a second at most where the server allows it.

        Called by the request's own thread only, without holding the turn. It may return without reason.
        """
        ...

    def take(self) -> bytes | memoryview | Piped | None:
        """The next block, without waiting: ``b""`` at the end, ``None`` if nothing is there now.

        The end has come when the body is whole or cut, or nothing was taken for the idle time-out. Any thread may call
        this, one at a time. A block is only valid until the next call. Waiting first saves a call after a short one.
        """
        ...

    def interrupt(self) -> None:
        """Let ``wait`` return soon, where that is safe: called by another thread, which has taken what it wants.

        The connection is not used again then. Does nothing where the server has no plain connection for this request
        alone, and after ``close``.
        """
        ...

    def close(self) -> None:
        """Stop reading. Called by the request's own thread, in its turn.

        Before the end, it tells the server not to wait for more.
        """
        ...


class Watch(Protocol):
    """Somebody who wants to know how far a request has got, while its content comes in."""

    every: float  # seconds between two tellings, at least; each makes what has arrived durable and saves the record

    def tell(self, upload: Upload) -> None:
        """Called by the request's own thread, with the upload as it is saved."""
        ...


class Body(Protocol):
    """The content of a request, as this WSGI server delivers it."""

    size: int | None  # bytes announced; None when the body only says when it ends

    watch: Watch | None

    unseen: int  # how many of the next bytes need not be looked at: they may be left in the kernel, as ``Piped``

    def incoming(self, room: int) -> AbstractContextManager[Incoming]:
        """Begin to read the content, at most ``room`` bytes of it. Leaving the context closes it."""
        ...

    counts_only_whole: bool  # this server's reader can hand out garbage when a body is cut

    @property
    def is_whole(self) -> bool:
        """After the end: whether the body arrived to its proven end."""
        ...

    @property
    def is_overlong(self) -> bool:
        """After the end: whether more than ``room`` bytes were sent."""
        ...

    def trailer(self, name: str) -> str | None:
        """After the end: a trailer field."""
        ...

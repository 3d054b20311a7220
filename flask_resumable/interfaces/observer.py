"""What is told about uploads, after it happened: the log, and metrics and traces if the app uses them."""

from __future__ import annotations

import enum
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import ExitStack
from contextlib import nullcontext
from dataclasses import dataclass

from ..core.upload import Upload


class Removal(enum.Enum):
    """Why an upload was removed."""

    DELETED = "deleted"  # by its client or by the app
    EXPIRED = "expired"
    REFUSED = "refused"  # by on_complete, or because the content was not what the client had announced


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanup:
    """One run of ``delete_expired``."""

    removed: int  # uploads
    bytes: int
    orphans: int  # unfinished bytes without a record
    failed: int  # what could not be removed
    seconds: float


class Kind(enum.Enum):
    """A kind of activity that takes time."""

    RECEIVE = "receive"  # the content of one request
    HOOK = "hook"  # of the app
    STORAGE = "storage"  # a call of the storage, such as publishing a finished upload
    DATABASE = "database"  # a call of the repository
    STORE = "store"  # a request to an object store


class Activity:
    """Something that is going on. Observers that are told of it get more facts about it before it ends."""

    def note(self, name: str, value: str | int) -> None:
        """Add a fact."""


_UNOBSERVED = nullcontext(Activity())


class Observer:
    """Learns what happens to uploads. Every method does nothing; override those that you need.

    The methods are called by any thread, often while a request is being served, so they must be quick and must not
    raise anything. After a crash, an event may be missing. None comes twice.
    """

    #: What this observer is told of by :meth:`doing`. The app measures nothing else.
    kinds: frozenset[Kind] = frozenset()

    def created(self, upload: Upload) -> None:
        """A client has created an upload, and ``on_create`` has agreed."""

    def completed(self, upload: Upload) -> None:
        """An upload is complete, and ``on_complete`` has returned. Also called for partial uploads."""

    def removed(self, upload: Upload, why: Removal) -> None:
        """An upload and its bytes were removed. Its record may remain for a while."""

    def took_over(self, upload: Upload) -> None:
        """A request with content has taken an upload over from an earlier one, which was still receiving or crashed."""

    def rescued(self, upload: Upload, size: int) -> None:
        """``size`` bytes that an earlier request had received were saved because a newer one asked for them."""

    def cleaned(self, run: Cleanup) -> None:
        """A run of ``delete_expired`` has ended."""

    def responded(self, protocol: str, method: str, status: int, error: str | None) -> None:
        """A request was answered.

        :param error: The name of the error's class, if it was answered with one.
        """

    def doing(self, kind: Kind, operation: str, upload: Upload | None = None) -> AbstractContextManager[Activity]:
        """Return a context that lasts as long as an activity. What ends it may be an exception.

        :param operation: What is done, in the terms of who does it. There are few of them.
        """
        return _UNOBSERVED

    def meter(self, upload: Upload) -> Callable[[int], object] | None:
        """Return a function to call with the size of each block that was received, or ``None`` if nobody counts."""
        return None


class Observers(Observer):
    """Passes everything on to several observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self.kinds = frozenset().union(*(observer.kinds for observer in observers))

    def created(self, upload: Upload) -> None:
        for observer in self._observers:
            observer.created(upload)

    def completed(self, upload: Upload) -> None:
        for observer in self._observers:
            observer.completed(upload)

    def removed(self, upload: Upload, why: Removal) -> None:
        for observer in self._observers:
            observer.removed(upload, why)

    def took_over(self, upload: Upload) -> None:
        for observer in self._observers:
            observer.took_over(upload)

    def rescued(self, upload: Upload, size: int) -> None:
        for observer in self._observers:
            observer.rescued(upload, size)

    def cleaned(self, run: Cleanup) -> None:
        for observer in self._observers:
            observer.cleaned(run)

    def responded(self, protocol: str, method: str, status: int, error: str | None) -> None:
        for observer in self._observers:
            observer.responded(protocol, method, status, error)

    def doing(self, kind: Kind, operation: str, upload: Upload | None = None) -> AbstractContextManager[Activity]:
        interested = [observer for observer in self._observers if kind in observer.kinds]
        if not interested:
            return _UNOBSERVED
        if len(interested) == 1:
            return interested[0].doing(kind, operation, upload)
        return _doing(interested, kind, operation, upload)

    def meter(self, upload: Upload) -> Callable[[int], object] | None:
        meters = [meter for observer in self._observers if (meter := observer.meter(upload)) is not None]
        return meters[0] if len(meters) == 1 else _all_of(meters) if meters else None


@contextmanager
def _doing(observers: Sequence[Observer], kind: Kind, operation: str, upload: Upload | None) -> Iterator[Activity]:
    with ExitStack() as stack:
        yield _Activities([stack.enter_context(observer.doing(kind, operation, upload)) for observer in observers])


class _Activities(Activity):
    def __init__(self, activities: Sequence[Activity]) -> None:
        self._activities = activities

    def note(self, name: str, value: str | int) -> None:
        for activity in self._activities:
            activity.note(name, value)


def _all_of(meters: Sequence[Callable[[int], object]]) -> Callable[[int], None]:
    def count(size: int) -> None:
        for meter in meters:
            meter(size)

    return count

"""What is told about uploads, after it happened: the log, and metrics and traces if the app uses them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
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


class Observer:
    """Learns what happens to uploads. Every method does nothing; override those that you need.

    The methods are called by any thread, often while a request is being served, so they must be quick and must not
    raise anything. After a crash, an event may be missing. None comes twice.
    """

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


class Observers(Observer):
    """Passes everything on to several observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

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

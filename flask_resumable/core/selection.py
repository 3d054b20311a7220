"""Which uploads a query is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .owner import ANYBODY
from .owner import Anybody
from .placement import storage_of
from .processing import ProcessingState
from .upload import LEAVING
from .upload import Status
from .upload import Upload

UNSETTLED = (Status.NEW, Status.FINISHING, Status.DELETING)  # none of these lasts unless something went wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Conditions for uploads. An upload is selected if it meets all of them; by default, every upload is.

    Repositories translate this to their query language. :meth:`covers` says the same in Python.
    """

    status: Status | None = None
    leaving: bool = True  # whether to include uploads that are being removed, if no status is asked for
    parts: bool = True  # whether to include partial uploads
    owner: str | None | Anybody = ANYBODY  # None for uploads without an owner
    processing: ProcessingState | None = None
    storages: frozenset[str | None] = frozenset()  # names; None for uploads without one, and no names for any storage
    created_before: datetime | None = None
    larger_than: int | None = None  # bytes that are expected or have been received
    removable_at: datetime | None = None  # only what ``StateRepository.expired`` returns at that time
    stuck_at: datetime | None = None  # only what waits at that time for a step, and no request is doing it

    def covers(self, upload: Upload) -> bool:
        """Whether the upload is selected."""
        return (
            self._has_status(upload)
            and (self.parts or not upload.is_partial)
            and self.owner in (ANYBODY, upload.owner)
            and self.processing in (None, upload.processing and upload.processing.state)
            and (not self.storages or storage_of(upload.storage) in self.storages)
            and (self.created_before is None or upload.created_at < self.created_before)
            and (self.larger_than is None or max(upload.length or 0, upload.offset) > self.larger_than)
            and (self.removable_at is None or _is_removable(upload, self.removable_at))
            and (self.stuck_at is None or _is_stuck(upload, self.stuck_at))
        )

    def _has_status(self, upload: Upload) -> bool:
        if self.status is None:
            return self.leaving or upload.status not in LEAVING
        return upload.status is self.status


ALL = Selection()


def _is_removable(upload: Upload, now: datetime) -> bool:
    return upload.removable_at is not None and upload.removable_at <= now and not upload.is_claimed(now)


def _is_stuck(upload: Upload, now: datetime) -> bool:
    return upload.status in UNSETTLED and not upload.is_claimed(now)

"""What is done when no client asks: removing what has expired, and taking steps that a crash left undone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from datetime import timedelta

from ..core.upload import Status
from ..core.upload import Upload
from ..errors import ClaimLost
from ..errors import RemovalRefused
from ..errors import ResumableError
from ..errors import UploadExpired
from ..errors import UploadLocked
from ..errors import UploadNotFound
from ..errors import UploadRejected
from .uploads import UploadService

logger = logging.getLogger(__package__)


@dataclass(slots=True)
class Report:
    """What a cleaning run did. Sizes in bytes."""

    completed: int = 0
    removed: int = 0
    bytes: int = 0
    orphans: int = 0  # leftovers on the disk without a record
    busy: int = 0  # alive after all, or in the hands of another cleaner
    failed: list[str] = field(default_factory=list)  # ids


class Cleaner:
    """Goes through the uploads in batches, beside live traffic and beside copies of itself."""

    def __init__(self, service: UploadService, *, batch: int = 100) -> None:
        self._service = service
        self._batch = batch

    def expired(self) -> Iterator[Upload]:
        """Uploads that are to be removed: expired, or left half removed."""
        after = None
        while uploads := self._service.repository.expired(self._service.now(), limit=self._batch, after=after):
            yield from uploads
            after = uploads[-1]

    def delete_expired(self, report: Report, *, orphans_after: timedelta) -> Iterator[str]:
        """Remove expired uploads, and unfinished bytes that no record knows; the id of each that was dealt with.

        :param orphans_after: How long such bytes must have been left alone.
        """
        for upload in self.expired():
            self._delete(upload, report)
            yield upload.id
        yield from self._delete_orphans(report, orphans_after)

    def _delete(self, upload: Upload, report: Report) -> None:
        service = self._service
        try:
            # The claim first, then another look: it may have been finished or prolonged meanwhile.
            with service.claiming(upload.id) as claimed:
                if not claimed.upload.is_expired(service.now()):
                    report.busy += 1
                    return
                service.remove(claimed)
        except UploadNotFound:
            if upload.can_expire:  # else this is how holding() says that it has removed what was left
                report.busy += 1
                return
        except (UploadLocked, ClaimLost):
            report.busy += 1
            return
        except RemovalRefused as error:
            logger.error("Upload %s has expired, but the database keeps its record: %s", upload.id, error.reason)
            report.failed.append(upload.id)
            return
        except Exception:
            logger.exception("Upload %s has expired but could not be removed.", upload.id)
            report.failed.append(upload.id)
            return
        report.removed += 1
        if upload.status is not Status.GONE:  # then they went when it became a tombstone
            report.bytes += upload.received.total

    def _delete_orphans(self, report: Report, older_than: timedelta) -> Iterator[str]:
        found: dict[str, Callable[[], int]] = {}
        for upload_id, remove in self._service.storage.orphans(self._service.now() - older_than):
            found[upload_id] = remove
            if len(found) >= self._batch:
                yield from self._delete_unknown(found, report)
                found = {}
        yield from self._delete_unknown(found, report)

    def _settle(self, upload_id: str) -> None:
        """What is beside a finished upload may be needed to tell which of two places its bytes are in."""
        with suppress(UploadNotFound):
            self._service.storage.remove_orphans(self._service.repository.get(upload_id))

    def _delete_unknown(self, found: dict[str, Callable[[], int]], report: Report) -> Iterator[str]:
        # The bytes were seen before the records are looked at, and a record always comes before its bytes:
        # what has no record now has lost it for good.
        known = self._service.repository.unfinished(list(found))
        for upload_id in found.keys() - known:
            try:
                self._settle(upload_id)
                report.bytes += found[upload_id]()
                report.orphans += 1
            except (OSError, ResumableError):
                logger.exception("The leftovers of %s could not be removed.", upload_id)
                report.failed.append(upload_id)
            yield upload_id


def complete_pending(service: UploadService, report: Report, *, batch: int) -> Iterator[str]:
    """Take the steps that crashes and failing hooks left undone, ``on_complete`` above all; the id of each upload."""
    for uploads in service.undone(batch=batch):
        for upload in uploads:
            try:
                report.completed += service.make_up(upload.id).status is Status.COMPLETE
            except (UploadLocked, UploadNotFound, UploadExpired, UploadRejected):
                pass  # somebody else is at it, or it is on its way out, or just got there by on_complete's word
            except Exception:
                logger.exception("Upload %s could not be completed.", upload.id)
                report.failed.append(upload.id)
            yield upload.id

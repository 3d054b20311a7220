"""Maintenance: removes expired uploads, and completes steps that were interrupted by crashes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from datetime import timedelta

from ..core.printable import printable
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import ClaimLost
from ..errors import RemovalRefused
from ..errors import ResumableError
from ..errors import TooLarge
from ..errors import UploadExpired
from ..errors import UploadLocked
from ..errors import UploadNotFound
from ..errors import UploadRejected
from ..interfaces.observer import Cleanup
from ..interfaces.observer import Removal
from .orphans import owner_of
from .orphans import without_record
from .uploads import UploadService

logger = logging.getLogger(__package__)


@dataclass(slots=True)
class Report:
    """The results of a maintenance run. Sizes are in bytes."""

    completed: int = 0
    removed: int = 0
    bytes: int = 0
    orphans: int = 0  # unfinished bytes without a record
    busy: int = 0  # in use after all, or being removed by another run
    failed: list[str] = field(default_factory=list)  # ids
    missing: int = 0  # bytes that records told of and that were not found
    hints: set[str] = field(default_factory=set)  # what may be wrong with hooks that failed


class Cleaner:
    """Works through the uploads in batches. Safe to run while the app serves requests, and several times at once."""

    def __init__(self, service: UploadService, *, batch: int) -> None:
        self._service = service
        self._batch = batch

    def expired(self) -> Iterator[Upload]:
        """Yield the uploads to remove: those that have expired, and those whose removal was interrupted."""
        after = None
        while uploads := self._service.repository.expired(self._service.now(), limit=self._batch, after=after):
            yield from (upload for upload in uploads if not self._service.is_held(upload))
            after = uploads[-1]

    def delete_expired(self, report: Report, *, orphans_after: timedelta) -> Iterator[str]:
        """Remove expired uploads and orphans, and yield the id of each.

        :param orphans_after: The age from which unfinished bytes without a record count as orphans.
        """
        began = time.monotonic()
        for upload in self.expired():
            self._delete(upload, report)
            yield upload.id
        # Bytes without a record in this process's memory may have one in that of another process.
        location = self._service.repository.capabilities.location
        if location is None or not location.is_in_memory():
            yield from self._delete_orphans(report, orphans_after)
        self._service.observer.cleaned(
            Cleanup(
                removed=report.removed,
                bytes=report.bytes,
                orphans=report.orphans,
                failed=len(report.failed),
                seconds=time.monotonic() - began,
            )
        )

    def _delete(self, upload: Upload, report: Report) -> None:
        service = self._service
        found = self._found(upload)
        try:
            # Claim, then check again, because a request may have completed or prolonged the upload.
            with service.claiming(upload.id) as claimed:
                if not claimed.upload.is_expired(service.now()):
                    report.busy += 1
                    return
                service.remove(claimed, Removal.EXPIRED)
        except UploadNotFound:
            if upload.can_expire:  # otherwise claiming() raised this after it removed what was left of the upload
                report.busy += 1
                return
        except (UploadLocked, ClaimLost):
            report.busy += 1
            return
        except RemovalRefused as error:
            logger.error(
                "Upload %s has expired, but the database keeps its record: %s", upload.id, printable(error.reason)
            )
            report.failed.append(upload.id)
            return
        except Exception as error:
            logger.exception("Upload %s has expired, but could not be removed.", upload.id)
            report.failed.append(upload.id)
            report.hints.update(getattr(error, "__notes__", ()))
            return
        report.removed += 1
        if upload.status is not Status.GONE:  # the bytes of those were counted when they became tombstones
            report.bytes += found
            report.missing += upload.received.total - found

    def _found(self, upload: Upload) -> int:
        """Return how many of the bytes that were received exist, as far as that can be seen without opening them."""
        storage, total = self._service.storage, upload.received.total
        if not total or upload.status is not Status.ACTIVE:
            return total
        with suppress(OSError, ResumableError):
            path = storage.path(upload)
            if path is None:
                return total
            if path.exists():
                return min(total, path.stat().st_size)
            verification = storage.capabilities.verification
            if verification is not None and verification.verify(upload):
                return 0
        return total

    def _delete_orphans(self, report: Report, older_than: timedelta) -> Iterator[str]:
        found: dict[str, Callable[[], int]] = {}
        for name, remove in self._service.storage.orphans(self._service.now() - older_than):
            found[name] = remove
            if len(found) >= self._batch:
                yield from self._delete_unknown(found, report)
                found = {}
        yield from self._delete_unknown(found, report)

    def _settle(self, name: str) -> None:
        """Let the storage finish a move first, which may still need the orphan to find out where the bytes are."""
        with suppress(UploadNotFound):
            self._service.storage.remove_orphans(owner_of(self._service.repository, name))

    def _delete_unknown(self, found: dict[str, Callable[[], int]], report: Report) -> Iterator[str]:
        # The orphans were listed before the records are queried, and a record is always created before its bytes.
        # So what has no record now will never have one again.
        for name in without_record(self._service.repository, list(found)):
            try:
                self._settle(name)
                report.bytes += found[name]()
                report.orphans += 1
            except (OSError, ResumableError):
                logger.exception("The orphaned bytes of upload %s could not be removed.", name)
                report.failed.append(name)
            yield name


def complete_pending(service: UploadService, report: Report, *, batch: int) -> Iterator[str]:
    """Complete the steps that a crash or a failed hook interrupted, and yield the id of each upload."""
    for uploads in service.pending(batch=batch):
        for upload in uploads:
            try:
                report.completed += service.catch_up(upload.id).status is Status.COMPLETE
            except (UploadLocked, UploadNotFound, UploadExpired, UploadRejected, TooLarge):
                pass  # another request is at work, the upload is being removed, or on_complete has just refused it
            except Exception as error:
                logger.exception("Upload %s could not be completed.", upload.id)
                report.failed.append(upload.id)
                report.hints.update(getattr(error, "__notes__", ()))
            yield upload.id

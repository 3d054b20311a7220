"""Checks whether uploads can work here, and whether something has been left undone."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta

from ..core.health import CheckResult
from ..core.health import clock_result
from ..core.health import ERROR
from ..core.health import OK
from ..core.health import WARNING
from ..core.ids import id_in
from ..core.printable import printable
from ..core.selection import Selection
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import Unavailable
from ..errors import UploadNotFound
from .orphans import without_record
from .uploads import UploadService

logger = logging.getLogger(__package__)

_NOBODY = "0" * 32  # an id that no upload has, because ids are random
_MANY = 1000  # records to count at most
_OVERDUE = timedelta(days=1)  # after which something should have been cleaned up
_STUCK = timedelta(minutes=15)  # after which an upload should have been completed
_SCHEMA = re.compile(r"no such (table|column)|does ?n[o']t exist|unknown column|undefined(table|column)", re.IGNORECASE)


def check(service: UploadService, *, quick: bool) -> Iterator[CheckResult]:
    """Yield a result for each place that was checked. Never raises.

    :param quick: Whether to leave out what takes longer than a probe may: a search for what has been left undone.
    """
    yield _guarded("database", lambda: _database(service))
    try:
        yield from _clock(service)
    except Exception as error:
        yield _failed("database clock", error)
    health = service.storage.capabilities.health
    if health is not None:
        try:
            yield from health.check(service.now(), quick=quick)
        except Exception as error:
            yield _failed("storage", error)
    if not quick:
        yield _guarded("expired uploads", lambda: _expired(service))
        yield _guarded("pending uploads", lambda: _pending(service))
        yield _guarded("interrupted steps", lambda: _interrupted(service))
        yield _guarded("orphans", lambda: _orphans(service))


def _guarded(name: str, run: Callable[[], CheckResult]) -> CheckResult:
    try:
        return run()
    except Exception as error:
        return _failed(name, error)


def _failed(name: str, error: Exception) -> CheckResult:
    cause = error.__cause__ or error
    logger.warning("The check of %s failed: %s", name, printable(cause))  # the message itself may name hosts and users
    kind = type(cause).__name__
    if name == "database" and _SCHEMA.search(str(cause)):
        text = f"The table is not as the model says ({kind}): create it, or run migrations."
        return CheckResult(name, ERROR, text, "schema_differs")
    if name == "database" and isinstance(error, Unavailable):
        text = f"The database cannot be read or written ({kind}): check that it runs, its URL and its rights."
        return CheckResult(name, ERROR, text, "unreachable")
    return CheckResult(name, ERROR, f"This could not be checked ({kind}): see the log for the reason.", "check_failed")


def _database(service: UploadService) -> CheckResult:
    try:
        service.repository.get(_NOBODY)  # selects all columns
    except UploadNotFound:
        pass
    # Changes no record, but a database that is read-only refuses it.
    service.repository.leave_message(Upload(id=_NOBODY, created_at=service.now()), "")
    return CheckResult("database", OK, "The database can be read and written.")


def _clock(service: UploadService) -> Iterator[CheckResult]:
    clock = service.repository.capabilities.clock
    if clock is None:
        return
    earliest = service.now()
    theirs = clock.time()
    if theirs is not None:
        yield clock_result("database clock", "the database", theirs, earliest, service.now())


def _count(found: int) -> str:
    return f"{_MANY} or more" if found >= _MANY else str(found)


def _expired(service: UploadService) -> CheckResult:
    overdue = service.repository.expired(service.now() - _OVERDUE, limit=_MANY)
    found = sum(not service.is_held(upload) for upload in overdue)
    if not found:
        return CheckResult("expired uploads", OK, "No upload expired more than a day ago.")
    text = f"{_count(found)} uploads expired more than a day ago: run 'flask tus delete_expired' every hour."
    return CheckResult("expired uploads", WARNING, text, "not_cleaned_up")


def _pending(service: UploadService) -> CheckResult:
    uploads = next(service.pending(batch=_MANY), [])
    stuck = service.now() - _STUCK
    found = sum(upload.status is Status.FINISHING and _is_older(upload, stuck) for upload in uploads)
    if not found:
        return CheckResult("pending uploads", OK, "No upload waits for on_complete.")
    text = f"on_complete has not succeeded for {_count(found)} uploads: run 'flask tus complete_pending', see the log."
    return CheckResult("pending uploads", WARNING, text, "hooks_failed")


def _interrupted(service: UploadService) -> CheckResult:
    now, found = service.now(), 0
    for status in (Status.NEW, Status.DELETING):
        uploads = service.repository.list(Selection(status=status), limit=_MANY)
        found += sum(_is_older(upload, now - _OVERDUE) and not upload.is_claimed(now) for upload in uploads)
    if not found:
        return CheckResult("interrupted steps", OK, "No creation or removal was left unfinished.")
    text = f"{_count(found)} creations or removals were interrupted: run 'flask tus delete_expired'."
    return CheckResult("interrupted steps", WARNING, text, "steps_interrupted")


def _is_older(upload: Upload, than: datetime) -> bool:
    return upload.updated_at is not None and upload.updated_at < than


def _orphans(service: UploadService) -> CheckResult:
    found: list[str] = []
    for name, _ in service.storage.orphans(service.now() - _OVERDUE):
        if id_in(name) is not None:
            found.append(name)
        if len(found) >= _MANY:
            break
    count = len(without_record(service.repository, found))
    if not count:
        return CheckResult("orphans", OK, "There are no unfinished bytes without a record.")
    text = f"{_count(count)} uploads have unfinished bytes but no record: run 'flask tus delete_expired'."
    return CheckResult("orphans", WARNING, text, "orphans_found")

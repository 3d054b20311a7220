"""What the cleaner counts and reports, while requests are at work and parts of the system fail."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from typing import NoReturn

import pytest

from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import Upload
from flask_resumable.errors import BodyIncomplete
from flask_resumable.errors import RemovalRefused
from flask_resumable.errors import StorageFull
from flask_resumable.errors import Unavailable
from flask_resumable.errors import UploadRejected
from flask_resumable.interfaces import StorageCapabilities
from flask_resumable.interfaces.observer import Cleanup
from flask_resumable.service import cleanup
from flask_resumable.service.cleanup import Cleaner
from flask_resumable.service.cleanup import complete_pending
from flask_resumable.service.cleanup import Report
from flask_resumable.service.space import check_space
from tests.memory_storage import MemoryStorage

from .disk import DiskSite
from .site import HOUR

DAY = timedelta(days=1)


@pytest.fixture
def site(tmp_path: Path) -> DiskSite:
    site = DiskSite(tmp_path)
    site.limits = Limits(expiration=HOUR, sliding=True)
    return site


def begun(site: DiskSite, content: bytes = b"abc") -> Upload:
    """An unfinished upload."""
    upload = site.create(6)
    with pytest.raises(BodyIncomplete):
        site.write(upload, 0, content, size=6)
    return site.saved(upload)


def cleaned(site: DiskSite, *, batch: int = 100) -> Report:
    report = Report()
    [*Cleaner(site.service, batch=batch).delete_expired(report, orphans_after=HOUR)]
    return report


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*args: Any, **options: Any) -> NoReturn:
        raise error

    return fail


def part_of(site: DiskSite, upload: Upload) -> Path:
    return site.folder / ".partial" / f"{upload.stored_as}.part"


def succeed(upload: Any) -> None:
    """A hook that works."""


# --- the cleaner ---


def _prolong(site: DiskSite, upload: Upload) -> None:
    site.now -= timedelta(minutes=1)  # the request came just in time
    with pytest.raises(BodyIncomplete):
        site.write(upload, 3, b"d", size=3)
    site.now += timedelta(minutes=1)


def _remove(site: DiskSite, upload: Upload) -> None:
    site.service.delete(upload.id, owner=None)


def _claim(site: DiskSite, upload: Upload) -> None:
    site.records.claim(upload.id, now=site.now, until=site.now + HOUR, by="another")


@pytest.mark.parametrize("act", [_prolong, _remove, _claim])
def test_uploads_that_others_work_on_are_busy(
    site: DiskSite, monkeypatch: pytest.MonkeyPatch, act: Callable[[DiskSite, Upload], None]
) -> None:
    """They were found, and then prolonged, removed or claimed before the cleaner came to them."""
    uploads = [begun(site), begun(site), begun(site)]
    site.now += HOUR
    find = site.records.expired

    def expired(*args: Any, **options: Any) -> Sequence[Upload]:
        found = find(*args, **options)
        while uploads:
            act(site, uploads.pop())
        return found

    monkeypatch.setattr(site.records, "expired", expired)
    report = cleaned(site)
    assert (report.busy, report.removed, report.bytes, report.failed) == (3, 0, 0, [])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RemovalRefused("a row refers\nto it"), "has expired, but the database keeps its record: a row refers\\nto it"),
        (ZeroDivisionError("no"), "has expired, but could not be removed."),
    ],
)
def test_what_cannot_be_removed_is_a_failure_with_its_reason(
    site: DiskSite, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    """The upload is as it was, and the others are removed."""
    stuck, other = begun(site), begun(site, b"ab")
    error.add_note("a hint")
    site.now += HOUR
    rehearse = site.records.rehearse_removal

    def refusing(upload: Upload, claim: Any) -> None:
        if upload.id == stuck.id:
            raise error
        rehearse(upload, claim)

    monkeypatch.setattr(site.records, "rehearse_removal", refusing)
    report = cleaned(site)
    assert (report.failed, report.removed, report.bytes) == ([stuck.id], 1, 2)
    assert report.hints == (set() if isinstance(error, RemovalRefused) else {"a hint"})
    assert part_of(site, stuck).exists() and not part_of(site, other).exists()
    assert f"Upload {stuck.id} {words}" in caplog.text


def test_pages_are_no_larger_than_the_batch(site: DiskSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many uploads have expired."""
    sizes: list[int] = []
    find = site.records.expired

    def noting(*args: Any, **options: Any) -> Sequence[Upload]:
        sizes.append(len(found := find(*args, **options)))
        return found

    monkeypatch.setattr(site.records, "expired", noting)
    for _ in range(5):
        begun(site)
    site.now += HOUR
    assert cleaned(site, batch=2).removed == 5
    assert max(sizes) == 2


def _lose(site: DiskSite, upload: Upload) -> None:
    part_of(site, upload).unlink()


def _lose_for_nobody(site: DiskSite, upload: Upload) -> None:
    _lose(site, upload)
    site.disk.capabilities = replace(site.disk.capabilities, verification=None)


def _shorten(site: DiskSite, upload: Upload) -> None:
    part_of(site, upload).write_bytes(b"a")


def _hide(site: DiskSite, upload: Upload) -> None:
    site.disk.path = raising(Unavailable("down"))  # type: ignore[method-assign]


def _forbid(site: DiskSite, upload: Upload) -> None:
    site.disk.path = raising(PermissionError("no"))  # type: ignore[method-assign]


def _interrupt(site: DiskSite, upload: Upload) -> None:
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.records, "remove", raising(SystemExit()))
        site.service.delete(upload.id, owner=None)


@pytest.mark.parametrize(
    ("happens", "size", "missing"),
    [
        (lambda site, upload: None, 3, 0),
        (_lose, 0, 3),
        (_shorten, 1, 2),
        (_lose_for_nobody, 3, 0),
        (_hide, 3, 0),
        (_forbid, 3, 0),
        (_interrupt, 3, 0),
    ],
)
def test_bytes_count_as_freed_unless_they_are_known_to_be_lost(
    site: DiskSite, happens: Callable[[DiskSite, Upload], None], size: int, missing: int
) -> None:
    """A storage that cannot say anything is believed, and so is an earlier run that was interrupted."""
    for upload in (begun(site), begun(site)):
        happens(site, upload)
    site.now += HOUR
    report = cleaned(site)
    assert (report.removed, report.bytes, report.missing) == (2, 2 * size, 2 * missing)


class Orphans(MemoryStorage):
    """Bytes that nobody knows, a few of which cannot be removed."""

    def __init__(self, *sizes: int | Exception) -> None:
        super().__init__()
        self.sizes = {f"{number:032x}": size for number, size in enumerate(sizes)}
        self.fails = False
        self.asked: list[datetime] = []

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        self.asked.append(older_than)
        for name, size in self.sizes.items():
            yield name, raising(size) if isinstance(size, Exception) else partial(int, size)
        if self.fails:
            raise Unavailable("down")


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_orphans_are_removed_batch_by_batch(site: DiskSite, caplog: pytest.LogCaptureFixture, batch: int) -> None:
    """One that cannot be removed is a failure, and the others go."""
    site.records.capabilities = replace(site.records.capabilities, location=None)
    site.service.storage = storage = Orphans(1, 2, OSError("no"), 4, Unavailable("down"), 8)
    report = cleaned(site, batch=batch)
    assert (report.orphans, report.bytes) == (4, 15)
    assert sorted(report.failed) == [f"{number:032x}" for number in (2, 4)]
    assert storage.asked == [site.now - HOUR]
    assert f"The orphaned bytes of upload {2:032x} could not be removed." in caplog.messages


def test_records_in_memory_do_not_tell_what_is_an_orphan(site: DiskSite) -> None:
    """The bytes may have a record in another process."""
    site.service.storage = storage = Orphans(1, 2)
    assert (cleaned(site).orphans, storage.asked) == (0, [])


def test_what_was_made_up_for_is_counted(
    site: DiskSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Uploads whose ``on_complete`` failed: it may succeed now, fail again, or refuse the file."""
    outcomes: dict[str, Callable[[Any], None]] = {}
    error = ZeroDivisionError("no")
    error.add_note("a hint")
    sizes: list[int] = []
    pending = site.records.pending

    def noting(**options: Any) -> Sequence[Upload]:
        sizes.append(len(found := pending(**options)))
        return found

    monkeypatch.setattr(site.records, "pending", noting)
    site.during["on_complete"] = raising(SystemExit())
    failures = [raising(error), raising(RuntimeError("without a hint"))]
    for outcome in (None, None, *failures, raising(UploadRejected(415, "no"))):
        with pytest.raises(SystemExit):
            site.create(3, b"abc")
        (upload,) = (upload for upload in site.records.list(limit=9) if upload.id not in outcomes)
        outcomes[upload.id] = outcome or succeed
    site.during["on_complete"] = lambda upload: outcomes[upload.id](upload)
    report = Report()
    assert sorted(complete_pending(site.service, report, batch=2)) == sorted(outcomes)
    failed = sorted([*outcomes][2:4])
    assert (report.completed, sorted(report.failed), report.hints) == (2, failed, {"a hint"})
    assert all(f"Upload {upload_id} could not be completed." in caplog.messages for upload_id in failed)
    assert max(sizes) == 2


def test_a_run_is_told_with_how_long_it_took(site: DiskSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """In seconds."""
    told: list[Cleanup] = []
    monkeypatch.setattr(site.facts, "cleaned", told.append)
    monkeypatch.setattr(cleanup, "time", SimpleNamespace(monotonic=iter([10.0, 12.5]).__next__))
    cleaned(site)
    assert [run.seconds for run in told] == [2.5]


# --- space ---


class Full(MemoryStorage):
    """A storage that knows how much space is left."""

    def __init__(self, left: int | None) -> None:
        super().__init__()
        self.left = left
        self.capabilities = StorageCapabilities(space=self)

    def free(self, upload: Upload) -> int | None:
        return self.left


@pytest.mark.parametrize(
    ("size", "left", "message"),
    [
        (5, 5, None),
        (6, 5, "The server has no space for 6 more bytes; try again later."),
        (1, 0, "The server has no space for 1 more bytes; try again later."),
        (9, None, None),
        (0, 0, None),
        (None, 1, None),
        (None, 0, "The server has no space left; try again later."),
    ],
)
def test_content_that_does_not_fit_is_refused(
    site: DiskSite, size: int | None, left: int | None, message: str | None
) -> None:
    """Before it is received. If its size is not known, there must be space for one byte."""
    upload = site.create(9)
    if message is None:
        check_space(Full(left), upload, size)
    else:
        with pytest.raises(StorageFull) as caught:
            check_space(Full(left), upload, size)
        assert str(caught.value) == message

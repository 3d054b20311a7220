"""Chunks of files on a disk, step by step, while others send the same ones, finish the upload or remove it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any
from typing import NoReturn

import pytest

from flask_resumable.core.ranges import ChunkSpan
from flask_resumable.core.upload import ChunkWrite
from flask_resumable.core.upload import Creation
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import UploadExpired
from flask_resumable.errors import UploadNotFound
from flask_resumable.errors import UploadRejected
from flask_resumable.interfaces import Piped
from flask_resumable.service import progress
from flask_resumable.service.chunks import chunk_service
from flask_resumable.service.chunks import ChunkTransfer
from flask_resumable.service.chunks import LEAST_IN_PLACE
from flask_resumable.service.client_keys import Keys

from .disk import DiskSite
from .site import HOUR

UNIT = LEAST_IN_PLACE
FILE = bytes(range(256)) * (3 * UNIT // 256)
SMALL = b"0123456789" * 3


class Site(DiskSite):
    """An app that receives files in three chunks."""

    def __init__(self, home: Path, **options: bool) -> None:
        super().__init__(home, **options)
        self.keys = Keys(self.service)
        self.chunks = chunk_service(self.service, self.keys, self.disk)

    def wish(self, number: int, content: bytes, key: str = "file") -> ChunkWrite:
        """A client's, to write a chunk of a file in three."""
        size = len(content)
        creation = Creation(length=size, client_key=key, storage=self.disk.layout(size // 3, 3))
        return ChunkWrite(creation=creation, span=ChunkSpan.of(number, size // 3, 3, size))

    def begin(
        self, number: int, content: bytes, *, in_place: bool = True, owner: str | None = None, key: str = "file"
    ) -> ChunkTransfer:
        return self.chunks.begin(self.wish(number, content, key), owner, self.limits, in_place=in_place)

    def end(self, transfer: ChunkTransfer, number: int, content: bytes, key: str = "file") -> Upload:
        """Send what the transfer was begun for."""
        wish = self.wish(number, content, key)
        with closing(transfer):
            transfer.write(content[wish.span.start : wish.span.stop])
            return transfer.finish(wish)

    def send(self, number: int, content: bytes, *, in_place: bool = True, key: str = "file") -> Upload:
        return self.end(self.begin(number, content, in_place=in_place, key=key), number, content, key)


@pytest.fixture(params=[False, True], ids=["", "reporting"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """Without and with ``on_progress``."""
    return Site(tmp_path, reports=request.param)


WAYS = pytest.mark.parametrize("in_place", [False, True], ids=["received first", "in place"])


@pytest.mark.parametrize(
    ("content", "in_place", "kept"),
    [(SMALL, True, True), (FILE, True, False), (FILE, False, True)],
    ids=["small", "in place", "received first"],
)
def test_a_file_is_whole_when_its_chunks_are_there(site: Site, content: bytes, in_place: bool, kept: bool) -> None:
    """In any order. Chunks of 64 KiB or more go straight to their place, where they cannot be withheld any more."""
    for number in (3, 1, 2):
        transfer = site.begin(number, content, in_place=in_place)
        assert transfer.upload is not None
        assert (transfer.is_kept, transfer.room) == (kept, 0 if kept else UNIT)
        upload = site.end(transfer, number, content)
    assert (upload.status, upload.request_count) == (Status.COMPLETE, 3)
    assert site.files() == {upload.id: content}
    saving = ["pre_save", "post_save"]
    assert site.called == ["on_create", *saving * 2, "pre_save", "post_save", "on_complete", "post_complete"]


def test_an_empty_file_is_whole_with_its_only_chunk(site: Site) -> None:
    """Which has nothing to store."""
    wish = ChunkWrite(creation=Creation(length=0, client_key="file"), span=ChunkSpan.of(1, 0, 1, 0))
    with closing(site.chunks.begin(wish, None, site.limits, in_place=True)) as transfer:
        upload = transfer.finish(wish)
    assert upload.status is Status.COMPLETE and site.files() == {upload.id: b""}


def test_content_may_come_through_a_pipe(site: Site) -> None:
    """Into its place, with blocks of bytes before and after."""
    if not hasattr(os, "splice"):
        pytest.skip("This system has no splice().")
    reading, writing = os.pipe()
    os.write(writing, FILE[1000:3000])
    with closing(site.begin(1, FILE)) as transfer:
        for block in (FILE[:1000], Piped(reading, 2000), FILE[3000:UNIT]):
            before = transfer.room
            transfer.write(block)
            assert transfer.room == before - len(block)
        upload = transfer.finish(site.wish(1, FILE))
    os.close(reading)
    os.close(writing)
    assert site.files()[f"{upload.id}.part"] == FILE[:UNIT]


@WAYS
def test_a_chunk_that_is_there_is_not_written_again(site: Site, in_place: bool) -> None:
    """Its content is discarded, be it other than the first; no hook is called."""
    first = site.send(1, FILE, in_place=in_place)
    site.called.clear()
    again = site.send(1, bytes(len(FILE)), in_place=in_place)
    assert (again, site.called) == (first, [])
    assert site.files()[f"{first.id}.part"] == FILE[:UNIT]


@WAYS
def test_a_chunk_that_another_request_stores_meanwhile_is_not_written_again(site: Site, in_place: bool) -> None:
    """Between the look at the record and the place of the chunk: the answer is that of the other request."""
    site.send(3, FILE)
    site.called.clear()
    site.disk.before = lambda: site.send(1, FILE)
    before = _open_files()
    upload = site.send(1, bytes(len(FILE)), in_place=in_place)
    assert _open_files() == before
    assert upload.received.total == 2 * UNIT and site.called.count("post_save") == 1
    assert site.send(2, FILE).status is Status.COMPLETE
    assert site.files() == {upload.id: FILE}


def test_a_chunk_that_another_request_has_begun_and_left_is_written_to_its_place(site: Site) -> None:
    """The next request continues in its stead."""
    site.begin(1, FILE).close()
    transfer = site.begin(1, FILE)
    assert not transfer.is_kept
    assert site.end(transfer, 1, FILE).offset == UNIT


def test_the_latest_request_with_a_chunk_has_its_place(site: Site) -> None:
    """The earlier one is told to come back if that is not done yet, and nothing of it is stored."""
    earlier, later = site.begin(1, bytes(len(FILE))), site.begin(1, FILE)
    with pytest.raises(ClaimLost):
        site.end(earlier, 1, bytes(len(FILE)))
    assert earlier.room == 0
    upload = site.end(later, 1, FILE)
    assert site.files()[f"{upload.id}.part"] == FILE[:UNIT]


@pytest.mark.parametrize("merges", [False, True])
@WAYS
def test_a_request_that_is_late_finds_the_complete_file(tmp_path: Path, in_place: bool, merges: bool) -> None:
    """Others have stored its chunk and all others: it gets their answer, saves nothing, and leaves no file behind."""
    site = Site(tmp_path, merges=merges)
    late = site.begin(1, bytes(len(FILE)), in_place=in_place)
    for number in (1, 2, 3):
        upload = site.send(number, FILE)
    called = [name for name in site.called if name != "pre_save"]
    assert site.end(late, 1, bytes(len(FILE))).status is Status.COMPLETE
    assert [name for name in site.called if name != "pre_save"] == called
    assert site.files() == {upload.id: FILE}


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_chunk_of_an_expired_upload_belongs_to_a_new_one(site: Site, is_removed: bool) -> None:
    """One that was received first is stored there, for the same owner; one in its place is lost."""
    kept = site.begin(1, FILE, in_place=False, owner="ann")
    lost = site.begin(2, FILE, owner="ann")
    (before,) = site.records.list(limit=9)
    if is_removed:
        site.forget()
    else:
        site.now += HOUR
    with pytest.raises(UploadExpired):
        site.end(lost, 2, FILE)
    after = site.end(kept, 1, FILE)
    assert (after.id == before.id, after.owner, after.received.total) == (False, "ann", UNIT)
    assert site.files()[f"{after.id}.part"] == FILE[:UNIT]
    site.forget()
    assert site.files() == {}


def test_a_chunk_whose_upload_expires_while_it_is_written_is_written_to_a_new_one(site: Site) -> None:
    """All of it, from its first byte."""
    transfer = site.begin(1, SMALL)
    (before,) = site.records.list(limit=9)

    def expire() -> None:
        site.now += HOUR

    site.disk.before = expire
    after = site.end(transfer, 1, SMALL)
    assert (site.saved(before).received.total, site.called.count("post_save")) == (0, 1)
    assert after.id != before.id and after.offset == len(SMALL) // 3
    assert site.files()[f"{after.id}.part"] == SMALL[: len(SMALL) // 3]


@WAYS
def test_a_chunk_of_a_cancelled_upload_is_refused(site: Site, in_place: bool) -> None:
    """It does not bring the upload back, and leaves nothing behind."""
    upload = site.send(3, FILE)
    transfer = site.begin(1, FILE, in_place=in_place)
    site.chunks.cancel(upload, owner=None)
    with pytest.raises(UploadNotFound):
        site.end(transfer, 1, FILE)
    with pytest.raises(UploadNotFound):
        site.begin(2, FILE, in_place=in_place)
    assert site.files() == {}


@WAYS
def test_a_chunk_never_gets_into_another_upload_of_the_same_name(site: Site, in_place: bool) -> None:
    """Its own is removed, and the app has given the id to another file, before the chunk gets its place."""
    site.chosen = "report"
    site.send(3, FILE)

    def rename() -> None:
        site.forget()
        site.send(3, bytes(len(FILE)), key="other")
        site.chosen = "report-2"

    site.disk.before = rename
    upload = site.send(1, FILE, in_place=in_place)
    assert (upload.id, upload.received.total) == ("report-2", UNIT)
    assert site.records.get("report").received.total == UNIT
    assert sorted(path for path in site.files() if path.endswith(".part")) == sorted(
        f"{record.stored_as}.part" for record in site.records.list(limit=9)
    )


@WAYS
def test_an_app_can_refuse_a_chunk(site: Site, in_place: bool) -> None:
    """Nothing of it is stored, and nothing stays open."""

    def refuse(upload: Any) -> NoReturn:
        raise UploadRejected(403, "no")

    site.send(3, FILE)
    site.during["pre_save"] = refuse
    before = _open_files()
    for _ in range(3):
        with pytest.raises(UploadRejected):
            site.send(1, FILE, in_place=in_place)
    assert _open_files() == before
    del site.during["pre_save"]
    site.send(1, FILE, in_place=in_place)
    assert _open_files() == before


def _open_files() -> int:
    folder = "/proc/self/fd" if os.path.exists("/proc/self/fd") else "/dev/fd"
    return len(os.listdir(folder))


@WAYS
def test_no_connection_is_held_while_content_comes_or_is_written(site: Site, in_place: bool) -> None:
    """Hooks may use the app's database. What they used is released before a client or the disk is waited for."""
    used: list[bool] = []
    transfer = site.begin(1, FILE, in_place=in_place)  # on_create, and pre_save if it is in place
    used.append(site.records.is_used)
    site.disk.before = lambda: used.append(site.records.is_used)  # after pre_save if it is not
    site.end(transfer, 1, FILE)
    assert used == ([False] if in_place else [False, False])
    site.records.is_used = True
    site.chunks.keep(None, site.limits).close()
    assert not site.records.is_used
    site.records.is_used = True
    site.chunks.release_connection()
    assert not site.records.is_used


def test_a_chunk_whose_upload_is_known_at_last(site: Site) -> None:
    """Its content was kept until then; the upload is the owner's."""
    transfer = site.chunks.keep("ann", site.limits)
    assert transfer.upload is None
    first = site.end(transfer, 1, FILE)
    assert first.owner == "ann"
    assert site.end(site.chunks.keep("ann", site.limits), 1, FILE) == first  # the same again
    site.begin(2, FILE, owner="ann").close()
    kept = site.begin(2, FILE, in_place=False, owner="ann")
    other = site.end(kept, 2, FILE, key="other")  # another file, as fields after the content say
    assert (other.owner, other.client_key, other.received.total) == ("ann", "other", UNIT)


def test_progress_is_that_of_all_chunks_that_arrive_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is recorded, and what has arrived since; a chunk that is given up, or sent again, does not count."""
    site = Site(tmp_path, reports=True)
    seconds = iter(range(99))
    monkeypatch.setattr(progress, "monotonic", lambda: float(next(seconds)))
    slow = site.begin(1, FILE)
    slow.write(FILE[:1000])
    site.send(3, FILE)
    site.send(3, FILE)
    slow.write(FILE[1000:2000])
    given_up = site.begin(2, FILE, in_place=False)
    given_up.write(FILE[:500])
    given_up.close()
    slow.write(FILE[2000:2001])
    slow.write(FILE[2001:UNIT])
    slow.finish(site.wish(1, FILE))
    slow.close()
    site.send(2, FILE)  # all has arrived, so there is nothing to stop any more
    assert site.progress == [1000, 1000 + UNIT, 2000 + UNIT, 2500 + UNIT, 2001 + UNIT, 2 * UNIT]


def test_each_file_has_its_own_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most once a second for each of them."""
    site = Site(tmp_path, reports=True)
    monkeypatch.setattr(progress, "monotonic", lambda: 0.0)
    for key in ("one", "other"):
        for number in (1, 2):
            site.send(number, FILE, key=key)
    assert site.progress == [UNIT, UNIT]

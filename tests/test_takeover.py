"""A new request that meets one at work, in the same process, in another one, and on another machine.

The records are in memory and the bytes on the disk. "Another process" is another service on the same ones, which knows
nothing of the first one's requests; what it can see of a process, and of a machine, is the test's decision.
"""

from __future__ import annotations

import fcntl
import resource
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from flask_resumable.core.upload import Creation
from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.core.upload import Write
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import OffsetMismatch
from flask_resumable.errors import StorageFull
from flask_resumable.errors import UploadLocked
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.service import claims
from flask_resumable.service import takeover
from flask_resumable.service.claims import advanced
from flask_resumable.service.uploads import UploadService
from flask_resumable.storage.local import LocalStorage

from .bodies import NoHooks
from .bodies import PlainBody

LENGTH = 10
LIMITS = Limits()


class Pipe(PlainBody):
    """A body whose next bytes are sent by the test, and taken by whoever has the turn."""

    def __init__(self) -> None:
        self.waits = threading.Event()  # its own thread does, for more
        self._blocks: list[bytes] = []
        self._changed = threading.Condition()
        self._is_awake = False
        self._is_interrupted = False

    def send(self, block: bytes) -> None:
        """As if it had arrived in the kernel, whether or not the thread that waits for it gets to run."""
        with self._changed:
            self._blocks.append(block)
            self._changed.notify()

    def wake(self) -> None:
        """From here on, the thread that waits is woken up by what arrives."""
        with self._changed:
            self._is_awake = True
            self._changed.notify()

    def end(self) -> None:
        """The client has sent all."""
        self.send(b"")
        self.wake()

    def wait(self) -> None:
        self.waits.set()
        with self._changed:
            self._changed.wait_for(lambda: self._is_interrupted or (self._is_awake and self._blocks), 30)

    def take(self) -> bytes | None:
        if self._is_interrupted:
            return b""
        if not self._blocks:
            return None
        block = self._blocks.pop(0)
        self.is_whole = not block
        return block

    @property
    def is_taken(self) -> bool:
        return not self._blocks

    def interrupt(self) -> None:
        with self._changed:
            self._is_interrupted = True
            self._changed.notify()


class Site:
    """Some processes on one repository and one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = MemoryRepository()
        self.storage: Any = LocalStorage(folder)
        self.pool = ThreadPoolExecutor(8)
        self.here, self.there = self.process(), self.process()
        self.id = self.here.create(Creation(length=LENGTH), owner=None, limits=LIMITS).id

    def process(self) -> UploadService:
        """Another one."""
        return UploadService(
            self.repository,
            self.storage,
            NoHooks(),
            lease=timedelta(seconds=30),
            completed_ttl=timedelta(minutes=5),
            cancelled_ttl=timedelta(minutes=2),
            now=lambda: datetime.now(UTC),
        )

    def send(self, service: UploadService, start: int, body: Any) -> Future[Upload]:
        """A request with content, in a thread of its own."""
        return self.pool.submit(self.write, service, start, body)

    def write(self, service: UploadService, start: int, body: Any) -> Upload:
        """The same, here and now."""
        return service.write(self.id, Write(start=start, size=body.size), body, owner=None, limits=LIMITS)

    def hanging(self, service: UploadService, start: int, block: bytes) -> tuple[Pipe, Future[Upload]]:
        """A request that waits for more; ``block`` has arrived since it began to wait."""
        body = Pipe()
        request = self.send(service, start, body)
        assert body.waits.wait(30)
        body.send(block)
        return body, request


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """With one upload of ten bytes, none of which are there."""
    site = Site(tmp_path)
    yield site
    site.pool.shutdown()


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process is on a machine of its own."""
    monkeypatch.setattr(claims, "is_here", lambda name: False)


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process is seen to be dead by the others."""
    monkeypatch.setattr(claims, "is_dead", lambda name: True)


def read(site: Site) -> bytes:
    """The bytes that the record tells of."""
    upload = site.repository.get(site.id)
    with site.storage.open(upload) as stream:
        return bytes(stream.read(upload.offset))


def test_looking_counts_what_lies_in_the_kernel(site: Site) -> None:
    """Within a process, what has arrived for a request that sleeps is stored and told; then that request goes on."""
    body, request = site.hanging(site.here, 0, b"abc")
    assert site.here.look(site.id, owner=None).offset == 3
    assert read(site) == b"abc"
    body.send(b"defghij")
    body.end()
    assert request.result(30).status is Status.COMPLETE


def test_a_block_that_cannot_be_stored_for_another_request_ends_that_request(site: Site) -> None:
    """The block is lost, so the next one must not be stored in its place when there is space again."""
    body, request = site.hanging(site.here, 0, b"abc")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, hard))
    try:
        looked = site.pool.submit(site.here.look, site.id, owner=None)
        with suppress(StorageFull):
            looked.result(30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    body.send(b"defghij")
    body.end()
    with pytest.raises(StorageFull):
        request.result(30)
    assert site.here.look(site.id, owner=None).offset == 0


def test_a_newer_request_continues_at_the_older_ones_offset(site: Site) -> None:
    """What has arrived for the older one counts, and it writes nothing more."""
    body, request = site.hanging(site.here, 0, b"abc")
    newer = Pipe()
    newer.send(b"DEF")
    newer.end()
    assert site.write(site.here, 3, newer).offset == 6
    with pytest.raises(ClaimLost):
        request.result(30)
    body.send(b"xyz")
    assert read(site) == b"abcDEF"


def test_a_newer_request_that_is_too_late_stops_nobody(site: Site) -> None:
    """It is told the offset, which is saved; the older request goes on."""
    body, request = site.hanging(site.here, 0, b"abc")
    with pytest.raises(OffsetMismatch) as refusal:
        site.write(site.here, 0, Pipe())
    assert refusal.value.expected == site.repository.get(site.id).offset == 3
    body.send(b"defghij")
    body.end()
    assert request.result(30).status is Status.COMPLETE


def test_looking_waits_for_a_request_that_is_at_its_end(site: Site) -> None:
    """All has arrived, and only the request's own thread has not seen it yet: HEAD sees what comes of it."""
    body, request = site.hanging(site.here, 0, b"abcdefghij")
    looked = site.pool.submit(site.here.look, site.id, owner=None)
    time.sleep(0.05)  # it is a race: either way, the answer is the same
    body.end()
    try:
        assert looked.result(30).status is Status.COMPLETE
    except UploadLocked:  # on a machine that is too busy to finish within a second
        pass
    assert request.result(30).status is Status.COMPLETE


def test_another_process_tells_what_was_written(site: Site) -> None:
    """How far a request has written is known beside the bytes; looking neither stops it nor takes its claim."""
    body, request = site.hanging(site.here, 0, b"abc")
    body.wake()
    _eventually(lambda: site.there.look(site.id, owner=None).offset == 3)
    assert read(site) == b"abc"
    assert not request.done()
    body.send(b"defghij")
    body.end()
    assert request.result(30).status is Status.COMPLETE


def test_what_another_process_has_told_stays_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder has not saved it, and cannot now, because the disk keeps its next write waiting."""
    monkeypatch.setattr(takeover, "PATIENCE", 0.1)
    body, request = site.hanging(site.here, 0, b"abc")
    body.wake()
    _eventually(lambda: site.there.look(site.id, owner=None).offset == 3)
    (lock,) = site.folder.rglob("*.lock")
    try:
        with lock.open("rb") as fence:
            fcntl.flock(fence, fcntl.LOCK_EX)
            body.send(b"defghij")
            _eventually(lambda: body.is_taken)
            assert site.here.look(site.id, owner=None).offset == 3
    finally:
        body.end()
    assert request.result(30).status is Status.COMPLETE


def test_another_process_goes_on_where_the_older_has_written(site: Site) -> None:
    """Without communicating, and without losing a byte."""
    body, request = site.hanging(site.here, 0, b"abc")
    body.wake()
    _eventually(lambda: site.there.look(site.id, owner=None).offset == 3)
    newer = Pipe()
    newer.send(b"DEF")
    newer.end()
    assert site.write(site.there, 3, newer).offset == 6
    body.send(b"xyz")
    body.wake()
    with pytest.raises(ClaimLost):
        request.result(30)
    assert read(site) == b"abcDEF"


@pytest.mark.usefixtures("dead")
def test_what_a_dead_process_has_written_counts(site: Site) -> None:
    """Its record says nothing of it; the next one counts it, and gets the upload without waiting for the lease."""
    body, request = site.hanging(site.here, 0, b"abc")
    body.wake()
    _eventually(lambda: site.storage.progress(site.repository.get(site.id)) == 3)
    upload = site.there.look(site.id, owner=None)
    assert (upload.offset, upload.claimed_by != "", read(site)) == (3, True, b"abc")
    assert site.repository.get(site.id).is_released
    body.end()
    with pytest.raises(ClaimLost):
        request.result(30)


@pytest.mark.usefixtures("far")
def test_another_machine_asks_and_is_told(site: Site) -> None:
    """It leaves a message in the record. The holder saves what has arrived and goes on."""
    body, request = site.hanging(site.here, 0, b"abc")
    assert site.there.look(site.id, owner=None).offset == 3
    assert not request.done()
    body.send(b"defghij")
    body.end()
    assert request.result(30).status is Status.COMPLETE


@pytest.mark.usefixtures("far")
def test_another_machine_asks_before_it_takes(site: Site) -> None:
    """The holder saves what has arrived, and leaves."""
    _, request = site.hanging(site.here, 0, b"abc")
    newer = Pipe()
    newer.send(b"DEFGHIJ")
    newer.end()
    assert site.write(site.there, 3, newer).status is Status.COMPLETE
    assert read(site) == b"abcDEFGHIJ"
    with pytest.raises(ClaimLost):
        request.result(30)


@pytest.mark.usefixtures("far")
def test_a_machine_that_does_not_answer_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment the upload is taken; what the other had not saved is lost, and it can save nothing any more."""
    monkeypatch.setattr(site.repository, "messages", lambda: [])
    body, request = site.hanging(site.here, 0, b"abc")
    newer = Pipe()
    newer.send(b"ABCDEFGHIJ")
    newer.end()
    assert site.write(site.there, 0, newer).status is Status.COMPLETE
    body.end()
    with pytest.raises(ClaimLost):
        request.result(30)


class Notes:
    """A watch that notes what it is told."""

    every = 0.0

    def __init__(self, site: Site) -> None:
        self.offsets: list[int] = []
        self._site = site

    def tell(self, upload: Upload) -> None:
        assert self._site.repository.get(upload.id).offset == upload.offset
        self.offsets.append(upload.offset)


def test_a_watch_is_told_what_is_saved(site: Site) -> None:
    """While the content comes in, and in order; the end is for the answer to tell."""
    body = Pipe()
    notes = body.watch = Notes(site)
    body.wake()
    request = site.send(site.here, 0, body)
    for number, block in enumerate((b"abc", b"def")):
        body.send(block)
        _eventually(lambda number=number: 3 * (number + 1) in notes.offsets)
    body.send(b"ghij")
    body.end()
    assert request.result(30).status is Status.COMPLETE
    assert notes.offsets == sorted(notes.offsets)


def test_a_creation_is_told_before_its_content_is_read(site: Site) -> None:
    """With the upload, which is there already."""
    body = Pipe()
    told: list[Upload] = []

    def created(upload: Upload) -> None:
        told.append(site.repository.get(upload.id))
        assert not body.waits.is_set()
        body.end()

    content = (Write(start=0, size=None), body)
    site.here.create(Creation(length=LENGTH), owner=None, limits=LIMITS, content=content, created=created)
    assert [upload.status for upload in told] == [Status.ACTIVE]


def test_looking_waits_for_whoever_has_asked_the_holder_to_leave(site: Site) -> None:
    """Between a holder that has left and the request for which it did, the record is free: HEAD is not too early."""
    now = datetime.now(UTC)
    until = now + timedelta(seconds=30)
    claim = site.repository.claim(site.id, now=now, until=until, by="another machine")[1]
    site.repository.leave_message(site.repository.get(site.id), "leave 0")
    looked = site.pool.submit(site.here.look, site.id, owner=None, may_have_overtaken=True)
    time.sleep(0.02)
    site.repository.release(claim)
    time.sleep(0.25)  # it looks a few times a second
    taken, newer = site.repository.claim(site.id, now=now, until=until, by="another machine")
    site.repository.save(advanced(taken, 4), newer, until=None)
    assert looked.result(30).fence == newer.fence


def test_progress_is_not_saved_while_bytes_flow(site: Site) -> None:
    """A request that lasts changes its record when it begins and when it ends, however many blocks come."""
    body, request = site.hanging(site.here, 0, b"a")
    before = site.repository.get(site.id).version
    body.wake()
    for block in (b"b", b"c", b"d"):
        body.waits.clear()
        body.send(block)
        assert body.waits.wait(30)
    assert site.repository.get(site.id).version == before
    body.send(b"efghij")
    body.end()
    assert request.result(30).status is Status.COMPLETE


def test_progress_does_not_count_after_a_power_failure(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not be on the disk, though the note of it is."""
    body, request = site.hanging(site.here, 0, b"abc")
    body.wake()
    _eventually(lambda: site.storage.progress(site.repository.get(site.id)) == 3)
    monkeypatch.setattr("flask_resumable.storage.local.fence.boot", lambda: b"another run".ljust(16))
    assert site.storage.progress(site.repository.get(site.id)) == 0
    body.end()
    request.exception(30)


@pytest.mark.usefixtures("far")
def test_another_machine_that_is_too_late_stops_nobody(site: Site) -> None:
    """It is told the offset that the holder has reached, who goes on."""
    body, request = site.hanging(site.here, 0, b"abc")
    with pytest.raises(OffsetMismatch) as refusal:
        site.write(site.there, 0, Pipe())
    assert refusal.value.expected == 3
    assert not request.done()
    body.send(b"defghij")
    body.end()
    assert request.result(30).status is Status.COMPLETE


def _eventually(is_true: Any) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)

"""What a request does, step by step, when another one has its upload: whom it asks, what it waits for, and how long.

The records are in memory, and so is the time: whoever sleeps moves it, and then what was to happen until then happens.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.replacing import replace
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import OffsetMismatch
from flask_resumable.errors import UploadLocked
from flask_resumable.interfaces import Claim
from flask_resumable.interfaces.observer import Observer
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.service import claims as module
from flask_resumable.service.claims import advanced
from flask_resumable.service.claims import ClaimedUpload
from flask_resumable.service.claims import Claims
from flask_resumable.service.takeover import Listener
from flask_resumable.service.takeover import PATIENCE
from flask_resumable.service.takeover import Takeover
from flask_resumable.storage.local import LocalStorage

from .own_time import Clock

ID = "0" * 32
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LEASE = timedelta(minutes=10)
UPLOAD = Upload(
    id=ID, length=9, status=Status.ACTIVE, created_at=START, received=ByteRanges.prefix(2), updated_at=START
)
OTHER = "other.1.2.3"


class Ended(threading.Event):
    """The end of a request, for which others wait in the test's time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None, "Nobody waits forever."
        deadline = self._clock.now + timeout
        while not self.is_set() and self._clock.now < deadline:
            self._clock.sleep(0.001)
        return self.is_set()


class Transfer:
    """A transfer in this process, which answers as the test says."""

    is_withheld = False

    def __init__(self, answer: Upload | None) -> None:
        self.answer = answer
        self.asked: list[object] = []

    def show(self, patience: float, *, answer: bool = False) -> Upload | None:
        self.asked.append(("show", patience, answer))
        return self.answer

    def leave(self, patience: float, *, at: int | None) -> Upload | None:
        self.asked.append(("leave", patience, at))
        return self.answer

    def stop(self) -> None:
        self.asked.append("stop")


class Site:
    """One process, and an upload of another request."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock = clock
        self.now = START
        self.repository = MemoryRepository()
        self.storage = LocalStorage(folder)
        self.claims = Claims(self.repository, self.storage, lease=LEASE, now=lambda: self.now, observer=Observer())
        self.takeover = self.with_progress()
        claim = self.repository.add(UPLOAD, until=None)
        with self.storage.writer(UPLOAD, 0, claim.fence) as writer:
            writer.write(b"ab")

    def with_progress(self, *, is_known: bool = True) -> Takeover:
        storage = self.storage
        if not is_known:
            storage.capabilities = dataclasses.replace(storage.capabilities, progress=None)
        return Takeover(self.repository, storage, self.claims, lambda: self.now)

    @property
    def saved(self) -> Upload:
        return self.repository.get(ID)

    def claim(self, by: str = OTHER, lease: timedelta = LEASE) -> Claim:
        return self.repository.claim(ID, now=self.now, until=self.now + lease, by=by, over=self.saved.fence)[1]

    def write(self, claim: Claim, content: bytes) -> None:
        with self.storage.writer(self.saved, self.saved.offset, claim.fence) as writer:
            writer.write(content)

    def save(self, claim: Claim, offset: int, *, last: bool = False) -> None:
        until = None if last else self.now + LEASE
        self.repository.save(advanced(self.saved, offset), claim, until=until)

    def own(self, transfer: Transfer | None) -> ClaimedUpload:
        """A request of this process that holds the upload."""
        claimed = self.claims.take_free(ID, owner=None)
        assert claimed is not None
        claimed.ended = Ended(self.clock)
        claimed.transfer = transfer
        return claimed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def site(tmp_path: Path, clock: Clock) -> Site:
    return Site(tmp_path, clock)


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes are on this machine, and alive."""
    monkeypatch.setattr(module, "is_here", lambda name: True)
    monkeypatch.setattr(module, "is_dead", lambda name: False)


# --- in this process ---


def test_looking_asks_the_request_itself(site: Site) -> None:
    """It saves what has arrived, and says what that is."""
    transfer = Transfer(replace(UPLOAD, version=77))
    site.own(transfer)
    assert site.takeover.look(site.saved).version == 77
    assert transfer.asked == [("show", PATIENCE, False)]


def test_a_request_at_its_end_is_waited_for(site: Site) -> None:
    """It has nothing to show any more, and its result is in the record as soon as it has ended."""
    for way, asked in enumerate((("show", PATIENCE, False), ("leave", PATIENCE, 2))):
        transfer = Transfer(None)
        claimed = site.own(transfer)
        before = site.saved
        site.clock.after(0.7, claimed.ended.set)
        site.clock.after(0.69, partial(claimed.save, advanced(claimed.upload, 9), last=True))
        assert _ways(site)[way](before).offset == 9
        assert transfer.asked == [asked]


@pytest.mark.parametrize("way", [0, 1])
def test_a_request_that_does_not_end_is_waited_for_a_moment(site: Site, way: int) -> None:
    """It may be storing a block on a slow disk. The record says what it has saved."""
    site.own(Transfer(None))
    assert _ways(site)[way](site.saved).offset == 2
    assert PATIENCE <= site.clock.slept < PATIENCE + 0.01


def test_a_request_in_a_hook_is_waited_for(site: Site) -> None:
    """For the time that a client has patience for; then the upload is as it was."""
    claimed = site.own(None)
    before = site.saved
    for ask in (site.takeover.look, lambda upload: site.takeover.make_way(2, upload)):
        site.clock.slept = 0
        assert ask(before) is before
        assert PATIENCE <= site.clock.slept < PATIENCE + 0.01
    transfer = Transfer(replace(UPLOAD, version=77))
    site.clock.after(0.1, lambda: setattr(claimed, "transfer", transfer))
    site.clock.slept = 0
    assert site.takeover.look(before).version == 77
    assert 0.1 <= site.clock.slept < 0.11


def test_content_that_a_server_holds_back_may_end_by_itself(site: Site) -> None:
    """Its connection may have ended; then the record says what came of it, and nobody is asked."""
    transfer = Transfer(replace(UPLOAD, version=77))
    transfer.is_withheld = True
    claimed = site.own(transfer)
    before = site.saved
    assert site.takeover.look(before).version == 77  # it has not ended
    assert 0.05 <= site.clock.slept < 0.06
    claimed.save(advanced(claimed.upload, 5))
    site.clock.after(0.04, claimed.ended.set)
    transfer.asked.clear()
    assert site.takeover.look(before).offset == 5
    assert transfer.asked == []
    transfer.is_withheld = False
    assert site.takeover.look(before).version == 77


@pytest.mark.parametrize(("is_withheld", "patience"), [(True, 0.05), (False, 0)])
def test_content_that_a_server_holds_back_is_not_replaced_at_once(
    site: Site, is_withheld: bool, patience: float
) -> None:
    """The server hands it over as soon as it sees that the connection has ended."""
    transfer = Transfer(site.saved)
    transfer.is_withheld = is_withheld
    site.own(transfer)
    assert site.takeover.make_way(2, site.saved).offset == 2
    assert patience <= site.clock.slept < patience + 0.01


@pytest.mark.parametrize("at", [None, 5, 2])
def test_a_newer_request_asks_the_older_one_to_leave(site: Site, at: int | None) -> None:
    """From where it continues; if the older one has got elsewhere, the newer one is too late."""
    transfer = Transfer(None)
    claimed = site.own(transfer)
    before = site.saved
    claimed.save(advanced(claimed.upload, 5))
    transfer.answer = site.saved
    if at == 2:
        with pytest.raises(OffsetMismatch) as caught:
            site.takeover.make_way(at, before)
        assert (caught.value.expected, caught.value.provided) == (5, 2)
    else:
        assert site.takeover.make_way(at, before) == site.saved
    assert transfer.asked == [("leave", PATIENCE, at)]


# --- in another process ---


def _ways(site: Site) -> list[Callable[[Upload], Upload]]:
    return [site.takeover.look, lambda upload: site.takeover.make_way(2, upload)]


def test_a_holder_that_is_gone_is_not_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its claim has expired, or its process is dead."""
    site.claim()
    before = site.saved
    with monkeypatch.context() as patch:
        patch.setattr(module, "is_dead", lambda name: True)
        for ask in _ways(site):
            assert ask(before) is before
    site.now += LEASE
    for ask in _ways(site):
        assert ask(before) is before
    assert site.clock.slept == 0
    assert site.saved.claim_message is None


@pytest.mark.usefixtures("near")
def test_the_progress_of_a_neighbour_is_beside_the_bytes(site: Site) -> None:
    """It is told and recorded, without stopping the holder or leaving a message."""
    claim = site.claim()
    site.write(claim, b"cde")
    found = site.takeover.look(site.saved)
    assert found.offset == site.saved.offset == 5
    assert site.saved.claim_message is None
    again = site.saved
    assert site.takeover.look(again).version == again.version == site.saved.version
    site.repository.renew(claim, until=site.now + LEASE)


@pytest.mark.usefixtures("near")
def test_a_neighbour_at_its_end_is_left_alone(site: Site) -> None:
    """It is about to complete the upload."""
    claim = site.claim()
    site.write(claim, b"cdefghi")
    with pytest.raises(UploadLocked):
        site.takeover.look(site.saved)
    assert site.takeover.make_way(9, site.saved).offset == 2


@pytest.mark.usefixtures("near")
def test_a_neighbour_that_saves_meanwhile_is_right(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has saved is what is told."""
    claim = site.claim()
    site.write(claim, b"cde")
    save_progress = site.repository.save_progress

    def late(upload: Upload) -> bool:
        site.save(claim, 6)
        return save_progress(upload)

    monkeypatch.setattr(site.repository, "save_progress", late)
    assert site.takeover.look(site.saved).offset == 6


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize("at", [None, 5, 2])
def test_a_neighbour_is_continued_where_it_got(site: Site, at: int | None) -> None:
    """Whoever continues elsewhere is told the offset, which is recorded."""
    claim = site.claim()
    site.write(claim, b"cde")
    before = site.saved
    if at == 2:
        with pytest.raises(OffsetMismatch) as caught:
            site.takeover.make_way(at, before)
        assert (caught.value.expected, caught.value.provided) == (5, 2)
        assert site.saved.offset == 5
    else:
        found = site.takeover.make_way(at, before)
        assert (found.fence, found.is_receiving, found.offset) == (before.fence, True, 2)
    assert site.saved.claim_message is None


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize(("way", "patience"), [(0, 0.1), (1, 0.02)])
def test_a_neighbour_whose_connection_has_ended_releases_by_itself(site: Site, way: int, patience: float) -> None:
    """It is given a moment: a short one by content, whose client has asked for the offset before."""
    claim = site.claim()
    site.write(claim, b"cde")
    before = site.saved
    site.clock.after(0.004, lambda: site.save(claim, 4, last=True))
    assert _ways(site)[way](before).offset == 4
    claim = site.claim()
    site.clock.slept = 0
    site.clock.after(patience * 0.9, lambda: site.save(claim, 6, last=True))
    assert _ways(site)[way](site.saved).offset == 6
    claim = site.claim()
    site.clock.slept = 0
    _ways(site)[0](site.saved) if way == 0 else site.takeover.make_way(None, site.saved)
    assert 0.005 + patience <= site.clock.slept < 0.005 + patience + 0.05


@pytest.mark.usefixtures("near")
def test_a_neighbour_that_is_writing_is_not_waited_for(site: Site) -> None:
    """It has not lost its connection."""
    claim = site.claim()
    site.write(claim, b"c")
    site.clock.after(0.004, lambda: site.write(claim, b"cde"))
    assert site.takeover.look(site.saved).offset == 5
    assert site.clock.slept == pytest.approx(0.005)


@pytest.mark.usefixtures("near")
def test_a_neighbour_that_was_replaced_meanwhile_is_not_judged(site: Site) -> None:
    """The upload has another holder, or none."""
    claim = site.claim()
    before = site.saved
    site.clock.after(0.004, lambda: site.claim(by="third.1.2.3"))
    found = site.takeover.make_way(None, before)
    assert found.fence == claim.fence + 1


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize("way", [0, 1])
def test_a_neighbour_that_completes_the_upload_meanwhile_is_left_alone(site: Site, way: int) -> None:
    """Its hook is running, for which other rules hold."""
    claim = site.claim()
    site.write(claim, b"cdefghi")
    finishing = replace(advanced(site.saved, 9), status=Status.FINISHING)
    site.clock.after(0.004, lambda: site.repository.save(finishing, claim, until=site.now + LEASE))
    found = _ways(site)[way](site.saved)
    assert (found.status, found.is_released, found.offset) == (Status.FINISHING, False, 9)


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize("way", [0, 1])
def test_a_neighbour_that_dies_meanwhile_is_not_asked(site: Site, monkeypatch: pytest.MonkeyPatch, way: int) -> None:
    """Its upload is free, and whoever claims it counts what is there."""
    claim = site.claim()
    site.write(claim, b"cde")
    before = site.saved
    site.clock.after(0.004, lambda: monkeypatch.setattr(module, "is_dead", lambda name: True))
    assert _ways(site)[way](before) == before == site.saved


@pytest.mark.usefixtures("near")
def test_a_neighbour_that_only_renews_its_claim_may_still_release_it(site: Site) -> None:
    """Nothing has arrived for it, so its connection may have ended."""
    claim = site.claim()
    site.clock.after(0.02, lambda: site.repository.renew(claim, until=site.now + LEASE))
    site.clock.after(0.08, lambda: site.save(claim, 4, last=True))
    assert site.takeover.look(site.saved).is_released


# --- on another machine ---


@pytest.mark.parametrize("has_progress", [False, True])
def test_another_machine_is_left_a_message(site: Site, request: pytest.FixtureRequest, has_progress: bool) -> None:
    """So is a process on this one, if the storage does not know its progress. It answers by saving."""
    if not has_progress:
        request.getfixturevalue("near")
        site.takeover = site.with_progress(is_known=False)
    claim = site.claim()
    before = site.saved
    messages: list[str | None] = []

    def answer(offset: int) -> None:
        messages.append(site.saved.claim_message)
        site.save(claim, offset)

    site.clock.after(0.2, lambda: answer(4))
    assert site.takeover.look(before).offset == 4
    assert 0.2 <= site.clock.slept < 0.25
    site.clock.slept = 0
    site.clock.after(0.2, lambda: answer(6))
    with pytest.raises(OffsetMismatch) as caught:
        site.takeover.make_way(5, site.saved)
    assert (caught.value.expected, caught.value.provided) == (6, 5)
    assert 0.2 <= site.clock.slept < 0.25
    site.clock.after(0.2, lambda: answer(7))
    assert site.takeover.make_way(7, site.saved).offset == 7
    site.clock.after(0.2, lambda: answer(8))
    assert site.takeover.make_way(None, site.saved).offset == 8
    assert messages == ["show", "leave 5", "leave 7", "leave"]


def test_a_machine_that_has_released_did_not_refuse(site: Site) -> None:
    """Whatever the offset is: the newer request finds out when it claims the upload."""
    claim = site.claim()
    site.clock.after(0.2, lambda: site.save(claim, 6, last=True))
    assert site.takeover.make_way(5, site.saved).is_released
    claim = site.claim()
    site.clock.slept = 0
    site.clock.after(0.2, lambda: site.claim(by="third.1.2.3"))
    assert site.takeover.make_way(5, site.saved).fence == claim.fence + 1
    assert 0.2 <= site.clock.slept < 0.25
    site.clock.slept = 0
    site.clock.after(0.2, lambda: site.claim(by="fourth.1.2.3"))
    assert site.takeover.look(site.saved).fence == claim.fence + 2
    assert 0.2 <= site.clock.slept < 0.25


def test_a_machine_that_does_not_answer_is_waited_for_a_moment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is seen to be dead meanwhile."""
    site.claim()
    for ask in _ways(site):
        site.clock.slept = 0
        assert ask(site.saved).offset == 2
        assert PATIENCE < site.clock.slept < PATIENCE + 0.05
        with monkeypatch.context() as patch:
            patched = lambda: patch.setattr(module, "is_dead", lambda name: True)  # noqa: E731
            site.clock.slept = 0
            site.clock.after(0.2, patched)
            assert ask(site.saved).offset == 2
            assert 0.2 <= site.clock.slept < 0.25


# --- before it began ---


def _begin(site: Site, upload: Upload | None = None) -> Upload:
    site.clock.slept = 0
    return site.takeover.let_begin(upload or site.saved)


def test_content_that_may_be_overtaken_is_given_a_moment(site: Site) -> None:
    """If the upload was worked on lately; nothing else is waited for."""
    site.now += timedelta(seconds=2.999)
    assert _begin(site) == site.saved
    assert site.clock.slept == pytest.approx(0.1)
    site.now += timedelta(seconds=0.001)
    before = site.saved
    for upload in (before, replace(before, updated_at=None), replace(before, status=Status.COMPLETE)):
        assert _begin(site, upload) is upload
        assert site.clock.slept == 0
    for upload in (replace(before, updated_at=None), replace(before, status=Status.COMPLETE)):
        site.now = START
        assert _begin(site, upload) is upload
        assert site.clock.slept == 0


@pytest.mark.parametrize("is_recent", [False, True])
def test_content_that_is_announced_is_waited_for(site: Site, is_recent: bool) -> None:
    """Until it has claimed the upload, whenever that was worked on."""
    site.now += timedelta(0 if is_recent else 60)
    before = site.saved
    with site.claims.announced(ID):
        site.clock.after(0.3, lambda: site.claims._announced.remove(ID))
        site.clock.after(0.25, site.claim)
        assert _begin(site, before).fence == before.fence + 1
        assert 0.3 <= site.clock.slept < 0.31
        site.claims._announced.append(ID)
        assert _begin(site, before).fence == before.fence + 1
        assert PATIENCE <= site.clock.slept < PATIENCE + 0.01


def test_content_that_is_announced_late_is_waited_for(site: Site) -> None:
    """The moment was not over."""
    before = site.saved
    site.clock.after(0.06, lambda: site.claims._announced.append(ID))
    site.clock.after(0.09, site.claim)
    site.clock.after(0.1, lambda: site.claims._announced.remove(ID))
    assert _begin(site, before).fence == before.fence + 1
    assert 0.1 <= site.clock.slept < 0.11


@pytest.mark.parametrize(
    ("message", "patience"), [("show", 0.1), ("leave", PATIENCE), ("leave 5", PATIENCE), (None, 0.1)]
)
def test_content_for_which_the_holder_was_asked_to_leave_is_waited_for(
    site: Site, message: str | None, patience: float
) -> None:
    """Its process looks a few times a second whether it may begin."""
    site.claim()
    if message:
        site.repository.leave_message(site.saved, message)
    before = site.saved
    assert _begin(site, before).fence == before.fence
    assert patience - 0.001 <= site.clock.slept < patience + 0.05
    if message is not None and message != "show":
        site.clock.after(patience - 0.1, site.claim)
        assert _begin(site, before).fence == before.fence + 1
        assert site.clock.slept < patience


@pytest.mark.parametrize("is_own", [False, True])
def test_an_upload_that_was_just_released_elsewhere_may_have_been_so_for_content(site: Site, is_own: bool) -> None:
    """That content gets a little more time; in this process, it would have been announced."""
    claim = site.claim(by=str(site.claims._name) if is_own else OTHER)
    before = site.saved
    site.repository.release(claim)
    _begin(site, before)
    assert site.clock.slept == pytest.approx(0.1 if is_own else 0.18, abs=0.021)
    assert (site.clock.slept > 0.15) != is_own
    _begin(site)
    assert site.clock.slept == pytest.approx(0.1)


# --- messages ---


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        ("show", ("show", PATIENCE, True)),
        ("leave", ("leave", PATIENCE, None)),
        ("leave 5", ("leave", PATIENCE, 5)),
        ("leave 0", ("leave", PATIENCE, 0)),
    ],
)
def test_messages_reach_the_transfer(site: Site, message: str, asked: object) -> None:
    """As the request of another machine meant them; one at a time."""
    listener = Listener(site.repository, site.claims, lambda: False)
    claimed = site.own(None)
    site.repository.leave_message(site.saved, message)
    listener._hear()  # it has not begun
    transfer = Transfer(None)
    claimed.transfer = transfer
    listener._granting.add(claimed)
    listener._hear()
    assert transfer.asked == []
    listener._grant(claimed, transfer, message)
    assert transfer.asked == [asked]
    assert not listener._granting


def test_an_upload_that_was_lost_is_no_failure_of_the_listener(site: Site) -> None:
    """The request itself finds out; other errors are bugs, and end its thread."""
    listener = Listener(site.repository, site.claims, lambda: False)
    transfer = Transfer(None)
    claimed = site.own(transfer)
    for error, is_told in ((ClaimLost(), False), (ZeroDivisionError(), True)):

        def fail(*arguments: Any, error: Exception = error, **options: Any) -> None:
            raise error

        transfer.show = fail  # type: ignore[method-assign]
        listener._granting.add(claimed)
        if is_told:
            with pytest.raises(ZeroDivisionError):
                listener._grant(claimed, transfer, "show")
        else:
            listener._grant(claimed, transfer, "show")
        assert not listener._granting

"""Claims at the exact moment: who may have an upload, for how long, and what is left when one is lost.

The records are in memory, the bytes on the disk, and the time moves when the test says so.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import nullcontext
from contextlib import suppress
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from flask_resumable.core.concat import Concat
from flask_resumable.core.placement import with_name
from flask_resumable.core.quota import Quota
from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.replacing import replace
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import QuotaExceeded
from flask_resumable.errors import Unavailable
from flask_resumable.errors import UploadLocked
from flask_resumable.errors import UploadNotFound
from flask_resumable.interfaces import Claim
from flask_resumable.interfaces.observer import Observer
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.service import claims as module
from flask_resumable.service.claims import advanced
from flask_resumable.service.claims import ClaimedUpload
from flask_resumable.service.claims import Claims
from flask_resumable.storage.local import LocalStorage

from .dead import died
from .own_time import set_time

ID = "0" * 32
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LEASE = timedelta(seconds=6)
MOMENT = timedelta(microseconds=1)
ELSEWHERE = "elsewhere.1.2.3"  # a process of another machine
UPLOAD = Upload(id=ID, length=9, status=Status.ACTIVE, created_at=START, received=ByteRanges.prefix(2))


class Told(Observer):
    """Notes takeovers."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, int]] = []

    def took_over(self, upload: Upload) -> None:
        self.noted.append(("took over", upload.offset))

    def rescued(self, upload: Upload, size: int) -> None:
        assert upload.id == ID
        self.noted.append(("rescued", size))


class Site:
    """One process."""

    def __init__(self, folder: Path) -> None:
        self.now = START
        self.repository = MemoryRepository()
        self.storage = LocalStorage(folder)
        self.told = Told()
        self.claims = self.process()

    def process(self) -> Claims:
        """Claims that know nothing of the others'."""
        return Claims(self.repository, self.storage, lease=LEASE, now=lambda: self.now, observer=self.told)

    @property
    def name(self) -> str:
        """What the claims of this process say."""
        return str(self.claims._name)

    @property
    def saved(self) -> Upload:
        return self.repository.get(ID)

    def claim(self, by: str | None = ELSEWHERE, lease: timedelta = LEASE, **changes: Any) -> Claim:
        """A claim of another process, which may save something else, too."""
        until = self.now + lease
        _, claim = self.repository.claim(ID, now=self.now, until=until, by=by, over=self.saved.fence)
        if changes:
            self.repository.save(replace(self.saved, **changes), claim, until=until)
        return claim

    def write(self, content: bytes, claim: int = 1) -> None:
        """Bytes that a request has written but not saved."""
        with self.storage.writer(self.saved, self.saved.offset, claim) as writer:
            writer.write(content)

    def files(self) -> set[str]:
        return {path.name for path in self.storage.root.rglob("*") if path.is_file()}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """With one upload, unclaimed."""
    site = Site(tmp_path)
    claim = site.repository.add(UPLOAD, until=None)
    with site.storage.writer(UPLOAD, 0, claim.fence) as writer:
        writer.write(b"ab")
    return site


@contextmanager
def near(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """All processes are on this machine, and alive."""
    with patch.context() as here:
        here.setattr(module, "is_here", lambda name: True)
        here.setattr(module, "is_dead", lambda name: False)
        yield


# --- one claim ---


@pytest.mark.parametrize(("is_receiving", "leases"), [(False, 1), (True, 15)])
def test_how_long_a_claim_lasts(site: Site, is_receiving: bool, leases: int) -> None:
    """A lease, or many while content arrives and the record is rarely saved. It is renewed after a third."""
    with site.claims.take(ID, is_receiving=is_receiving) as claimed:
        assert site.saved.claimed_until == START + leases * LEASE
        site.now += leases * LEASE / 3 - MOMENT
        assert not claimed.is_due
        site.now += MOMENT
        assert claimed.is_due
        claimed.renew()
        assert not claimed.is_due
        assert site.saved.claimed_until == site.now + leases * LEASE
        site.now += 2 * leases * LEASE / 3
        claimed.save(claimed.upload)
        assert not claimed.is_due
        assert site.saved.claimed_until == site.now + leases * LEASE


def test_a_claim_shows_the_record(site: Site) -> None:
    """Hooks see the upload as it is in the repository, whatever it was before."""
    for by in (None, died()):
        if by:
            claim = site.claim(by=by)
            site.repository.leave_message(site.saved, "show")
            assert claim.fence == site.saved.fence
        site.now += LEASE / 9
        with site.claims.take(ID) as claimed:
            assert replace(claimed.upload, updated_at=site.now) == site.saved
            assert site.saved.claimed_by == site.name
            claimed.save(replace(claimed.upload, max_size=77))
            assert (site.saved.max_size, site.saved.updated_at) == (77, site.now)
            assert (claimed.upload.max_size, claimed.upload.claimed_until) == (77, site.saved.claimed_until)
        assert site.saved.is_released


def test_the_last_save_releases(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a hook is saved with it or not; nothing is released a second time, and others release at the end."""
    released: list[Claim] = []
    release = site.repository.release

    def note(claim: Claim) -> None:
        released.append(claim)
        release(claim)

    monkeypatch.setattr(site.repository, "release", note)
    with site.claims.take(ID) as claimed:
        claimed.save(claimed.upload, last=True)
        assert site.saved.is_released and claimed.upload.claimed_until is None
    with site.claims.take(ID) as claimed:
        claimed.save_with_hook(claimed.upload, lambda upload: None, last=True)
        assert site.saved.is_released and claimed.upload.claimed_until is None
    assert released == []
    for is_last in (False, True):
        with site.claims.take(ID) as claimed:
            claimed.save(claimed.upload, last=True)
            claimed.save(claimed.upload)
            claimed.save_with_hook(replace(claimed.upload, max_size=7), lambda upload: None, last=is_last)
            assert site.saved.is_released == is_last
            assert claimed.upload.claimed_until == site.saved.claimed_until
            assert (site.saved.max_size, site.saved.updated_at) == (7, site.now)
        assert len(released) == 1
    assert site.saved.is_released


def test_a_hook_is_given_what_is_saved(site: Site) -> None:
    """And what it changes is in the claim's upload afterwards."""
    seen: list[Any] = []

    def hook(upload: Any) -> None:
        seen.append(upload.offset)
        upload.max_size = 88

    site.now += MOMENT
    with site.claims.take(ID) as claimed:
        site.now += MOMENT
        claimed.save_with_hook(advanced(claimed.upload, 5), hook)
        assert site.saved.updated_at == claimed.upload.updated_at == site.now
        assert (claimed.upload.max_size, claimed.upload.offset, seen) == (88, 5, [5])
        assert site.saved.claimed_until == claimed.upload.claimed_until == site.now + LEASE
        assert site.saved.offset == 5


def test_a_request_that_begins_is_waited_for(site: Site) -> None:
    """Only one with content, only until it reads or ends, and not for ever."""
    other = ClaimedUpload(site.repository, lease=LEASE, now=lambda: site.now, is_receiving=False)
    other.await_begin(600)
    for end in (lambda claimed: claimed.ended.set(), lambda claimed: setattr(claimed, "transfer", object())):
        claimed = ClaimedUpload(site.repository, lease=LEASE, now=lambda: site.now, is_receiving=True)
        waiting = threading.Thread(target=claimed.await_begin, args=(60,))
        waiting.start()
        waiting.join(0.02)
        assert waiting.is_alive()
        end(claimed)
        waiting.join(30)
        assert not waiting.is_alive()
    claimed.transfer = None
    began = time.monotonic()
    claimed.await_begin(0.05)
    assert time.monotonic() - began >= 0.05


# --- new uploads ---


@pytest.mark.parametrize("quota", [None, Quota(uploads=2)])
@pytest.mark.parametrize("is_free", [False, True])
def test_a_new_upload_is_claimed_or_free(
    site: Site, is_free: bool, quota: Quota | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As wished; the claim is known to others of this process while it lasts. What is free is not released."""
    release = site.repository.release
    released: list[Claim] = []

    def note(claim: Claim) -> None:
        released.append(claim)
        release(claim)

    monkeypatch.setattr(site.repository, "release", note)
    new = replace(UPLOAD, id="1" * 32, owner="a", fence=40)
    claimed = site.claims.add(new, is_free=is_free, quota=quota)
    saved = site.repository.get(new.id)
    assert saved.claimed_until == (None if is_free else START + LEASE)
    assert saved.claimed_by == site.name
    assert saved.fence == claimed.claim.fence == claimed.upload.fence == 41
    assert saved.reserved == claimed.upload.reserved == (None if quota is None else 9)
    assert site.claims.found(new.id, 41) is claimed
    with site.claims.keep(claimed):
        assert not claimed.ended.is_set()
    assert claimed.ended.is_set()
    assert site.claims.found(new.id, 41) is None
    assert site.repository.get(new.id).is_released
    assert released == ([] if is_free else [claimed.claim])


def test_a_new_upload_that_arrives_with_content_is_claimed_for_longer(site: Site) -> None:
    """As long as content may take."""
    site.claims.add(replace(UPLOAD, id="1" * 32), is_free=False, is_receiving=True)
    assert site.repository.get("1" * 32).claimed_until == START + 15 * LEASE


def test_a_quota_is_looked_at_now(site: Site) -> None:
    """Uploads that have expired by now take nothing of it."""
    quota = Quota(uploads=1)
    first = replace(UPLOAD, id="1" * 32, owner="a", expires_at=START + LEASE)
    site.claims.add(first, is_free=True, quota=quota)
    with pytest.raises(QuotaExceeded):
        site.claims.add(replace(first, id="2" * 32), is_free=True, quota=quota)
    site.now += LEASE
    site.claims.add(replace(first, id="2" * 32), is_free=True, quota=quota)


# --- taking ---


def test_a_claim_that_is_being_made_is_not_gone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the record and the list of claims, another thread must not take it for one that nobody holds."""
    seen: list[bool] = []
    add, claim, claim_free = site.repository.add, site.repository.claim, site.repository.claim_free

    def watched(make: Any, upload_id: str) -> Any:
        def watching(*arguments: Any, **options: Any) -> Any:
            made = make(*arguments, **options)
            seen.append(site.claims.is_gone(site.repository.get(upload_id)))
            return made

        return watching

    with monkeypatch.context() as patch:
        patch.setattr(site.repository, "claim", watched(claim, ID))
        with site.claims.take(ID) as claimed:
            assert not site.claims.is_gone(site.saved)
            assert site.claims.found(ID, claimed.claim.fence) is claimed
            assert site.claims.found(ID, claimed.claim.fence - 1) is None
    with monkeypatch.context() as patch:
        patch.setattr(site.repository, "claim_free", watched(claim_free, ID))
        taken = site.claims.take_free(ID, owner=None)
        assert taken is not None
    with site.claims.keep(taken):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(site.repository, "add", watched(add, "1" * 32))
        site.claims.add(replace(UPLOAD, id="1" * 32), is_free=False)
    assert seen == [False, False, False]


def test_a_claim_that_failed_leaves_nothing(site: Site) -> None:
    """A record with the name of this process, but without a request, is free for everybody."""
    site.claim(by=site.name)
    failing: Callable[[], object]
    for failing in (
        lambda: site.claims.add(UPLOAD, is_free=True),
        lambda: site.claims.take_free("2" * 32, owner=None),
        lambda: site.claims.take_free(ID, owner="b"),
    ):
        with suppress(Exception):
            assert failing() is None
        assert site.claims.is_gone(site.saved)
    with site.claims.take(ID):
        pass


@pytest.mark.parametrize("owner", [None, "b"])
def test_an_upload_that_needs_no_step_is_taken_at_once(site: Site, owner: str | None) -> None:
    """If it is of that owner; the claim is one for content."""
    claimed = site.claims.take_free(ID, owner=owner)
    if owner:
        assert claimed is None and site.saved.is_released
        return
    assert claimed is not None
    assert (site.saved.claimed_until, site.saved.claimed_by) == (START + 15 * LEASE, site.name)
    assert claimed.is_receiving and claimed.upload.offset == 2
    site.now += 9 * LEASE
    assert site.claims.take_free(ID, owner=None) is None
    with site.claims.keep(claimed):
        assert site.claims.is_receiving(site.saved)
    assert site.saved.is_released


def test_only_an_upload_of_the_same_life_is_taken(site: Site) -> None:
    """The one that was read is gone, and another one has its id, which the app chose."""
    old = replace(site.saved, storage=with_name({}, "old"))
    with pytest.raises(UploadNotFound) as caught, site.claims.take(ID, known=old):
        pass
    assert caught.value.upload_id == ID
    assert site.saved.is_released
    with site.claims.take(ID, known=site.saved):
        pass
    site.claim()
    with pytest.raises(UploadNotFound):  # nobody is asked to make way for it
        with site.claims.take(ID, known=old, make_way=lambda upload: pytest.fail("was asked")):
            pass


def test_an_upload_that_is_replaced_while_its_holder_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was meant is gone, and the next one is not waited for."""
    site.claim()
    new = replace(UPLOAD, storage=with_name({}, "new"))

    def sleep(seconds: float) -> None:
        assert site.saved.storage != new.storage
        site.repository._records.clear()
        site.repository.add(new, until=site.now + LEASE, by=ELSEWHERE)

    set_time(monkeypatch, sleep)
    with near(monkeypatch), pytest.raises(UploadNotFound) as caught, site.claims.take(ID, known=site.saved):
        pass
    assert caught.value.upload_id == ID


def test_a_claim_that_the_database_has_lost_is_made_again(site: Site) -> None:
    """After a power failure it may give the same number a second time. Both requests end as usual."""
    before = site.saved
    first = site.claims.take_free(ID, owner=None)
    site.repository._records[ID].upload = before
    second = site.claims.take_free(ID, owner=None)
    assert first is not None and second is not None and first.claim == second.claim
    with site.claims.keep(first), site.claims.keep(second):
        pass
    assert site.saved.is_released


def test_who_begins_a_hook_while_asked_keeps_the_upload(site: Site) -> None:
    """Its last bytes came in that moment, and a hook is not interrupted."""
    claim = site.claim(lease=15 * LEASE)

    def make_way(upload: Upload) -> Upload:
        site.repository.save(replace(upload, status=Status.FINISHING), claim, until=site.now + LEASE)
        return upload

    with pytest.raises(UploadLocked), site.claims.take(ID, known=site.saved, make_way=make_way, is_receiving=True):
        pass
    assert (site.saved.fence, site.saved.status) == (claim.fence, Status.FINISHING)


def test_an_upload_that_is_replaced_while_it_is_taken_is_given_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim was of the newer one, which is free again."""
    known = site.saved
    new = replace(UPLOAD, storage=with_name({}, "new"))
    claim = site.repository.claim

    def replaced(*arguments: Any, **options: Any) -> Any:
        made = site.repository.claim
        monkeypatch.setattr(site.repository, "claim", claim)
        assert made is not claim
        site.repository._records.clear()
        site.repository.add(new, until=None)
        return claim(*arguments, **options)

    monkeypatch.setattr(site.repository, "claim", replaced)
    with pytest.raises(UploadNotFound), site.claims.take(ID, known=known):
        pass
    assert site.saved.storage == new.storage
    assert site.saved.is_released


def test_a_living_request_keeps_its_upload(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this process, of another one on this machine, or of another machine, until its claim has expired."""
    with site.claims.take(ID):
        with pytest.raises(UploadLocked), site.claims.take(ID):
            pass
    for is_near in (False, True):
        site.claim()
        context = near(monkeypatch) if is_near else nullcontext()
        with context, pytest.raises(UploadLocked), site.claims.take(ID):
            pass
        site.now += LEASE
        with site.claims.take(ID) as claimed:
            assert claimed.claim.fence == site.saved.fence


def test_a_process_that_is_about_to_die_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One on this machine may have been killed and release its claim in a moment; others are not waited for."""
    slept: list[float] = []
    claim = site.claim()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        site.repository.release(claim)

    set_time(monkeypatch, sleep)
    with pytest.raises(UploadLocked), site.claims.take(ID):
        pass
    assert slept == []
    with near(monkeypatch), site.claims.take(ID):
        pass
    assert len(slept) == 1


@pytest.mark.parametrize("status", [Status.NEW, Status.FINISHING, Status.DELETING])
def test_a_hook_that_keeps_its_process_busy_keeps_its_upload(
    site: Site, monkeypatch: pytest.MonkeyPatch, status: Status
) -> None:
    """Its thread cannot renew the claim. A living process on this machine is given four leases more; others are not."""
    site.claim(status=status)
    site.now += LEASE
    with near(monkeypatch):
        for wait in (timedelta(0), 4 * LEASE - MOMENT):
            site.now += wait
            with pytest.raises(UploadLocked), site.claims.take(ID):
                pass
        site.now += MOMENT
        with site.claims.take(ID):
            pass
    site.claim(status=status)
    site.now += LEASE
    with site.claims.take(ID):
        pass


def test_content_that_lasts_longer_than_its_claim_is_taken(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no hook while an upload is active, so nothing excuses a claim that was not renewed."""
    site.claim()
    site.now += LEASE
    with near(monkeypatch), site.claims.take(ID):
        pass


def test_who_makes_way_is_replaced(site: Site) -> None:
    """The holder is asked once; the claim that it was asked for is taken, but not one that came meanwhile."""
    site.claim(lease=15 * LEASE)
    asked: list[int] = []

    def make_way(upload: Upload) -> Upload:
        asked.append(upload.fence)
        if len(asked) == 1:
            site.claim(lease=15 * LEASE)
        return site.saved

    with site.claims.take(ID, known=site.saved, make_way=make_way, is_receiving=True) as claimed:
        assert asked == [claimed.claim.fence - 2, claimed.claim.fence - 1]
        assert claimed.is_receiving
    assert site.told.noted == [("took over", 2)]


def test_nobody_is_asked_to_make_way_for_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A free upload is taken at once, and so is one whose holder is dead; a hook is not interrupted or waited for."""
    set_time(monkeypatch, lambda seconds: pytest.fail("waited"))

    def make_way(upload: Upload) -> Upload:
        pytest.fail("was asked")

    with site.claims.take(ID, make_way=make_way):
        pass
    site.claim(by=died())
    with site.claims.take(ID, make_way=make_way):
        pass
    site.claim(status=Status.FINISHING)
    with pytest.raises(UploadLocked), site.claims.take(ID, make_way=make_way):
        pass


@pytest.mark.parametrize("knows", [False, True])
@pytest.mark.parametrize("is_receiving", [False, True])
def test_a_takeover_is_told_by_content_only(site: Site, knows: bool, is_receiving: bool) -> None:
    """With what it saved, if there was anything; not for an upload that nobody was receiving."""
    for written in (b"", b"abc"):
        claim = site.claim(by=died())
        if written:
            site.write(written, claim.fence)
        with site.claims.take(ID, known=site.saved if knows else None, is_receiving=is_receiving) as claimed:
            assert claimed.upload.offset == site.saved.offset == 2 + len(written)
    expected = [("took over", 2), ("took over", 5), ("rescued", 3)] if knows and is_receiving else []
    assert site.told.noted == expected
    with site.claims.take(ID, known=site.saved, is_receiving=True):
        pass
    assert site.told.noted == expected


@pytest.mark.parametrize(
    ("changes", "offset"),
    [
        ({}, 5),
        ({"length": None}, 5),
        ({"length": 4}, 4),
        ({"client_key": "k"}, 2),
        ({"concat": Concat("partial")}, 5),
        ({"concat": Concat(f"final;{ID}", (ID,))}, 2),
        ({"status": Status.FINISHING}, 2),
    ],
    ids=str,
)
def test_whose_bytes_are_counted(site: Site, changes: dict[str, Any], offset: int) -> None:
    """Of content that comes in order, up to the length; it is saved when the upload is taken."""
    claim = site.claim(by=died())
    site.write(b"abc", claim.fence)
    site.claim(by=died(), **changes)
    with site.claims.take(ID) as claimed:
        assert claimed.upload.offset == site.saved.offset == offset


def test_nothing_is_looked_for_after_a_release(site: Site) -> None:
    """Who releases has saved everything. What is not more than the record has is not saved again."""
    site.claim(by=died())
    version = site.saved.version
    with site.claims.take(ID):
        assert site.saved.version == version + 1
    claim = site.claim()
    site.write(b"abc", claim.fence)
    site.repository.release(claim)
    with site.claims.take(ID) as claimed:
        assert claimed.upload.offset == 2


def test_a_storage_that_knows_no_progress_is_not_asked(site: Site) -> None:
    """There is only what the record says."""
    site.storage.capabilities = dataclasses.replace(site.storage.capabilities, progress=None)
    claims = site.process()
    claim = site.claim(by=died())
    site.write(b"abc", claim.fence)
    with claims.take(ID) as claimed:
        assert claimed.upload.offset == 2
    with pytest.raises(ClaimLost), claims.take(ID):
        site.claim()
        raise ClaimLost


# --- losing ---


def _strays(site: Site) -> None:
    """Lose a claim after some bytes were written."""
    with pytest.raises(ClaimLost), site.claims.take(ID) as claimed:
        site.write(b"abc", claimed.claim.fence)
        site.during()  # type: ignore[attr-defined]
        raise ClaimLost


def test_bytes_of_an_upload_that_is_gone_are_removed(site: Site) -> None:
    """They were written after it was removed, so nobody else would remove them."""
    site.during = site.repository._records.clear  # type: ignore[attr-defined]
    _strays(site)
    assert site.files() == set()


def test_bytes_of_an_upload_whose_id_another_one_has_are_removed(site: Site) -> None:
    """The newer one keeps its own, which have another name."""
    names = [f"mine-{number * 32}" for number in "12"]
    old, new = (replace(UPLOAD, id="mine", storage=with_name({}, name), received=ByteRanges()) for name in names)
    site.repository.add(old, until=None)
    with pytest.raises(ClaimLost), site.claims.take("mine") as claimed:
        with site.storage.writer(old, 0, claimed.claim.fence) as writer:
            writer.write(b"abc")
        site.repository._records.clear()
        site.repository.add(new, until=None)
        with site.storage.writer(new, 0, 1) as writer:
            writer.write(b"def")
        raise ClaimLost
    assert {name.partition(".")[0] for name in site.files()} == {names[1], ID}


@pytest.mark.parametrize(
    ("status", "concat", "is_left"),
    [
        (Status.DELETING, None, False),
        (Status.GONE, None, False),
        (Status.COMPLETE, None, False),
        (Status.COMPLETE, Concat("partial"), True),
        (Status.FINISHING, None, True),
        (Status.ACTIVE, None, True),
    ],
)
def test_late_bytes_are_removed_if_the_upload_is_over(
    site: Site, status: Status, concat: Concat | None, is_left: bool
) -> None:
    """The unfinished bytes of one that is complete or was removed; those of others may belong to the newer request."""
    site.during = lambda: site.claim(status=status, concat=concat)  # type: ignore[attr-defined]
    _strays(site)
    assert any(name.endswith(".part") for name in site.files()) == is_left


def test_a_fence_whose_claim_the_record_has_lost_is_lowered(site: Site) -> None:
    """As after a loss of power: the next claims have smaller numbers, and the first of them finds that out."""
    site.write(b"abc", 30)
    assert site.saved.fence < 10
    for error in (ClaimLost, None):
        with pytest.raises(ClaimLost) if error else nullcontext():
            with site.claims.take(ID) as claimed, site.storage.writer(claimed.upload, 2, claimed.claim.fence):
                pass


@pytest.mark.parametrize("status", [Status.FINISHING, Status.COMPLETE])
def test_a_fence_that_nobody_may_pass_stays(site: Site, status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upload is not active any more when the record is looked at again, or another one has its id."""
    site.write(b"abc", 30)
    loser = site.saved
    for current in (replace(loser, status=status), replace(loser, storage=with_name({}, "other"))):
        assert site.claims._newest(loser) == loser.fence
        with monkeypatch.context() as patch:
            patch.setattr(site.repository, "get", lambda upload_id, current=current: current)
            assert site.claims._newest(loser) is None
    site.repository._records.clear()
    assert site.claims._newest(loser) is None


# --- what is known of claims ---


def test_which_claims_are_gone(site: Site) -> None:
    """Those that were released, whose process is dead, or that this process does not know."""
    assert site.claims.is_gone(site.saved)
    site.claim()
    assert not site.claims.is_gone(site.saved)
    site.claim(by=died())
    assert site.claims.is_gone(site.saved)
    site.claim(by=site.name)
    assert site.claims.is_gone(site.saved)
    assert site.claims.is_own(site.saved)


def test_which_claims_are_held(site: Site) -> None:
    """Those that have not expired, of a holder that seems to be alive."""
    assert not site.claims.is_held(site.saved)
    site.claim()
    assert site.claims.is_held(site.saved)
    site.now += LEASE
    assert not site.claims.is_held(site.saved)
    site.claim(by=died())
    assert not site.claims.is_held(site.saved)


def test_which_claims_receive(site: Site) -> None:
    """In this process that is known. Others receive if their claim lasts longer than one lease."""
    assert not site.claims.is_receiving(site.saved)
    for is_receiving in (False, True):
        with site.claims.take(ID, is_receiving=is_receiving):
            assert site.claims.is_receiving(site.saved) == is_receiving
    for lease, is_receiving in ((LEASE, False), (LEASE + MOMENT, True), (15 * LEASE, True)):
        site.claim(lease=lease)
        assert site.claims.is_receiving(site.saved) == is_receiving
    site.claim(by=died(), lease=15 * LEASE)
    assert not site.claims.is_receiving(site.saved)
    site.claim(lease=15 * LEASE, status=Status.FINISHING)
    assert not site.claims.is_receiving(site.saved)


def test_whose_claims_they_are(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this process, or of this machine."""
    site.claim()
    assert not site.claims.is_own(site.saved) and not site.claims.is_near(site.saved)
    with near(monkeypatch):
        assert site.claims.is_near(site.saved)
    site.claim(by=site.name)
    assert site.claims.is_own(site.saved) and site.claims.is_near(site.saved)


def test_requests_are_announced(site: Site) -> None:
    """Until they have claimed the upload; they are waited for, but not for ever, and nobody else is."""
    assert not site.claims.await_announced(ID, 600)
    with site.claims.announced(ID):
        assert not site.claims.await_announced("1" * 32, 600)
        began = time.monotonic()
        assert site.claims.await_announced(ID, 0.05)
        assert time.monotonic() - began >= 0.05
        waiting = threading.Thread(target=site.claims.await_announced, args=(ID, 60))
        waiting.start()
        waiting.join(0.02)
        assert waiting.is_alive()
    waiting.join(30)
    assert not waiting.is_alive()
    assert not site.claims.await_announced(ID, 600)


def test_a_change_of_a_record_is_made_at_its_time(site: Site) -> None:
    """After a dead process's claim was ended, too."""
    for by in (None, died()):
        if by:
            site.claim(by=by)
        site.now += MOMENT
        changed = site.claims.amend(ID, lambda upload: replace(upload, max_size=(upload.max_size or 0) + 1))
        assert changed == site.saved
        assert changed.updated_at == site.now
    assert changed.max_size == 2


def test_a_release_that_fails_leaves_the_lease(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other errors are told."""
    for error, is_told in ((Unavailable(), False), (ZeroDivisionError(), True)):

        def fail(claim: Claim, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(site.repository, "release", fail)
            with pytest.raises(ZeroDivisionError) if is_told else nullcontext(), site.claims.take(ID) as claimed:
                pass
        assert not site.saved.is_released
        assert site.claims.found(ID, claimed.claim.fence) is None or is_told
        site.now += LEASE


def test_bytes_count_up_to_the_length() -> None:
    """If it is known."""
    assert [advanced(UPLOAD, offset).offset for offset in (2, 5, 9, 12)] == [2, 5, 9, 9]
    assert advanced(replace(UPLOAD, length=None), 12).offset == 12

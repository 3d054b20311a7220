"""Claims, and keeping them alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path

import pytest

from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import Unavailable
from flask_resumable.errors import UploadLocked
from flask_resumable.interfaces import Claim
from flask_resumable.interfaces.observer import Observer
from flask_resumable.processes import ProcessName
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.service.claims import ClaimedUpload
from flask_resumable.service.claims import Claims
from flask_resumable.service.claims import LeaseKeeper
from flask_resumable.storage.local import LocalStorage

from .dead import died

ID = "0" * 32
LEASE = timedelta(seconds=0.3)


def _now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def repository() -> MemoryRepository:
    """With one upload, unclaimed."""
    repository = MemoryRepository()
    repository.add(Upload(id=ID, length=9, status=Status.ACTIVE, created_at=_now()), until=None)
    return repository


@pytest.fixture
def claims(repository: MemoryRepository, tmp_path: Path) -> Claims:
    """Claims that live for a moment."""
    return Claims(repository, LocalStorage(tmp_path), lease=LEASE, now=_now, observer=Observer())


def _eventually(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_claim_is_given_up_at_the_end(claims: Claims, repository: MemoryRepository) -> None:
    """Whether the block succeeds or fails, the upload is free afterwards."""
    for error in (None, LookupError()):
        try:
            with claims.take(ID):
                assert repository.get(ID).is_claimed(_now())
                if error:
                    raise error
        except LookupError:
            pass
        assert not repository.get(ID).is_claimed(_now())


def test_a_claim_runs_out_by_itself(claims: Claims, repository: MemoryRepository) -> None:
    """A holder that died keeps the upload for no longer than the lease, even from the polite."""
    repository.claim(ID, now=_now(), until=_now() + LEASE)
    with pytest.raises(UploadLocked), claims.take(ID):
        pass
    _eventually(lambda: not repository.get(ID).is_claimed(_now()))
    with claims.take(ID):
        pass


def test_a_claim_is_kept_alive_while_something_slow_runs(claims: Claims, repository: MemoryRepository) -> None:
    """A hook may take many times the lease, and nobody else gets the upload; afterwards renewing ends."""
    keeper = LeaseKeeper(LEASE)
    with claims.take(ID) as claimed:
        first = repository.get(ID).claimed_until
        with keeper.keeping(claimed):
            _eventually(lambda: (repository.get(ID).claimed_until or _now()) > (first or _now()) + 4 * LEASE)
            with pytest.raises(UploadLocked):
                repository.claim(ID, now=_now(), until=_now())
    version = repository.get(ID).version
    time.sleep(LEASE.total_seconds())
    assert repository.get(ID).version == version


def test_losing_a_claim_ends_renewing_quietly(claims: Claims, repository: MemoryRepository) -> None:
    """The keeper goes on for others when one claim is lost, and the loser learns when it saves."""
    keeper = LeaseKeeper(LEASE)
    with pytest.raises(ClaimLost), claims.take(ID) as claimed, keeper.keeping(claimed):
        repository.claim(ID, now=_now(), until=_now(), over=claimed.claim.fence)
        version = repository.get(ID).version
        time.sleep(LEASE.total_seconds())
        assert repository.get(ID).version == version
        claimed.save(claimed.upload)


def test_the_keeper_survives_its_thread(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked worker has the keeper but not its thread; the next hold starts one."""
    keeper = LeaseKeeper(LEASE)
    renewed = threading.Event()
    monkeypatch.setattr(ClaimedUpload, "renew", lambda self: renewed.set())
    monkeypatch.setattr(keeper, "_thread", threading.Thread())  # never started: as dead as after a fork
    with claims.take(ID) as claimed, keeper.keeping(claimed):
        assert renewed.wait(30)


def test_the_keeper_has_no_thread_while_nothing_is_held(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends soon after the last hold; the next hold starts another one."""
    keeper = LeaseKeeper(LEASE)
    renewed = threading.Event()
    monkeypatch.setattr(ClaimedUpload, "renew", lambda self: renewed.set())
    for _ in range(2):
        with claims.take(ID) as claimed, keeper.keeping(claimed):
            assert renewed.wait(30)
        _eventually(lambda: keeper._thread is None)
        renewed.clear()


def test_the_keeper_keeps_its_pace(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    """It renews three times in a lease, not more often, and does not keep its process from ending."""
    keeper = LeaseKeeper(LEASE)
    renewed: list[float] = []
    monkeypatch.setattr(ClaimedUpload, "renew", lambda self: renewed.append(time.monotonic()))
    began = time.monotonic()
    with claims.take(ID) as claimed, keeper.keeping(claimed):
        _eventually(lambda: len(renewed) >= 3)
        thread = keeper._thread
    assert thread is not None and thread.daemon
    assert all(at - began >= count * LEASE.total_seconds() / 3 for count, at in enumerate(renewed, 1))


def test_a_failed_release_is_no_failure(
    claims: Claims, repository: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for is saved; that the claim lives on for a moment is not the client's concern."""

    def fail(claim: Claim) -> None:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(repository, "release", fail)
        with claims.take(ID):
            pass
    assert repository.get(ID).is_claimed(_now())
    with claims.take(ID):  # nobody holds it any more, as everybody in this process knows
        pass
    assert not repository.get(ID).is_claimed(_now())


def completed(upload: Upload) -> Upload:
    """A change that needs no claim."""
    return replace(upload, max_size=7)


@pytest.mark.parametrize("status", [Status.NEW, Status.ACTIVE, Status.FINISHING])
def test_a_dead_process_does_not_prevent_a_change(claims: Claims, repository: MemoryRepository, status: Status) -> None:
    """Changes without a claim, such as a new chunk, do not wait for a lease that nobody will renew."""
    held, claim = repository.claim(ID, now=_now(), until=_now() + timedelta(hours=1), by=died())
    repository.save(replace(held, status=status), claim, until=_now() + timedelta(hours=1))
    assert claims.amend(ID, completed).max_size == 7
    assert repository.get(ID).is_released
    with pytest.raises(ClaimLost):
        repository.save(held, claim, until=None)


def test_a_change_respects_a_living_process(claims: Claims, repository: MemoryRepository) -> None:
    """It may be this one, or one of which nothing is known."""
    for by in (str(ProcessName()), "elsewhere.1.2.3"):
        _, claim = repository.claim(ID, now=_now(), until=_now() + timedelta(hours=1), by=by)
        with pytest.raises(UploadLocked):
            claims.amend(ID, completed)
        repository.release(claim)
    with claims.take(ID), pytest.raises(UploadLocked):
        claims.amend(ID, completed)

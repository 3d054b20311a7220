"""Tests for a state repository that four processes share."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from threading import Thread
from typing import Any

import pytest

from ..core.quota import Quota
from ..core.ranges import ByteRanges
from ..core.selection import Selection
from ..core.upload import Status
from ..core.upload import Upload
from ..core.upload import with_chosen_id
from ..errors import ClaimLost
from ..errors import UploadExists
from ..errors import UploadLocked
from ..interfaces import StateRepository
from .quotas import add_if_room
from .samples import an_upload
from .samples import claim_free
from .samples import id_of
from .samples import NOW
from .samples import SOON
from .samples import take

PROCESSES = 4
OWNERS = 10
PATIENCE = 120  # seconds until all processes must have started

Work = Callable[[StateRepository, int], Any]
_here: dict[str, Any] = {}  # what a process of the pool works with
_pools: dict[bytes, ProcessPoolExecutor] = {}  # the latest pool, which is kept because starting one takes so long


class ProcessContract:
    """Races between processes."""

    @pytest.fixture
    def together(self, opener: Callable[[], StateRepository]) -> Callable[[Work], list[Any]]:
        """A function that runs some work in four processes at the same time and returns their results."""
        pool = _pool(opener)
        return lambda work: [*pool.map(_do, [work] * PROCESSES, range(PROCESSES))]

    def test_processes_that_race_for_a_key_have_one_winner(
        self, repository: StateRepository, together: Callable[[Work], list[Any]]
    ) -> None:
        """Of the records that four processes create with the same key but different ids, one is created."""
        winners = together(_create_by_key)
        assert sorted(number for some in winners for number, _ in some) == [*range(50)]
        for number, upload_id in (pair for some in winners for pair in some):
            assert repository.find(id_of(number)).id == upload_id

    def test_processes_that_race_for_a_request_key_have_one_winner(
        self, repository: StateRepository, together: Callable[[Work], list[Any]]
    ) -> None:
        """Of the records that four processes create for the same request, one is created, and all can find it."""
        winners = together(_create_by_request)
        assert sorted(number for some in winners for number, _ in some) == [*range(50)]
        for number, upload_id in (pair for some in winners for pair in some):
            assert repository.find_request(id_of(number)).id == upload_id

    def test_processes_that_race_for_an_id_have_one_winner(
        self, repository: StateRepository, together: Callable[[Work], list[Any]]
    ) -> None:
        """Of the records that four processes create with the same id, which the app has chosen, one is created."""
        winners = together(_create_with_id)
        assert sorted(number for some in winners for number, _ in some) == [*range(50)]
        for number, name in (pair for some in winners for pair in some):
            assert repository.get(f"{'chosen-' * 8}{number}").stored_as == name

    def test_processes_stay_within_a_quota(
        self, repository: StateRepository, together: Callable[[Work], list[Any]]
    ) -> None:
        """Five threads in each of four processes create uploads of ten owners, as many as each of them may have."""
        made = together(_create_within)
        assert [sum(counts) for counts in zip(*made, strict=True)] == [7] * OWNERS
        assert len(repository.list(limit=999)) == 7 * OWNERS

    def test_processes_count_every_byte_once(
        self, repository: StateRepository, together: Callable[[Work], list[Any]]
    ) -> None:
        """Four processes that take over one upload from each other 200 times lose and duplicate no byte."""
        repository.add(an_upload(length=None), until=None)
        together(_count_up)
        assert repository.get(id_of(1)).offset == 800

    def test_processes_that_race_for_claims_get_one_each(
        self, repository: StateRepository, together: Callable[[Work], list[Any]]
    ) -> None:
        """Every claim has its own fence, and a claim that respects others is held by one process only."""
        repository.add(an_upload(), until=None)
        for number in range(2, 32):
            repository.add(an_upload(number, status=Status.FINISHING), until=None)
        claimed = together(_claim_all)
        assert len({fence for fences, _ in claimed for fence in fences}) == 200
        assert sorted(number for _, numbers in claimed for number in numbers) == [*range(2, 32)]

    def test_processes_that_add_ranges_side_by_side_lose_none(
        self, repository: StateRepository, together: Callable[[Work], list[Any]]
    ) -> None:
        """Ranges that arrive through four processes are all there in the end."""
        repository.add(an_upload(length=160), until=None)
        together(_add_ranges)
        assert repository.get(id_of(1)).received == ByteRanges.prefix(160)

    def test_processes_that_finish_one_upload_call_its_hook_once(
        self, repository: StateRepository, together: Callable[[Work], list[Any]]
    ) -> None:
        """Of four processes that find an upload ready, one calls the hook and completes it."""
        for number in range(1, 31):
            repository.add(an_upload(number, status=Status.FINISHING), until=None)
        called = together(_finish)
        assert sorted(upload_id for some in called for upload_id in some) == [id_of(number) for number in range(1, 31)]
        assert len(repository.list(Selection(status=Status.COMPLETE), limit=99)) == 30


def _pool(opener: Callable[[], StateRepository]) -> ProcessPoolExecutor:
    key = pickle.dumps(opener)
    if key not in _pools:
        while _pools:
            _pools.popitem()[1].shutdown()
        context = multiprocessing.get_context("spawn")
        start = (opener, context.Barrier(PROCESSES))
        _pools[key] = ProcessPoolExecutor(PROCESSES, context, initializer=_open, initargs=start)
    return _pools[key]


def _open(opener: Callable[[], StateRepository], barrier: Barrier) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    _here.update(repository=opener(), barrier=barrier)


def _end_with_parent() -> None:
    """End this process with its parent: if the tests are killed, it would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do(work: Work, number: int) -> Any:
    _here["barrier"].wait(PATIENCE)
    return work(_here["repository"], number)


def _create_by_key(repository: StateRepository, process: int) -> list[tuple[int, str]]:
    return _create(repository, process, "client_key")


def _create_by_request(repository: StateRepository, process: int) -> list[tuple[int, str]]:
    return _create(repository, process, "request_key")


def _create_with_id(repository: StateRepository, process: int) -> list[tuple[int, str]]:
    won = []
    for number in range(50):
        upload = with_chosen_id(an_upload(1000 * (process + 1) + number), f"{'chosen-' * 8}{number}")
        try:
            repository.add(upload, until=None)
        except UploadExists:
            continue
        won.append((number, upload.stored_as))
    return won


def _create(repository: StateRepository, process: int, name: str) -> list[tuple[int, str]]:
    won = []
    for number in range(50):
        upload = an_upload(1000 * (process + 1) + number, **{name: id_of(number)})
        try:
            repository.add(upload, until=None)
        except UploadExists:
            continue
        won.append((number, upload.id))
    return won


def _create_within(repository: StateRepository, process: int) -> list[int]:
    def create(number: int) -> bool:
        owner, thread = divmod(number, 5)
        number = 1 + owner * 100 + process * 10 + thread
        return add_if_room(repository, number, Quota(uploads=7, bytes=100), f"owner {owner}")

    with ThreadPoolExecutor(5) as pool:
        made = [*pool.map(create, range(5 * OWNERS))]
    return [sum(made[5 * owner : 5 * owner + 5]) for owner in range(OWNERS)]


def _count_up(repository: StateRepository, process: int) -> None:
    done = 0
    while done < 200:
        try:
            upload, claim = take(repository)
            repository.save(replace(upload, received=ByteRanges.prefix(upload.offset + 1)), claim, until=None)
        except (ClaimLost, UploadLocked):
            continue
        done += 1


def _claim_all(repository: StateRepository, process: int) -> tuple[list[int], list[int]]:
    fences = [take(repository)[1].fence for _ in range(50)]
    held = []
    for number in range(2, 32):
        try:
            claim_free(repository, number)
        except UploadLocked:
            continue
        held.append(number)
    return fences, held


def _add_ranges(repository: StateRepository, process: int) -> None:
    for number in range(process, 160, PROCESSES):
        start = (number * 7) % 160

        def add(upload: Upload, start: int = start) -> Upload:
            return replace(upload, received=upload.received.add(start, start + 1, 1))

        repository.amend(id_of(1), add, now=NOW)


def _finish(repository: StateRepository, process: int) -> list[str]:
    called: list[str] = []
    for number in range(1, 31):
        try:
            upload, claim = claim_free(repository, number)
        except UploadLocked:
            continue
        if upload.status is Status.FINISHING:
            done = upload.with_status(Status.COMPLETE)
            repository.save_with_hook(done, claim, lambda instance: called.append(instance.id), until=SOON)
    return called

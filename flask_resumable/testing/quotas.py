"""Tests for a state repository: what owners may have in unfinished uploads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from ..core.concat import Concat
from ..core.quota import Quota
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import QuotaExceeded
from ..errors import TooLarge
from ..errors import UploadExists
from ..interfaces import StateRepository
from .samples import an_upload
from .samples import id_of
from .samples import LATER
from .samples import NOW
from .samples import SOON

TWENTY = 20  # requests at once


class QuotaContract:
    """What is expected of ``add_within``."""

    def test_an_owner_has_so_many_uploads(self, repository: StateRepository) -> None:
        """There is room for as many uploads as the quota says, and other owners have their own."""
        for number in (1, 2):
            _add(repository, number, Quota(uploads=2))
        with pytest.raises(QuotaExceeded, match="2 unfinished uploads"):
            _add(repository, 3, Quota(uploads=2))
        assert len(repository.list(limit=9)) == 2
        _add(repository, 4, Quota(uploads=2), owner="bob")
        _add(repository, 5, Quota(uploads=1), owner="Alice")

    def test_an_owner_has_so_many_bytes(self, repository: StateRepository) -> None:
        """There is room for as many bytes as the quota says. What does not even fit alone is too large."""
        with pytest.raises(TooLarge):
            _add(repository, 1, Quota(bytes=25), length=26)
        made, claim = _add(repository, 1, Quota(bytes=2**61), length=2**60)
        assert (made.reserved, repository.get(made.id).reserved) == (2**60, 2**60)
        _add(repository, 2, Quota(bytes=2**61), length=2**60)
        with pytest.raises(QuotaExceeded):
            _add(repository, 3, Quota(bytes=2**61), length=1)
        _add(repository, 3, Quota(bytes=2**61), length=0)
        assert claim.upload_id == made.id

    def test_an_unknown_length_reserves_what_it_can_become(self, repository: StateRepository) -> None:
        """That is the maximum size of the upload, or what is left, which becomes its maximum size."""
        assert _add(repository, 1, Quota(bytes=100), length=None, max_size=60)[0].reserved == 60
        last = _add(repository, 2, Quota(bytes=100), length=None, max_size=60)[0]
        assert (last.reserved, last.max_size, repository.get(last.id).max_size) == (40, 40, 40)
        with pytest.raises(QuotaExceeded):
            _add(repository, 3, Quota(bytes=100), length=None)

    @pytest.mark.parametrize("end", ["complete", "deleting", "removed", "expired"])
    def test_an_upload_gives_back_what_it_has_reserved(self, repository: StateRepository, end: str) -> None:
        """Once an upload is complete or removed, another one takes its place; or at once when it expires."""
        quota = Quota(uploads=1, bytes=10)
        upload, claim = _add(repository, 1, quota, until=SOON, expires_at=SOON)
        with pytest.raises(QuotaExceeded):
            _add(repository, 2, quota)
        if end == "complete":
            repository.save(replace(upload, status=Status.COMPLETE, reserved=None), claim, until=None)
        elif end == "deleting":
            repository.save(replace(upload, status=Status.DELETING, reserved=None), claim, until=None)
        elif end == "removed":
            repository.remove(upload, claim)
        _add(repository, 2, quota, now=SOON if end == "expired" else NOW)

    def test_an_upload_that_is_being_finished_does_not_expire(self, repository: StateRepository) -> None:
        """It counts until it is complete."""
        upload, claim = _add(repository, 1, Quota(uploads=1), until=SOON, expires_at=SOON)
        repository.save(replace(upload, status=Status.FINISHING), claim, until=None)
        with pytest.raises(QuotaExceeded):
            _add(repository, 2, Quota(uploads=1), now=LATER)

    def test_a_complete_part_counts_with_its_bytes_only(self, repository: StateRepository) -> None:
        """Its client is done with it, but it has not become part of a file yet."""
        part = {"concat": Concat.from_header("partial"), "expires_at": LATER}
        upload, claim = _add(repository, 1, Quota(uploads=1, bytes=15), until=SOON, **part)
        repository.save(replace(upload, status=Status.COMPLETE), claim, until=None)
        _add(repository, 2, Quota(uploads=1, bytes=15), length=5)
        with pytest.raises(QuotaExceeded):
            _add(repository, 3, Quota(bytes=15), length=1)
        _add(repository, 3, Quota(bytes=15), length=1, now=LATER)

    def test_uploads_that_reserve_nothing_do_not_count(self, repository: StateRepository) -> None:
        """Those were created when the owner had no quota."""
        repository.add(an_upload(1, owner="alice"), until=None)
        _add(repository, 2, Quota(uploads=1, bytes=10))

    def test_a_repeated_creation_is_told_from_one_too_many(self, repository: StateRepository) -> None:
        """If there is no room because the same request has taken it, its upload exists."""
        keys: dict[str, Any] = {"request_key": "aa", "client_key": "bb"}
        _add(repository, 1, Quota(uploads=1), **keys)
        for name, key in keys.items():
            with pytest.raises(UploadExists):
                _add(repository, 2, Quota(uploads=1), **{name: key})
            with pytest.raises(UploadExists):
                _add(repository, 2, Quota(uploads=2), **{name: key})

    def test_simultaneous_creations_stay_within_a_quota(self, repository: StateRepository) -> None:
        """Of twenty threads, as many create an upload as there is room for."""
        start = Barrier(TWENTY)

        def create(number: int) -> bool:
            start.wait()
            return add_if_room(repository, number, Quota(bytes=70))

        with ThreadPoolExecutor(TWENTY) as pool:
            made = [*pool.map(create, range(1, TWENTY + 1))]
        assert sum(made) == len(repository.list(limit=99)) == 7


def add_if_room(repository: StateRepository, number: int, quota: Quota, owner: str = "alice") -> bool:
    """Create an upload of ten bytes, and return whether there was room for it."""
    try:
        _add(repository, number, quota, owner=owner)
    except QuotaExceeded:
        return False
    return True


def _add(
    repository: StateRepository, number: int, quota: Quota, *, until: Any = None, now: Any = NOW, **changes: Any
) -> tuple[Upload, Any]:
    upload = an_upload(number, **{"owner": "alice", **changes})
    made, claim = repository.add_within(upload, quota, now=now, until=until)
    assert made.id == id_of(number)
    return made, claim

"""Uploads that clients find by a key of their own, while others complete, prolong or remove them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from typing import NoReturn

import pytest

from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.upload import Creation
from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import RemovalRefused
from flask_resumable.errors import UploadExpired
from flask_resumable.errors import UploadNotFound
from flask_resumable.service import client_keys
from flask_resumable.service.client_keys import Keys

from .disk import DiskSite
from .site import HOUR

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


class Site(DiskSite):
    """An app whose uploads have the key ``file``."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.limits = Limits(expiration=HOUR, sliding=True)
        self.keys = Keys(self.service)

    def prepare(self, length: int = 3) -> Upload:
        return self.keys.prepare(Creation(length=length, client_key="file"), owner=None, limits=self.limits)

    def look(self) -> Upload | None:
        return self.keys.look("file", self.limits)

    def change(self, upload: Upload, **changes: Any) -> Upload:
        """As another request does."""
        return self.records.amend(upload.id, lambda current: replace(current, **changes), now=self.now)

    def pending(self) -> Upload:
        """An upload that has all its bytes, whose ``on_complete`` has failed."""
        upload = self.prepare()
        self.disk_file(upload).write_bytes(b"abc")
        return self.change(upload, received=ByteRanges.prefix(3), status=Status.FINISHING)

    def disk_file(self, upload: Upload) -> Path:
        folder = self.folder / ".partial"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{upload.stored_as}.part"

    def after_finding(self, act: Callable[[], object]) -> None:
        """Another request is quicker than the one that has just found an upload by its key."""
        find = self.records.find

        def finding(key: str) -> Upload:
            found = find(key)
            self.records.find = find  # type: ignore[method-assign]
            act()
            return found

        self.records.find = finding  # type: ignore[method-assign]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(client_keys, "PATIENCE", 0.2)
    return Site(tmp_path)


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*args: Any, **options: Any) -> NoReturn:
        raise error

    return fail


@pytest.mark.parametrize("ask", [Site.look, Site.prepare])
def test_a_pending_upload_is_completed_by_whoever_asks(site: Site, ask: Callable[[Site], Upload]) -> None:
    """Also when the time is over in which its chunks could come."""
    upload = site.pending()
    site.now += 2 * HOUR
    done = ask(site)
    assert (done.id, done.status) == (upload.id, Status.COMPLETE)


@pytest.mark.parametrize("ask", [Site.look, Site.prepare])
def test_an_upload_that_is_cancelled_before_it_is_completed_is_refused(
    site: Site, ask: Callable[[Site], Upload]
) -> None:
    """It is not created again for this chunk, and a test does not find it."""
    upload = site.pending()
    site.create(3)  # without a key
    site.after_finding(lambda: site.service.delete(upload.id, owner=None))
    with pytest.raises(UploadNotFound):
        ask(site)
    assert site.saved(upload).status is Status.GONE
    assert site.keys.completed(upload).status is Status.GONE


@pytest.mark.parametrize(
    ("left", "prolonged"),
    [(SECOND, True), (13 * MINUTE, True), (15 * MINUTE - SECOND, True), (15 * MINUTE, False), (HOUR, False)],
)
def test_an_upload_that_a_client_asks_for_does_not_expire_soon(site: Site, left: timedelta, prolonged: bool) -> None:
    """When less than a quarter of its time is left, it gets all of it again."""
    upload = site.prepare()
    site.now += HOUR - left
    found = site.look()
    assert found is not None and found.id == upload.id
    assert found.expires_at == site.now + (HOUR if prolonged else left)


def test_an_upload_that_never_expires_is_not_prolonged(site: Site) -> None:
    """It was created when the app had other settings."""
    limits, site.limits = site.limits, Limits()
    site.prepare()
    site.limits = limits
    found = site.look()
    assert found is not None and found.expires_at is None


def test_an_upload_that_has_lost_its_key_is_not_prolonged(site: Site) -> None:
    """Another request has freed the key meanwhile, for a new upload."""
    upload = site.prepare()
    site.now += HOUR - MINUTE
    site.after_finding(lambda: site.change(upload, client_key=None))
    site.look()
    assert site.saved(upload).expires_at == site.now + MINUTE


def test_an_expired_upload_is_not_found_and_gives_its_key_away(site: Site) -> None:
    """From the very moment on."""
    upload = site.prepare()
    site.now += HOUR
    assert site.look() is None
    assert site.prepare().id != upload.id
    assert site.saved(upload).client_key is None


def test_an_upload_that_was_prolonged_just_in_time_keeps_its_key(site: Site) -> None:
    """The request that found it expired finds it again."""
    upload = site.prepare()
    site.now += HOUR
    site.after_finding(lambda: site.change(upload, expires_at=site.now + HOUR))
    assert site.prepare().id == upload.id


def test_rows_that_refer_to_a_tombstone_do_not_keep_its_key(site: Site) -> None:
    """When it was remembered for long enough, the client may send the file again."""
    upload = site.prepare()
    site.service.delete(upload.id, owner=None)
    site.records.remove = raising(RemovalRefused("a row"))  # type: ignore[method-assign]
    site.now += 2 * MINUTE
    assert site.prepare().id != upload.id
    assert (site.saved(upload).status, site.saved(upload).client_key) == (Status.GONE, None)


def test_what_became_of_an_upload(site: Site) -> None:
    """It is as others have left it; it expired, was removed, or its id is another's now."""
    site.chosen = "report"
    upload = site.prepare()
    changed = site.change(upload, request_count=5)
    assert site.keys.current(upload) == changed
    leaving = site.change(upload, status=Status.DELETING)
    _, claim = site.records.claim(upload.id, now=site.now, until=site.now)
    site.records.remove(leaving, claim)
    with pytest.raises(UploadNotFound):
        site.keys.current(upload)
    site.prepare()
    with pytest.raises(UploadNotFound):
        site.keys.current(upload)
    site.now += HOUR
    with pytest.raises(UploadExpired):
        site.keys.current(upload)

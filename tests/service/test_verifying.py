"""What a verification finds, over many uploads and in pages of a few."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from flask_resumable.core.upload import Upload
from flask_resumable.service.verify import Findings
from flask_resumable.service.verify import Verifier

from .site import HOUR
from .site import Site
from .stores import Bytes
from .stores import Records

ORPHANS = [f"{number:032x}" for number in range(5)]


@pytest.fixture
def storage() -> Bytes:
    return Bytes()


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def site(storage: Bytes, records: Records) -> Site:
    """An app with three uploads."""
    site = Site()
    site.repository, site.storage = records, storage
    site.restarted()
    for _ in range(3):
        site.write(site.create(6), 0, b"abc")
    return site


def verified(site: Site, storage: Bytes) -> tuple[list[tuple[str, list[str]]], Findings]:
    """What is told of each, and in total."""
    findings = Findings()
    verifier = Verifier(site.service, storage, findings, batch=2)
    return [*verifier.run(orphans_after=HOUR)], findings


def uploads(site: Site) -> list[Upload]:
    return [*site.repository.list(limit=9)]


def test_each_upload_is_looked_at_once(site: Site, storage: Bytes, records: Records) -> None:
    """In pages; those with problems are named."""
    whole, *harmed = uploads(site)
    for upload in harmed:
        del storage.contents[upload.id][1:]
    problems = ["2 bytes are missing."]
    records.read.clear()
    found, findings = verified(site, storage)
    assert found == [(whole.id, []), *((upload.id, problems) for upload in harmed)]
    assert findings == Findings(verified=3, damaged=[upload.id for upload in harmed])
    assert records.read == [2, 1, 0]


def test_uploads_in_use_are_counted(site: Site, storage: Bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them once, after a few attempts."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for upload in uploads(site):
        storage.contents.clear()
        site.repository.claim(upload.id, now=site.now, until=site.now + HOUR)
    _, findings = verified(site, storage)
    assert findings == Findings(busy=3)


def test_a_request_that_completes_an_upload_is_given_time(
    site: Site, storage: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes were on their way while it held the upload."""
    upload = uploads(site)[0]
    kept = storage.contents.pop(upload.id)
    _, claim = site.repository.claim(upload.id, now=site.now, until=site.now + HOUR)

    def complete(seconds: float) -> None:
        assert seconds > 0
        storage.contents[upload.id] = kept
        site.repository.release(claim)

    monkeypatch.setattr(time, "sleep", complete)
    _, findings = verified(site, storage)
    assert findings == Findings(verified=3)


def test_an_upload_that_cannot_be_verified_is_named(
    site: Site, storage: Bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """So are all of them, and the log says why."""
    first, second, third = uploads(site)

    def fail(upload: Upload) -> None:
        if upload.id != second.id:
            raise OSError("The disk is broken.")

    storage.looked = fail
    _, findings = verified(site, storage)
    assert findings == Findings(verified=1, failed=[first.id, third.id])
    assert caplog.messages == [f"Upload {upload.id} could not be verified." for upload in (first, third)]
    assert "The disk is broken." in caplog.text


@pytest.mark.parametrize("is_reachable", [True, False])
def test_bytes_without_a_record_are_named_once(
    site: Site, storage: Bytes, records: Records, caplog: pytest.LogCaptureFixture, is_reachable: bool
) -> None:
    """If they are old enough and no upload has them. If the search breaks off, what was found counts."""
    known = uploads(site)[0].id
    old, young = site.now - timedelta(hours=2), site.now - timedelta(minutes=59)
    storage.leftovers = [(name, old) for name in (known, *ORPHANS[:2], *ORPHANS[1:])] + [("f" * 32, young)]
    storage.is_reachable = is_reachable
    records.read.clear()
    found, findings = verified(site, storage)
    assert found[3:] == [(name, ["Unfinished bytes without a record."]) for name in ORPHANS]
    assert findings == Findings(verified=3, orphans=5, failed=[] if is_reachable else ["orphans"])
    assert caplog.messages == ([] if is_reachable else ["The storage could not be searched for orphans."])
    assert max(records.read) == 2

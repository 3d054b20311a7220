"""What observers are told: each fact once, after it is in the record."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import Any
from typing import NoReturn

import pytest

from flask_resumable.core.upload import Write
from flask_resumable.errors import BodyIncomplete
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import UploadRejected
from flask_resumable.service.cleanup import Cleaner
from flask_resumable.service.cleanup import complete_pending
from flask_resumable.service.cleanup import Report

from .site import Content
from .site import Site


@pytest.fixture
def site() -> Site:
    return Site()


def refuse(upload: Any) -> NoReturn:
    raise UploadRejected(418, "no")


def fail(upload: Any) -> NoReturn:
    raise ZeroDivisionError


def test_a_life_in_facts(site: Site) -> None:
    """Creation, completion and deletion. Requests count if they brought content."""
    upload = site.create(6)
    site.write(upload, 0, b"abc")
    site.write(upload, 3, b"")
    site.write(upload, 3, b"def")
    site.write(upload, 6, b"")
    site.service.delete(upload.id, owner=None)
    assert site.facts.noted == [("created", "active"), ("completed", "complete", 2), ("removed", "deleted")]


def test_content_with_the_creation_is_a_request(site: Site) -> None:
    """A creation without content is none."""
    site.create(3, b"abc")
    assert site.facts.noted == [("created", "active"), ("completed", "complete", 1)]


def test_what_never_was_is_not_told(site: Site) -> None:
    """An upload that ``on_create`` refuses was not created."""
    site.during["on_create"] = refuse
    with pytest.raises(UploadRejected):
        site.create(3)
    assert site.facts.noted == []


def test_a_refused_upload_is_removed_as_refused(site: Site) -> None:
    """Its completion is not told."""
    site.during["on_complete"] = refuse
    upload = site.create(3)
    with pytest.raises(UploadRejected):
        site.write(upload, 0, b"abc")
    assert site.facts.noted == [("created", "active"), ("removed", "refused")]


def test_a_completion_is_told_once_however_often_the_hook_fails(site: Site) -> None:
    """When it has succeeded, be it made up for from the command line."""
    site.during["on_complete"] = fail
    with pytest.raises(ZeroDivisionError):
        site.create(3, b"abc")
    assert site.facts.noted == [("created", "active")]
    del site.during["on_complete"]
    for _ in range(2):
        deque(complete_pending(site.service, Report(), batch=9), maxlen=0)
    assert site.facts.noted[1:] == [("completed", "complete", 1)]


def test_the_cleaner_tells_what_it_did(site: Site) -> None:
    """Each upload, then the totals."""
    site.write(site.create(6), 0, b"abc")
    site.create(3, b"abc")
    site.facts.noted.clear()
    site.now += timedelta(hours=2)
    assert len([*Cleaner(site.service, batch=9).delete_expired(Report(), orphans_after=timedelta(days=1))]) == 1
    assert site.facts.noted == [("removed", "expired"), ("cleaned", 1, 3, 0, 0)]


def test_a_takeover_is_told_with_what_it_saved(site: Site) -> None:
    """A newer request with content comes while an older one receives; what the older one has is kept."""
    upload = site.create(6)

    class Late(Content):
        """A body during which the client comes back on another connection."""

        def take(self) -> Any:
            return super().take() or None

        def wait(self) -> None:
            site.write(upload, 3, b"def")

    body = Late(b"abc", size=6)
    with pytest.raises(ClaimLost):
        site.service.write(upload.id, Write(start=0, size=6), body, owner=None, limits=site.limits)
    assert ("took over", 3) in site.facts.noted and ("rescued", 3) in site.facts.noted
    assert site.saved(upload).request_count == 2


def test_a_cut_is_neither(site: Site) -> None:
    """A client that resumes after its request has ended takes nothing over."""
    upload = site.create(6)
    with pytest.raises(BodyIncomplete):
        site.write(upload, 0, b"abc", size=6)
    site.write(upload, 3, b"def")
    assert [fact[0] for fact in site.facts.noted] == ["created", "completed"]

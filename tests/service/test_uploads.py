"""What becomes of an upload: hooks in order, crashes, refusals; without HTTP, a database or a disk."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from typing import NoReturn

import pytest

from flask_resumable.core.concat import Concat
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.core.upload import Write
from flask_resumable.errors import BeyondLength
from flask_resumable.errors import BodyIncomplete
from flask_resumable.errors import OffsetMismatch
from flask_resumable.errors import UploadExpired
from flask_resumable.errors import UploadNotFound
from flask_resumable.errors import UploadRejected
from flask_resumable.service.cleanup import Cleaner
from flask_resumable.service.cleanup import complete_pending
from flask_resumable.service.cleanup import Report

from .site import Content
from .site import Site


@pytest.fixture
def site() -> Site:
    """An app without uploads."""
    return Site()


def refuse(upload: Any) -> NoReturn:
    """A hook that says no."""
    raise UploadRejected(418, "no")


def fail(upload: Any) -> NoReturn:
    """A hook with a bug."""
    raise ZeroDivisionError


def test_hooks_are_called_in_order(site: Site) -> None:
    """From the creation to the removal, each once for what it is about; observers hear of each."""
    upload = site.create(6)
    site.write(upload, 0, b"abc")
    done = site.write(upload, 3, b"def")
    assert done.status is Status.COMPLETE
    site.service.delete(upload.id, owner=None)
    receiving = ["pre_save", "post_save"]
    ending = ["on_complete", "post_complete"]
    assert site.called == ["on_create", *receiving, *receiving, *ending, "pre_delete", "post_delete"]
    assert [*dict.fromkeys(site.told)] == [*dict.fromkeys(site.called)]


def test_a_repeated_end_calls_nothing(site: Site) -> None:
    """An empty write at the end, from a client that missed the answer, finds what is done."""
    upload = site.create(3, b"abc")
    before = list(site.called)
    assert site.write(upload, 3, b"").status is Status.COMPLETE
    assert site.called == before


@pytest.mark.parametrize("hook", ["on_create", "pre_save", "pre_delete"])
def test_a_refusal_changes_nothing(site: Site, hook: str) -> None:
    """The upload is as it was before the request, or was never there."""
    upload = None if hook == "on_create" else site.create(3)
    site.during[hook] = refuse
    with pytest.raises(UploadRejected):
        if upload is None:
            site.create(3)
        elif hook == "pre_save":
            site.write(upload, 0, b"abc")
        else:
            site.service.delete(upload.id, owner=None)
    left = site.repository.list(limit=9)
    assert [(found.status, found.offset) for found in left] == ([] if upload is None else [(Status.ACTIVE, 0)])
    assert not any(site.storage.contents.values())


def test_a_refused_file_is_removed(site: Site) -> None:
    """``on_complete`` refuses: record and bytes go, and ``post_delete`` is told."""
    site.during["on_complete"] = refuse
    upload = site.create(3)
    with pytest.raises(UploadRejected):
        site.write(upload, 0, b"abc")
    assert (site.repository.list(limit=9), site.storage.contents) == ([], {})
    assert site.called[-1] == "post_delete"


@pytest.mark.parametrize("way", ["look", "write", "make up"])
def test_a_failed_end_is_retried(site: Site, way: str) -> None:
    """``on_complete`` has a bug: the upload waits, and whoever comes next calls it again."""
    site.during["on_complete"] = fail
    upload = site.create(3)
    with pytest.raises(ZeroDivisionError):
        site.write(upload, 0, b"abc")
    assert site.saved(upload).status is Status.FINISHING
    del site.during["on_complete"]
    site.restarted()
    if way == "look":
        done = site.service.look(upload.id, owner=None)
    elif way == "write":
        done = site.write(upload, 3, b"")
    else:
        report = Report()
        assert [*complete_pending(site.service, report, batch=1)] == [upload.id]
        done = site.saved(upload)
    assert done.status is Status.COMPLETE
    assert site.called.count("on_complete") == 2


def test_a_death_before_post_complete_loses_only_that(site: Site) -> None:
    """The upload is complete and committed, and no hook is called twice."""

    def die(upload: Any) -> NoReturn:
        raise SystemExit

    site.during["post_complete"] = die
    upload = site.create(3)
    with pytest.raises(SystemExit):
        site.write(upload, 0, b"abc")
    site.restarted()
    assert site.write(upload, 3, b"").status is Status.COMPLETE
    assert (site.called.count("on_complete"), site.called.count("post_complete")) == (1, 1)


def test_a_creation_that_was_interrupted_is_retried(site: Site) -> None:
    """The server died within ``on_create``: the next request calls it again before anything else."""

    def die(upload: Any) -> NoReturn:
        raise SystemExit

    site.during["on_create"] = die
    with pytest.raises(SystemExit):
        site.create(3)
    (upload,) = site.repository.list(limit=9)
    assert upload.status is Status.NEW
    del site.during["on_create"]
    site.now += timedelta(minutes=1)
    site.restarted()
    site.called.clear()
    site.write(upload, 0, b"abc")
    assert site.called == ["on_create", "pre_save", "post_save", "on_complete", "post_complete"]


def test_a_cut_body_counts_as_far_as_it_came(site: Site) -> None:
    """The client leaves, and goes on where it was; an offset that is not the upload's changes nothing."""
    upload = site.create(6)
    with pytest.raises(BodyIncomplete):
        site.write(upload, 0, b"abcd", size=6)
    assert site.service.look(upload.id, owner=None).offset == 4
    with pytest.raises(OffsetMismatch):
        site.write(upload, 3, b"def")
    site.write(upload, 4, b"ef")
    assert site.storage.contents[upload.id] == b"abcdef"


def test_others_do_not_find_it(site: Site) -> None:
    """An upload of somebody else does not exist, whatever is asked."""
    upload = site.create(3)
    for ask in (site.service.look, site.service.find, site.service.delete):
        with pytest.raises(UploadNotFound):
            ask(upload.id, owner="somebody")


def test_a_final_upload_waits_for_its_parts(site: Site) -> None:
    """Until then its length may be unknown; a storage that cannot concatenate says so."""
    part = site.create(3, b"abc", concat=Concat("partial"))
    assert part.status is Status.COMPLETE and "on_complete" not in site.called
    assert part.expires_at is not None


def test_the_cleaner_takes_what_has_expired_and_nothing_else(site: Site) -> None:
    """Unfinished uploads go when their time is over, with their bytes; finished ones stay."""
    old = site.create(3)
    with pytest.raises(BodyIncomplete):
        site.write(old, 0, b"ab", size=3)
    done = site.create(3, b"abc")
    site.now += timedelta(minutes=30)
    young = site.create(3)
    site.now += timedelta(minutes=31)
    with pytest.raises(UploadExpired):
        site.write(old, 2, b"c")
    report = Report()
    assert [*Cleaner(site.service, batch=9).delete_expired(report, orphans_after=timedelta(0))] == [old.id]
    assert (report.removed, report.bytes, report.failed) == (1, 2, [])
    assert {upload.id for upload in site.repository.list(limit=9)} == {done.id, young.id}
    assert set(site.storage.contents) == {done.id}


def test_a_cleaner_leaves_what_a_hook_defends(site: Site) -> None:
    """``pre_delete`` refuses: the upload stays, and the report names it."""
    upload = site.create(3)
    site.now += timedelta(hours=2)
    site.during["pre_delete"] = refuse
    report = Report()
    assert [*Cleaner(site.service, batch=9).delete_expired(report, orphans_after=timedelta(0))] == [upload.id]
    assert (report.removed, report.failed) == (0, [upload.id])


def test_a_deletion_that_was_interrupted_is_continued(site: Site) -> None:
    """The server died while it removed bytes: nobody finds the upload, and the cleaner takes the rest."""
    upload = site.create(3)
    delete = site.storage.delete

    def die(upload: Upload) -> NoReturn:
        raise SystemExit

    site.storage.delete = die  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        site.service.delete(upload.id, owner=None)
    site.storage.delete = delete  # type: ignore[method-assign]
    assert site.saved(upload).status is Status.DELETING
    site.now += timedelta(minutes=1)
    site.restarted()
    with pytest.raises(UploadNotFound):
        site.service.look(upload.id, owner=None)
    assert [*Cleaner(site.service, batch=9).delete_expired(Report(), orphans_after=timedelta(0))] == [upload.id]
    assert site.repository.list(limit=9) == []


def test_a_client_key_leaves_a_tombstone(site: Site) -> None:
    """An upload that its client named stays refused for a while after a deletion, so that it is not brought back."""
    upload = site.create(3, client_key="ab")
    site.service.delete(upload.id, owner=None)
    grave = site.saved(upload)
    assert (grave.status, grave.expires_at) == (Status.GONE, site.now + timedelta(minutes=2))


@pytest.mark.parametrize("is_fatal", [False, True])
@pytest.mark.parametrize("is_announced", [False, True])
def test_content_beyond_the_length_can_be_the_end_of_an_upload(site: Site, is_fatal: bool, is_announced: bool) -> None:
    """Where the protocol says so, the upload is gone; otherwise it keeps what belongs to it. A complete one stays."""
    upload = site.create(3)
    body = Content(b"abcd")
    body.size = 4 if is_announced else None
    body.is_overlong = not is_announced
    write = Write(start=0, size=body.size, is_fatal_beyond_length=is_fatal)
    with pytest.raises(BeyondLength):
        site.service.write(upload.id, write, body, owner=None, limits=site.limits)
    if is_fatal:
        with pytest.raises(UploadNotFound):
            site.saved(upload)
        assert "on_complete" not in site.called
    else:
        assert site.saved(upload).status is (Status.ACTIVE if is_announced else Status.COMPLETE)
    complete = site.create(3, b"abc")
    with pytest.raises(BeyondLength):
        site.service.write(
            complete.id,
            Write(start=3, size=1, is_fatal_beyond_length=True),
            Content(b"d"),
            owner=None,
            limits=site.limits,
        )
    assert site.saved(complete).status is Status.COMPLETE


def test_looking_ends_an_open_upload_for_clients_that_know_only_lengths(site: Site) -> None:
    """For them every byte is the end, so nobody else would come to say so; others only look."""
    upload = site.create(3, awaits_completion=True)
    content = Write(start=0, size=3, completes=False)
    site.service.write(upload.id, content, Content(b"abc"), owner=None, limits=site.limits)
    assert site.service.look(upload.id, owner=None).status is Status.ACTIVE
    assert site.service.look(upload.id, owner=None, ends_at_length=True).status is Status.COMPLETE
    assert site.called.count("on_complete") == 1

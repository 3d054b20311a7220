"""The steps of uploads: what clients are told, what stays, and what happens if a database or a hook says no."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from typing import NoReturn

import pytest

from flask_resumable.core.concat import Concat
from flask_resumable.core.grant import Grant
from flask_resumable.core.metadata import UploadMetadata
from flask_resumable.core.upload import Creation
from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.core.upload import Write
from flask_resumable.errors import InvalidRequest
from flask_resumable.errors import RemovalRefused
from flask_resumable.errors import TooLarge
from flask_resumable.errors import UploadExpired
from flask_resumable.errors import UploadNotFound
from flask_resumable.errors import UploadRejected
from flask_resumable.interfaces import Claim
from flask_resumable.service.cleanup import Cleaner
from flask_resumable.service.cleanup import Report
from flask_resumable.service.uploads import UploadService

from .disk import DiskSite
from .site import Content
from .site import HOUR
from .site import Site

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def disk(tmp_path: Path) -> DiskSite:
    """An app whose storage can join parts."""
    return DiskSite(tmp_path)


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*args: Any, **options: Any) -> NoReturn:
        raise error

    return fail


REFUSE = raising(UploadRejected(418, "no"))
FAIL = raising(ZeroDivisionError())
KEPT = raising(RemovalRefused("a row refers to it"))


def clean(site: Site) -> Report:
    report = Report()
    [*Cleaner(site.service, batch=9).delete_expired(report, orphans_after=HOUR)]
    return report


# --- the end ---


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
@pytest.mark.parametrize("is_right", [True, False])
def test_content_must_match_the_digest_that_was_announced_for_all_of_it(
    site: Site, algorithm: str, is_right: bool
) -> None:
    """If it does not, the upload is gone before the app has seen it, and the client may send it again."""
    digest = hashlib.new(algorithm, b"abcdef" if is_right else b"abcdeF", usedforsecurity=False).digest()
    metadata = UploadMetadata.from_values({"repr-digest": f"{algorithm} {base64.b64encode(digest).decode()}"})
    upload = site.create(6, metadata=metadata)
    site.write(upload, 0, b"abc")
    if is_right:
        assert site.write(upload, 3, b"def").status is Status.COMPLETE
        return
    with pytest.raises(UploadRejected) as caught:
        site.write(upload, 3, b"def")
    assert caught.value.status == 400
    assert str(caught.value) == "The upload does not match its digest and was discarded; send it again."
    assert (site.repository.list(limit=9), site.storage.contents) == ([], {})
    assert "on_complete" not in site.called


@pytest.mark.parametrize(
    ("took", "left"),
    [(timedelta(0), 300), (timedelta(seconds=150), 150), (timedelta(seconds=151), 300), (10 * MINUTE, 300)],
)
def test_a_complete_upload_is_remembered_for_at_least_half_of_the_time(site: Site, took: timedelta, left: int) -> None:
    """By its key, for a client that missed the answer, however long ``on_complete`` took."""

    def work(upload: Any) -> None:
        site.now += took

    site.during["on_complete"] = work
    done = site.create(0, client_key="key")
    assert site.saved(done).expires_at == site.now + timedelta(seconds=left)


def test_an_upload_is_complete_even_if_it_cannot_be_remembered_for_longer(site: Site) -> None:
    """Somebody else has claimed it by then."""

    def work(upload: Any) -> None:
        site.now += 5 * MINUTE

    def claim(upload: Any) -> None:
        site.repository.claim(upload.id, now=site.now, until=site.now + HOUR, by="another")

    site.during.update(on_complete=work, post_complete=claim)
    assert site.create(0, client_key="key").status is Status.COMPLETE


def test_a_hook_that_only_reports_may_fail(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The log says which, of which upload; the client has its answer."""
    site.during["post_complete"] = FAIL
    done = site.create(3, b"abc")
    assert done.status is Status.COMPLETE
    assert f"post_complete of upload {done.id} failed. It is not called again." in caplog.messages


def test_the_app_may_limit_an_upload_when_it_is_created(site: Site) -> None:
    """To less than was announced: then it is not created."""

    def limit(upload: Any) -> None:
        upload.max_size = 2

    site.during["on_create"] = limit
    with pytest.raises(TooLarge):
        site.create(3)
    assert site.repository.list(limit=9) == []
    assert site.create(2).max_size == 2


def test_a_creation_with_content_is_one_claim(site: Site) -> None:
    """Nobody can come between."""
    claimed: list[bool] = []
    for name in ("pre_save", "on_complete"):
        site.during[name] = lambda upload: claimed.append(site.saved(upload).is_claimed(site.now))
    done = site.create(3, b"abc")
    assert claimed == [True, True] and not site.saved(done).is_claimed(site.now)


@pytest.mark.parametrize(("hooks", "signals"), [(True, False), (False, True), (False, False)])
def test_hooks_and_signals_are_called_without_each_other(site: Site, hooks: bool, signals: bool) -> None:
    """An app may have either, or none."""
    named, observer = site.named, site.observer
    site.named = lambda name: named(name) if hooks else None  # type: ignore[method-assign]
    site.observer = lambda name: observer(name) if signals else None  # type: ignore[method-assign,assignment,return-value]
    site.restarted()
    upload = site.create(6)
    site.write(upload, 0, b"abc")
    site.write(upload, 3, b"def")
    site.service.delete(upload.id, owner=None)
    saving = ["pre_save", "post_save"]
    all_of_them = ["on_create", *saving, *saving, "on_complete", "post_complete", "pre_delete", "post_delete"]
    assert site.called == (all_of_them if hooks else [])
    assert site.told == (all_of_them if signals else [])


@pytest.mark.parametrize("is_hook", [True, False])
def test_an_upload_is_claimed_until_post_save_returns(site: Site, is_hook: bool) -> None:
    """Be it a hook or a signal, so that nobody saves more meanwhile."""
    claimed: list[bool] = []

    def note(upload: Any) -> None:
        claimed.append(site.saved(upload).is_claimed(site.now))

    site.named = lambda name: note if is_hook and name == "post_save" else None  # type: ignore[method-assign]
    site.observer = lambda name: note if not is_hook and name == "post_save" else None  # type: ignore[method-assign,assignment,return-value]
    site.restarted()
    site.write(site.create(6), 0, b"abc")
    assert claimed == [True]


def test_a_storage_learns_the_number_of_the_claim(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may use that to keep earlier requests from publishing an upload."""
    told: list[int] = []
    finish = site.storage.finish

    def finishing(upload: Upload, fence: int) -> Any:
        told.append(fence)
        return finish(upload, fence)

    monkeypatch.setattr(site.storage, "finish", finishing)
    done = site.write(site.create(3), 0, b"abc")
    assert told == [site.saved(done).fence]


@pytest.mark.parametrize("step", ["on_create", "on_complete", "pre_delete", "delete", "concatenate"])
def test_a_step_that_takes_long_keeps_its_claim(disk: DiskSite, step: str) -> None:
    """It is renewed in time, again and again, while the step lasts."""
    site = disk
    service = site.service = UploadService(
        site.records,
        site.disk,
        site,
        lease=timedelta(seconds=0.3),
        completed_ttl=HOUR,
        cancelled_ttl=HOUR,
        now=lambda: site.now,
    )
    renewed: list[bool] = []

    def wait(*args: Any, **options: Any) -> None:
        again = threading.Event()
        renew, count = site.records.renew, iter(range(9))

        def noting(*args: Any, **options: Any) -> None:
            renew(*args, **options)
            if next(count) == 1:
                again.set()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(site.records, "renew", noting)
            renewed.append(again.wait(30))

    if step == "pre_delete":  # of an upload that was refused
        site.records.rehearse_removal = KEPT  # type: ignore[method-assign]
        site.during["on_complete"] = REFUSE
    if step in ("delete", "concatenate"):
        act = getattr(site.disk, step)

        def slow(*args: Any, **options: Any) -> Any:
            wait()
            return act(*args, **options)

        setattr(site.disk, step, slow)
    else:
        site.during[step] = wait
    parts = [site.create(3, b"abc", concat=Concat("partial")) for _ in range(2 if step == "concatenate" else 0)]
    if parts:
        site.create(None, concat=Concat("final", tuple(part.id for part in parts)))
    else:
        with suppress(UploadRejected):
            upload = site.create(3, b"abc")
            if step == "delete":
                service.delete(upload.id, owner=None)
    assert renewed == [True]


# --- removal ---


def test_a_database_that_keeps_a_record_keeps_its_bytes(site: Site) -> None:
    """Rows refer to it, so nothing is changed. A removal that has begun is completed without asking again."""
    upload = site.create(6)
    site.write(upload, 0, b"abc")
    before = site.saved(upload)
    asked: list[str] = []

    def keep(upload: Upload, claim: Claim) -> NoReturn:
        asked.append(upload.id)
        raise RemovalRefused("a row refers to it")

    site.repository.rehearse_removal = keep  # type: ignore[method-assign]
    with pytest.raises(RemovalRefused):
        site.service.delete(upload.id, owner=None)
    assert asked == [upload.id]
    after = site.saved(upload)
    assert (after.status, after.received, bytes(site.storage.contents[upload.id])) == (
        before.status,
        before.received,
        b"abc",
    )
    del site.repository.rehearse_removal
    interrupt(site, upload)
    site.repository.rehearse_removal = KEPT  # type: ignore[method-assign]
    site.now += MINUTE
    assert clean(site).removed == 1
    assert (site.repository.list(limit=9), site.storage.contents) == ([], {})


def interrupt(site: Site, upload: Upload) -> None:
    """The process ends while the bytes are being removed."""
    delete, site.storage.delete = site.storage.delete, raising(SystemExit())  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        site.service.delete(upload.id, owner=None)
    site.storage.delete = delete  # type: ignore[method-assign]
    site.restarted()


@pytest.mark.parametrize("answer", [None, REFUSE, FAIL])
@pytest.mark.parametrize("keeps", [False, True])
def test_a_refused_upload_is_removed_whatever_refers_to_it(
    site: Site, caplog: pytest.LogCaptureFixture, answer: Callable[[Any], None] | None, keeps: bool
) -> None:
    """``pre_delete`` may remove what refers to it, but cannot prevent it. Else the record stays without its bytes."""
    site.repository.rehearse_removal = KEPT  # type: ignore[method-assign]
    if keeps:
        site.repository.remove = KEPT  # type: ignore[method-assign]
    site.during["on_complete"] = REFUSE
    if answer:
        site.during["pre_delete"] = answer
    upload = site.create(3)
    with pytest.raises(UploadRejected):
        site.write(upload, 0, b"abc")
    assert site.storage.contents == {}
    assert site.called[-2:] == ["pre_delete", "post_delete"] and site.told[-1] == "post_delete"
    assert site.facts.noted[-1] == ("removed", "refused")
    left = [(record.status, record.expires_at) for record in site.repository.list(limit=9)]
    assert left == ([(Status.GONE, site.now)] if keeps else [])
    failure = f"pre_delete of upload {upload.id} failed; the upload is removed anyway."
    assert (failure in caplog.messages) is (answer is FAIL)
    kept = f"Upload {upload.id} was removed, but its record could not be deleted yet: a row refers to it"
    assert (kept in caplog.messages) is keeps


@pytest.mark.parametrize("rehearses", [False, True])
def test_a_refused_file_is_remembered_by_its_key(site: Site, rehearses: bool) -> None:
    """A client that sends its last chunk again must not begin another upload with it; rows make no difference."""
    site.during["on_complete"] = REFUSE
    if rehearses:
        site.repository.rehearse_removal = KEPT  # type: ignore[method-assign]
    with pytest.raises(UploadRejected):
        site.create(0, client_key="key")
    (grave,) = site.repository.list(limit=9)
    assert (grave.status, grave.expires_at) == (Status.GONE, site.now + 5 * MINUTE)


@pytest.mark.parametrize("token", [None, -MINUTE, timedelta(0), MINUTE, HOUR])
@pytest.mark.parametrize("key", [None, "key"])
def test_a_tombstone_stays_as_long_as_a_key_or_a_token_needs_it(
    site: Site, key: str | None, token: timedelta | None
) -> None:
    """A cancelled key for two minutes, a token until it expires: the longer of the two."""
    grant = None if token is None else Grant(nonce="nonce", expires_at=site.now + HOUR)
    upload = site.create(3, client_key=key, grant=grant)
    if token is not None:
        site.now += HOUR - token
        site.limits = Limits()
    site.service.delete(upload.id, owner=None)
    times = ([2 * MINUTE] if key else []) + ([token] if token and token > timedelta(0) else [])
    graves = [(record.status, record.expires_at) for record in site.repository.list(limit=9)]
    assert graves == ([(Status.GONE, site.now + max(times))] if times else [])
    assert site.called[-2:] == ["pre_delete", "post_delete"]


@pytest.mark.parametrize(
    ("key", "passed", "why"),
    [
        (None, MINUTE, "deleted"),
        (None, HOUR, "expired"),
        ("key", MINUTE, "deleted"),
        ("key", HOUR, "deleted"),
    ],
)
def test_an_interrupted_removal_is_told_as_what_it_was(
    site: Site, key: str | None, passed: timedelta, why: str
) -> None:
    """As well as that can be guessed."""
    upload = site.create(3, client_key=key)
    site.repository.amend(upload.id, lambda current: replace(current, reserved=3), now=site.now)
    interrupt(site, upload)
    leaving = site.saved(upload)
    assert (leaving.status, leaving.reserved) == (Status.DELETING, None)
    assert leaving.expires_at == (site.now + 2 * MINUTE if key else upload.expires_at)
    site.now += passed
    assert clean(site).removed == 1
    assert site.facts.noted[-2] == ("removed", why)
    graves = [(record.status, record.expires_at) for record in site.repository.list(limit=9)]
    assert graves == ([(Status.GONE, leaving.expires_at)] if key and passed < HOUR else [])


def test_an_expired_upload_frees_its_key_at_once(site: Site) -> None:
    """Also if its removal is interrupted: a client may send the file again."""
    upload = site.create(3, client_key="key")
    site.now += 2 * HOUR
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.storage, "delete", raising(SystemExit()))
        clean(site)
    leaving = site.saved(upload)
    assert (leaving.status, leaving.expires_at) == (Status.DELETING, upload.expires_at)


# --- parts ---


def part(site: Site, content: bytes | None = b"abc", **wishes: Any) -> Upload:
    length = None if content is None else len(content)
    return site.create(length, content, concat=Concat("partial"), **wishes)


def final(site: Site, *parts: Upload, name: str = "a") -> Upload:
    metadata = UploadMetadata.from_values({"filename": name})
    return site.create(None, concat=Concat("final", tuple(one.id for one in parts)), metadata=metadata)


def test_parts_are_joined_and_expire_a_day_later(disk: DiskSite) -> None:
    """Their bytes are stored twice then; a client may use them again until that."""
    disk.limits = Limits(expiration=9 * DAY)
    parts = [part(disk), part(disk, b""), part(disk, b"defg")]
    whole = final(disk, *parts)
    assert (whole.status, whole.offset, whole.length) == (Status.COMPLETE, 7, 7)
    assert disk.files()[whole.id] == b"abcdefg"
    assert {disk.saved(one).expires_at for one in parts} == {disk.now + DAY}
    empty = final(disk, parts[1])
    assert (empty.status, empty.offset, disk.files()[empty.id]) == (Status.COMPLETE, 0, b"")


@pytest.mark.parametrize("act", ["claim", "remove"])
def test_a_part_that_is_used_elsewhere_does_no_harm(disk: DiskSite, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    """Somebody claims or removes it while it is copied: it expires later, or is gone."""
    disk.limits = Limits(expiration=9 * DAY)
    one = part(disk)
    join = disk.disk.concatenate

    def joining(*args: Any) -> Any:
        stored = join(*args)
        if act == "remove":
            disk.service.delete(one.id, owner=None)
        else:
            disk.records.claim(one.id, now=disk.now, until=disk.now + HOUR, by="another")
        return stored

    monkeypatch.setattr(disk.disk, "concatenate", joining)
    assert final(disk, one).status is Status.COMPLETE


def test_what_cannot_be_joined_is_refused_with_the_reason(site: Site, disk: DiskSite) -> None:
    """And no upload is made."""
    with pytest.raises(InvalidRequest, match="This storage does not support concatenation"):
        final(site, part(site))
    with pytest.raises(InvalidRequest, match="lists an upload that was not created as a partial upload"):
        final(disk, disk.create(3, b"abc"))
    waiting = part(disk, None)
    creation = Creation(length=None, concat=Concat("final", (waiting.id,)))
    with pytest.raises(InvalidRequest, match="lists an upload that is not complete; send the rest of it first"):
        disk.service.create(creation, owner=None, limits=disk.limits, unfinished_parts=False)
    with pytest.raises(UploadNotFound):
        disk.service.create(creation, owner="ann", limits=disk.limits)


def ended(site: Site, upload: Upload) -> Upload:
    """The rest of a part whose length was not known."""
    write = Write(start=0, size=3, declares_length=3)
    return site.service.write(upload.id, write, Content(b"def"), owner=None, limits=site.limits)


def test_a_part_completes_all_uploads_that_wait_for_it(disk: DiskSite, caplog: pytest.LogCaptureFixture) -> None:
    """One that is too large then is discarded, and one whose hook fails waits; that does not concern the others."""
    disk.limits = Limits(max_size=5, expiration=9 * DAY)
    one, waiting = part(disk), part(disk, None)
    large = final(disk, one, waiting)
    disk.limits = Limits(expiration=9 * DAY)
    finals = [final(disk, one, waiting, name=name) for name in "bcd"]
    fails = [FAIL, None, None]

    def complete(upload: Any) -> None:
        failing = fails.pop()
        if failing:
            failing()

    disk.during["on_complete"] = complete
    told = ended(disk, waiting)
    assert told.status is Status.COMPLETE and told.expires_at == disk.saved(waiting).expires_at
    with pytest.raises(UploadNotFound):
        disk.saved(large)
    assert ("removed", "refused") in disk.facts.noted
    assert not any(large.id in message for message in caplog.messages)
    statuses = [disk.saved(one).status for one in finals]
    assert sorted(status.value for status in statuses) == ["complete", "complete", "finishing"]
    stuck = finals[statuses.index(Status.FINISHING)]
    assert f"Upload {stuck.id} could not be completed; complete_pending tries again." in caplog.messages


def test_an_upload_whose_part_is_gone_cannot_be_completed(disk: DiskSite) -> None:
    """Its client is told to begin again."""
    waiting = part(disk, None)
    whole = final(disk, waiting)
    disk.service.delete(waiting.id, owner=None)
    with pytest.raises(UploadExpired, match="A part of this upload has expired or was removed; create a new one"):
        disk.service.look(whole.id, owner=None)
    expired = part(disk, None)
    disk.now += HOUR
    with pytest.raises(UploadExpired):
        final(disk, expired)

"""What the service does around the content: it creates, looks, removes, and answers for the right upload only."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from typing import NoReturn

import pytest

from flask_resumable.core.concat import Concat
from flask_resumable.core.quota import Quota
from flask_resumable.core.replacing import replace
from flask_resumable.core.upload import Creation
from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.core.upload import with_chosen_id
from flask_resumable.core.upload import Write
from flask_resumable.errors import BodyIncomplete
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import IdTaken
from flask_resumable.errors import StorageFull
from flask_resumable.errors import TooLarge
from flask_resumable.errors import UploadClosed
from flask_resumable.errors import UploadExists
from flask_resumable.errors import UploadExpired
from flask_resumable.errors import UploadNotFound
from flask_resumable.interfaces import StorageCapabilities
from flask_resumable.repositories.memory import MemoryRepository
from tests.memory_storage import MemoryStorage
from tests.own_time import Clock

from .site import Content
from .site import HOUR
from .site import LEASE
from .site import Site


@pytest.fixture
def site() -> Site:
    """An app without uploads."""
    return Site()


class Late(Content):
    """A body that is not whole, during which something happens once its content was taken."""

    def __init__(self, content: bytes, happens: Callable[[], object], size: int) -> None:
        super().__init__(content, size=size)
        self._happens: Callable[[], object] | None = happens

    def take(self) -> Any:
        return super().take() or (None if self._happens else b"")

    def wait(self) -> None:
        if self._happens is not None:
            self._happens()
            self._happens = None


def created(site: Site, length: int | None = 3, owner: str | None = None, **options: Any) -> Upload:
    """An upload of somebody."""
    arguments = {name: options.pop(name) for name in ("content", "created") if name in options}
    return site.service.create(Creation(length=length, **options), owner=owner, limits=site.limits, **arguments)


def abandoned(site: Site, upload: Upload, **changes: Any) -> Upload:
    """The upload after a request has died that had claimed it."""
    _, claim = site.repository.claim(upload.id, now=site.now, until=site.now + LEASE, by="gone.1.2.3")
    site.repository.save(replace(site.saved(upload), **changes), claim, until=site.now + LEASE)
    site.now += 2 * LEASE
    return site.saved(upload)


# --- creation ---


def test_a_final_upload_takes_no_content(site: Site) -> None:
    """It is made of others."""
    part = created(site, concat=Concat("partial"))
    final = Concat(f"final;{part.id}", (part.id,))
    with pytest.raises(UploadClosed, match="accepts no content"):
        site.create(None, b"abc", concat=final)


def test_a_repeated_creation_is_one_upload_of_its_owner(site: Site) -> None:
    """Others may happen to use the same key. Each of the requests is told the upload before its content is read."""
    told: list[str] = []
    first, again = [created(site, owner="a", idempotency_key="k", created=lambda it: told.append(it.id)) for _ in "12"]
    other = created(site, owner="b", idempotency_key="k")
    assert first.id == again.id != other.id
    assert told == [first.id, first.id]


def test_a_creation_can_be_repeated_until_its_upload_expires(site: Site) -> None:
    """From then on, the same key is of a new one."""
    first = created(site, idempotency_key="k")
    site.now += HOUR - timedelta(seconds=1)
    assert created(site, idempotency_key="k").id == first.id
    site.now += timedelta(seconds=1)
    assert created(site, idempotency_key="k").id != first.id


def test_a_repeated_creation_with_content_goes_on_where_the_first_one_got(site: Site) -> None:
    """The first one is asked to leave, although its client has said nothing. Both are told the same."""
    answers: list[Upload] = []

    def create(body: Content) -> Upload:
        return created(site, 6, idempotency_key="k", content=(Write(start=0, size=6), body))

    first = create(Late(b"abc", lambda: answers.append(create(Content(b"abcdef"))), 6))
    assert [upload.status for upload in (first, *answers)] == [Status.COMPLETE, Status.COMPLETE]
    assert site.storage.contents == {first.id: b"abcdef"}
    assert site.called.count("on_complete") == 1


@pytest.mark.parametrize(
    ("length", "quota", "max_size"),
    [(None, None, None), (9, None, None), (9, Quota(uploads=1), None), (None, Quota(uploads=1), 100)],
)
def test_an_unknown_length_reserves_the_maximum(
    site: Site, length: int | None, quota: Quota | None, max_size: int | None
) -> None:
    """If there is a quota. Otherwise the app may change the maximum of all uploads later."""
    site.limits = Limits(max_size=100)
    site.restarted(quotas=lambda owner: quota)
    assert created(site, length, owner="a").max_size == max_size


@pytest.mark.parametrize(
    ("length", "content", "free", "is_refused"),
    [
        (5, None, 4, True),
        (5, None, 5, False),
        (5, b"abc", 4, True),
        (None, b"abcde", 4, True),
        (None, b"abcd", 4, False),
        (None, None, 1, False),
    ],
)
def test_an_upload_that_does_not_fit_is_not_created(
    site: Site, length: int | None, content: bytes | None, free: int, is_refused: bool
) -> None:
    """As far as its size is known."""

    class Space:
        def free(self, upload: Upload) -> int:
            return free

    site.storage.capabilities = StorageCapabilities(space=Space())
    if is_refused:
        with pytest.raises(StorageFull):
            site.create(length, content)
    else:
        site.create(length, content)
    assert bool(site.repository.list(limit=9)) != is_refused


@pytest.mark.parametrize(
    ("length", "content", "has_hook", "leases"),
    [(3, None, False, 0), (1, None, False, 0), (None, None, False, 0), (3, None, True, 1)]
    + [(3, b"ab", False, 15), (3, b"ab", True, 1)],
)
def test_how_long_a_new_upload_is_claimed(
    site: Site, length: int | None, content: bytes | None, has_hook: bool, leases: int
) -> None:
    """Until its content has come or its hook has returned; not at all if nothing is to be done."""
    site.without = set() if has_hook else {"on_create"}
    seen: list[Upload] = []
    site.during["on_create"] = lambda upload: seen.append(site.saved(upload))
    body = None if content is None else (Write(start=0, size=3), Content(content, size=3))
    upload = created(site, length, content=body, created=lambda upload: seen.append(site.saved(upload)))
    assert seen[0].claimed_until == (site.now + leases * LEASE if leases else None)
    assert site.saved(upload).is_released


def test_a_creation_without_a_hook_is_told_as_well(site: Site) -> None:
    """To the app's signals, and to observers."""
    site.without = {"on_create"}
    created(site)
    assert (site.told, site.facts.noted) == (["on_create"], [("created", "active")])


def test_a_limit_that_the_hook_sets_holds_for_the_content_of_the_creation(site: Site) -> None:
    """It was not known before. Nothing is kept, because the client gets no URL."""

    def limit(upload: Any) -> None:
        upload.max_size = 2

    site.during["on_create"] = limit
    with pytest.raises(TooLarge):
        site.create(None, b"abc")
    assert (site.repository.list(limit=9), site.storage.contents) == ([], {})
    assert site.create(None, b"ab").offset == 2


# --- ids that the app chooses ---


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        ({}, {}, IdTaken),
        ({}, {"client_key": "b"}, IdTaken),
        ({"client_key": "a"}, {"client_key": "b"}, IdTaken),
        ({"client_key": "a"}, {"client_key": "a"}, UploadExists),
        ({"client_key": "a"}, {}, IdTaken),
        ({"idempotency_key": "a"}, {"idempotency_key": "b"}, IdTaken),
        ({"idempotency_key": "a"}, {"idempotency_key": "a"}, None),
    ],
)
def test_an_id_is_taken_once(
    site: Site, first: dict[str, Any], second: dict[str, Any], error: type[Exception] | None
) -> None:
    """A client whose key has an upload means that one, which is not a mistake of the app."""
    site.restarted(choose_id=lambda upload: "chosen")
    made = created(site, **first)
    if error is None:
        assert created(site, **second).stored_as == made.stored_as
        return
    with pytest.raises(error):
        created(site, **second)


@pytest.mark.parametrize(("fields", "error"), [({}, IdTaken), ({"client_key": "b"}, UploadExists)])
def test_an_id_that_is_free_again_by_now(
    site: Site, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], error: type[Exception]
) -> None:
    """The other upload is removed in the same moment: whoever has a key tries again, and others are refused."""
    site.restarted(choose_id=lambda upload: "chosen")
    created(site)

    def removed(upload_id: str) -> NoReturn:
        raise UploadNotFound(upload_id)

    monkeypatch.setattr(site.repository, "get", removed)
    with pytest.raises(error):
        created(site, **fields)


def _next_life(site: Site, monkeypatch: pytest.MonkeyPatch, upload: Upload) -> Upload:
    """Let the upload be removed, and another one get its id, just after the next request has found it."""
    get = site.repository.get
    other = with_chosen_id(replace(upload, id="f" * 32, status=Status.ACTIVE), upload.id)

    def first(upload_id: str) -> Upload:
        monkeypatch.setattr(site.repository, "get", get)
        found = get(upload_id)
        del site.repository._records[upload.id]
        site.repository.add(other, until=None)
        return found

    monkeypatch.setattr(site.repository, "get", first)
    return other


@pytest.mark.parametrize("way", ["look", "delete"])
def test_a_request_that_means_a_removed_upload_does_not_reach_the_next_one(
    site: Site, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Which was given the same id meanwhile."""
    site.restarted(choose_id=lambda upload: "chosen")
    upload = abandoned(site, created(site))
    other = _next_life(site, monkeypatch, upload)
    with pytest.raises(UploadNotFound) as caught:
        getattr(site.service, way)("chosen", owner=None)
    assert caught.value.upload_id == "chosen"
    assert site.saved(upload).stored_as == other.stored_as
    assert "pre_delete" not in site.called


def test_no_connection_is_held_while_the_app_has_decided(site: Site) -> None:
    """It may have used its database to decide about the id, the place and the quota, or to note the progress."""
    did: list[str] = []

    class Records(MemoryRepository):
        def release_connection(self) -> None:
            did.append("release")

    class Chooser:
        default = ""

        def choose(self, upload: Upload) -> dict[str, Any]:
            did.append("place")
            return {}

    def choose_id(upload: Upload) -> None:
        did.append("id")

    def quota(owner: str) -> None:
        did.append("quota")

    site.repository = Records()
    site.storage.capabilities = StorageCapabilities(placement=Chooser())
    site.without = set()
    site.during["on_progress"] = lambda upload: did.append("progress")
    site.restarted(choose_id=choose_id, quotas=quota)
    upload = created(site, owner="a")
    assert did == ["quota", "release", "id", "release", "place", "release"]
    did.clear()
    with pytest.raises(BodyIncomplete):
        body = Content(b"ab", size=3)
        site.service.write(upload.id, Write(start=0, size=3), body, owner="a", limits=site.limits)
    assert did == ["release", "progress", "release"]


# --- looking ---


@pytest.mark.parametrize(("may_have_overtaken", "slept"), [(None, 0.0), (False, 0.0), (True, 0.1)])
def test_who_only_looks_does_not_wait(
    site: Site, monkeypatch: pytest.MonkeyPatch, may_have_overtaken: bool | None, slept: float
) -> None:
    """Unless content may be on its way."""
    upload = created(site)
    clock = Clock(monkeypatch)
    options = {} if may_have_overtaken is None else {"may_have_overtaken": may_have_overtaken}
    site.service.look(upload.id, owner=None, **options)
    assert clock.slept == pytest.approx(slept)


def test_content_that_is_about_to_claim_its_upload_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """By clients that ask for the offset because their connection broke."""
    upload = created(site)
    clock = Clock(monkeypatch)
    claim_free = site.repository.claim_free
    slept: list[float] = []

    def asked(*arguments: Any, **options: Any) -> Any:
        site.service.look(upload.id, owner=None, may_have_overtaken=True)
        slept.append(clock.slept)
        return claim_free(*arguments, **options)

    monkeypatch.setattr(site.repository, "claim_free", asked)
    site.write(upload, 0, b"abc")
    assert slept[0] > 0.5


def test_what_a_look_has_saved_is_told(site: Site) -> None:
    """Once, and nothing if there was nothing new."""
    upload = created(site, 6)
    with pytest.raises(BodyIncomplete):
        site.write(upload, 0, b"a", size=6)

    def look() -> None:
        for _ in "12":
            assert site.service.look(upload.id, owner=None).offset == 3

    body = Late(b"bc", look, 5)
    with pytest.raises(BodyIncomplete):
        site.service.write(upload.id, Write(start=1, size=5), body, owner=None, limits=site.limits)
    assert site.facts.noted[1:] == [("rescued", 2)]


@pytest.mark.parametrize("length", [3, 6])
def test_looking_leaves_an_open_upload_open(site: Site, length: int) -> None:
    """Although it counts what a dead request has left, and whether or not all bytes are there."""
    upload = created(site, length, awaits_completion=True)
    content = Write(start=0, size=3, completes=False)
    site.service.write(upload.id, content, Content(b"abc"), owner=None, limits=site.limits)
    abandoned(site, upload)
    found = site.service.look(upload.id, owner=None)
    assert (found.status, found.awaits_completion, found.offset) == (Status.ACTIVE, True, 3)
    assert site.saved(upload).is_released


class Joining(MemoryStorage):
    """A storage that can join parts."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = StorageCapabilities(concatenation=self)
        self.joining: Callable[[], object] = lambda: None

    def concatenate(self, upload: Upload, parts: Any, fence: int) -> dict[str, Any]:
        self.joining()
        self.contents[upload.id] = bytearray(b"".join(self.contents[part.id] for part in parts))
        return {}


def test_looking_at_a_final_upload(site: Site) -> None:
    """It tells the length that is known, and neither waits for its parts nor interrupts who joins them."""
    site.storage = storage = Joining()
    site.restarted()
    part = created(site, concat=Concat("partial"))
    final = created(site, None, concat=Concat(f"final;{part.id}", (part.id,)))
    version = site.saved(final).version
    assert site.service.look(final.id, owner=None).length == 3
    assert site.saved(final).version == version
    seen: list[Upload] = []
    storage.joining = lambda: seen.append(site.service.look(final.id, owner=None))
    site.write(part, 0, b"abc")  # which joins them
    done = site.saved(final)
    assert (done.status, bytes(storage.contents[final.id])) == (Status.COMPLETE, b"abc")
    assert [upload.status for upload in seen] == [Status.ACTIVE]


# --- content ---


def test_an_owner_may_continue_what_needs_a_step_first(site: Site) -> None:
    """And nobody else."""

    def fail(upload: Any) -> NoReturn:
        raise ZeroDivisionError

    site.during["on_complete"] = fail
    body = Content(b"abc")
    with pytest.raises(ZeroDivisionError):
        created(site, owner="a", content=(Write(start=0, size=3), body))
    (upload,) = site.repository.list(limit=9)
    del site.during["on_complete"]
    end = Write(start=3, size=0)
    with pytest.raises(UploadNotFound) as caught:
        site.service.write(upload.id, end, Content(b""), owner="b", limits=site.limits)
    assert caught.value.upload_id == upload.id
    done = site.service.write(upload.id, end, Content(b""), owner="a", limits=site.limits)
    assert done.status is Status.COMPLETE


@pytest.mark.parametrize("is_sliding", [False, True])
def test_an_upload_that_expires_while_it_receives(site: Site, is_sliding: bool) -> None:
    """If its expiry slides, that is about to be postponed, so a newer request may continue. Otherwise nobody may."""
    site.limits = Limits(expiration=HOUR, sliding=is_sliding)
    upload = created(site, 6)
    answers: list[object] = []

    def late() -> None:
        site.now += HOUR
        _, claim = site.saved(upload), site.service._claims.found(upload.id, site.saved(upload).fence)
        assert claim is not None
        claim.renew()
        try:
            answers.append(site.write(upload, 3, b"def").status)
        except UploadExpired:
            answers.append("expired")

    body = Late(b"abc", late, 6)
    with pytest.raises(ClaimLost if is_sliding else BodyIncomplete):
        site.service.write(upload.id, Write(start=0, size=6), body, owner=None, limits=site.limits)
    assert answers == [Status.COMPLETE if is_sliding else "expired"]


def test_a_request_that_is_too_long_may_still_complete_its_upload(site: Site) -> None:
    """What is beyond the limit of requests is refused; the bytes before it count."""
    upload = created(site)
    body = Content(b"abc")
    body.size = None
    body.is_overlong = True
    with pytest.raises(TooLarge):
        site.service.write(upload.id, Write(start=0, size=None, at_most=3), body, owner=None, limits=site.limits)
    assert site.saved(upload).status is Status.COMPLETE


# --- the rest ---


def test_a_digest_is_of_what_is_recorded_and_made_once(site: Site) -> None:
    """A finished file is read to its end, and another algorithm is another digest."""
    upload = created(site, 6)
    with pytest.raises(BodyIncomplete):
        site.write(upload, 0, b"abc", size=6)
    site.storage.contents[upload.id] += b"def"  # which was not saved
    partly = site.saved(upload)
    for name in ("md5", "sha1"):
        for _ in "12":
            assert site.service.digest(partly, name, 2) == hashlib.new(name, b"abc").hexdigest()
    assert len(site.storage.opened) == 2
    whole = site.write(upload, 3, b"def")
    site.storage.contents[upload.id] += b"ghi"  # what was merged
    assert site.service.digest(whole, "md5", 2) == hashlib.md5(b"abcdefghi").hexdigest()


def test_a_removal_that_was_interrupted_is_not_a_new_one(site: Site) -> None:
    """It is finished, and there is nothing to remove any more. ``pre_delete`` has agreed already."""
    upload = created(site)
    delete = site.storage.delete

    def die(upload: Upload) -> NoReturn:
        raise SystemExit

    site.storage.delete = die  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        site.service.delete(upload.id, owner=None)
    site.storage.delete = delete  # type: ignore[method-assign]
    site.restarted()
    site.now += timedelta(minutes=1)
    for ask in (site.service.delete, site.service.look):
        with pytest.raises(UploadNotFound):
            ask(upload.id, owner=None)
    with pytest.raises(UploadNotFound) as caught:
        site.service.catch_up(upload.id)
    assert caught.value.upload_id == upload.id
    assert site.called.count("pre_delete") == 1
    assert site.repository.list(limit=9) == []


def test_a_removal_is_claimed_for_one_lease_that_is_renewed(site: Site) -> None:
    """``pre_delete`` may be slow; if the server dies meanwhile, others need not wait for long."""
    lease = timedelta(seconds=0.06)
    site.restarted(lease=lease)
    upload = created(site)

    def slow(it: Any) -> None:
        before = site.saved(upload)
        assert before.claimed_until == site.now + lease
        for _ in range(10_000):
            if site.saved(upload).version > before.version:
                return
            renewed.wait(0.001)
        raise AssertionError("The claim was not renewed.")

    renewed = threading.Event()
    site.during["pre_delete"] = slow
    site.service.delete(upload.id, owner=None)
    assert site.repository.list(limit=9) == []


def test_what_is_pending_is_read_in_batches(site: Site) -> None:
    """Each upload once, although all of them go on waiting; without those that are being completed."""
    uploads = [created(site) for _ in "123"]
    for upload in uploads:
        site.repository._records[upload.id].upload = replace(site.saved(upload), status=Status.FINISHING)
    ids = sorted(upload.id for upload in uploads)
    site.repository.claim(ids[1], now=site.now, until=site.now + LEASE, by="elsewhere.1.2.3")
    found = [[upload.id for upload in batch] for batch in site.service.pending(batch=2)]
    assert found == [[ids[0]], [ids[2]]]

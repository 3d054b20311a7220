"""Creations that come again: what they find, what they wait for, and which of their content is read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from typing import NoReturn
from typing import Self

import pytest

from flask_resumable.core.concat import Concat
from flask_resumable.core.grant import Grant
from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.upload import Creation
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.core.upload import Write
from flask_resumable.errors import BytesLost
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import StorageFull
from flask_resumable.errors import TokenRefused
from flask_resumable.errors import UploadLocked
from flask_resumable.errors import UploadNotFound
from flask_resumable.interfaces import Piped
from flask_resumable.service.repeats import _Rest
from tests.bodies import PlainBody

from .arriving import Body
from .site import Content
from .site import HOUR
from .site import Site
from .stores import Bytes

KEY = "8e03978e"
CONTENT = b"abcdef"


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def storage(site: Site) -> Bytes:
    """One that can concatenate."""
    site.storage = storage = Bytes()
    site.restarted()
    return storage


class Waiting:
    """What happens while this thread waits: one step each time, and then nothing but time passes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[Callable[[], object]] = []
        self.passed = 0.0
        self._thread = threading.get_ident()
        self._sleep, self._monotonic = time.sleep, time.monotonic
        monkeypatch.setattr(time, "monotonic", self.monotonic)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def monotonic(self) -> float:
        return self.passed if threading.get_ident() == self._thread else self._monotonic()

    def sleep(self, seconds: float) -> None:
        if threading.get_ident() != self._thread:
            self._sleep(seconds)
            return
        self.passed += seconds
        if self.steps:
            self.steps.pop(0)()


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    return Waiting(monkeypatch)


def create(
    site: Site,
    body: Any = None,
    length: int | None = 6,
    created: Callable[[Upload], object] | None = None,
    **wishes: Any,
) -> Upload:
    """Send the request."""
    creation = Creation(length=length, **({"idempotency_key": KEY} | wishes))
    content = None if body is None else (Write(start=0, size=body.size), body)
    return site.service.create(creation, owner=None, limits=site.limits, content=content, created=created)


def cut(site: Site, content: bytes = b"abc", **wishes: Any) -> Upload:
    """An upload whose creation was cut off after some of its content."""
    return create(site, Content(content, size=6), **wishes)


def failed(site: Site) -> Upload:
    """An upload whose ``on_complete`` has a bug."""

    def fail(upload: Any) -> NoReturn:
        raise ZeroDivisionError

    site.during["on_complete"] = fail
    with pytest.raises(ZeroDivisionError):
        create(site, Content(CONTENT))
    return site.repository.list(limit=9)[0]


def held(site: Site, upload: Upload) -> Callable[[], None]:
    """Claim an upload as a process elsewhere does. What is returned releases it."""
    _, claim = site.repository.claim(upload.id, now=site.now, until=site.now + 9 * HOUR, by="a process elsewhere")
    return lambda: site.repository.release(claim)


# --- what is found ---


def test_what_is_at_rest_is_not_touched(site: Site) -> None:
    """Whether it waits for its content or has all of it."""
    for body in (None, Content(CONTENT)):
        upload = create(site, body)
        before = site.saved(upload)
        assert create(site) == before
        assert site.saved(upload) == before


def test_a_key_is_free_when_its_upload_has_expired(site: Site) -> None:
    """From that moment on."""
    upload = create(site)
    site.now += HOUR
    assert create(site).id != upload.id
    assert site.saved(upload).request_key is None


def test_a_token_is_not_free_when_its_upload_has_expired(site: Site) -> None:
    """It is used once. Until then, the request that used it may be repeated."""
    grant = Grant(nonce="n", expires_at=site.now + 9 * HOUR)
    upload = create(site, grant=grant)
    assert create(site, grant=grant).id == upload.id
    site.now += HOUR
    with pytest.raises(TokenRefused, match="used already"):
        create(site, grant=grant)
    assert [*site.repository.list(limit=9)] == [site.saved(upload)]


def test_an_upload_that_is_removed_after_it_was_found_is_created_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of the requests has to know about the other."""
    upload = cut(site)
    find = site.repository.find_request

    def removed_at_once(key: str) -> Upload:
        monkeypatch.setattr(site.repository, "find_request", find)
        found = find(key)
        site.service.delete(upload.id, owner=None)
        return found

    monkeypatch.setattr(site.repository, "find_request", removed_at_once)
    again = create(site, Content(CONTENT))
    assert again.id != upload.id
    assert site.storage.contents == {again.id: CONTENT}


def test_an_upload_that_is_created_after_it_was_looked_for_is_found(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two requests at the same moment, one creates it."""
    find = site.repository.find_request
    created: list[Upload] = []

    def created_at_once(key: str) -> Upload:
        monkeypatch.setattr(site.repository, "find_request", find)
        created.append(create(site))
        raise UploadNotFound(key)

    monkeypatch.setattr(site.repository, "find_request", created_at_once)
    assert create(site).id == created[0].id
    assert len(site.repository.list(limit=9)) == 1


@pytest.mark.parametrize("error", [UploadLocked, lambda: UploadNotFound("a part")])
def test_a_creation_that_fails_is_not_repeated_by_the_server(site: Site, error: Callable[[], Exception]) -> None:
    """The hook has said so about something else."""

    def fail(upload: Any) -> None:
        raise error()

    site.during["on_create"] = fail
    with pytest.raises((UploadLocked, UploadNotFound)):
        create(site)
    assert site.called == ["on_create"]


# --- what is waited for ---


def test_a_request_that_completes_the_upload_is_waited_for(site: Site, waiting: Waiting) -> None:
    """The client learns the result of that."""
    upload = failed(site)
    del site.during["on_complete"]
    release = held(site, upload)
    waiting.steps = [*9 * [lambda: None], release]
    body = Body(b"abc", b"def", size=6)
    told: list[Upload] = []
    assert create(site, body, created=told.append).status is Status.COMPLETE
    assert [found.id for found in told] == [upload.id]
    assert (body.room, body.arrives) == (6, [])
    assert site.called.count("on_complete") == 2
    assert 0 < waiting.passed < 1


def test_a_request_that_has_everything_is_not_asked_to_leave(site: Site, waiting: Waiting) -> None:
    """Who brings no content has no reason to."""
    upload = create(site)
    site.repository.amend(upload.id, lambda known: replace(known, received=ByteRanges.prefix(6)), now=site.now)
    release = held(site, upload)
    messages: list[str | None] = []

    def look() -> None:
        messages.append(site.saved(upload).claim_message)

    waiting.steps = [*19 * [look], release]
    assert create(site).status is Status.COMPLETE
    assert messages == 19 * [None]


def test_bytes_that_are_lost_are_sent_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage finds when it publishes the file that it has not all of it. The client learns where to go on."""
    upload = failed(site)
    del site.during["on_complete"]
    finish = site.storage.finish

    def lost(upload: Upload, fence: int) -> NoReturn:
        monkeypatch.setattr(site.storage, "finish", finish)
        raise BytesLost(2)

    monkeypatch.setattr(site.storage, "finish", lost)
    again = create(site)
    assert (again.id, again.status, again.offset) == (upload.id, Status.ACTIVE, 2)
    assert create(site, Content(CONTENT)).status is Status.COMPLETE


def test_a_wait_ends_some_time(site: Site, waiting: Waiting) -> None:
    """Before proxies give up."""
    held(site, failed(site))
    with pytest.raises(UploadLocked):
        create(site)
    assert 25 <= waiting.passed < 35


def test_a_removal_is_waited_for(site: Site, waiting: Waiting) -> None:
    """The cleaner holds what has expired; then the key is free."""
    upload = cut(site)
    site.now += HOUR
    release = held(site, upload)

    def remove() -> None:
        release()
        site.service.delete(upload.id, owner=None)

    waiting.steps = [remove]
    again = create(site, Content(CONTENT))
    assert (again.id != upload.id, waiting.passed > 0) == (True, True)
    assert site.storage.contents == {again.id: CONTENT}


def test_a_cleaner_that_is_faster_is_waited_for(site: Site, waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    """It claims what has expired just before its key is released."""
    upload = cut(site)
    site.now += HOUR
    amend = site.repository.amend

    def taken_at_once(*arguments: Any, **options: Any) -> Upload:
        monkeypatch.setattr(site.repository, "amend", amend)
        waiting.steps = [held(site, upload)]
        return amend(*arguments, **options)

    monkeypatch.setattr(site.repository, "amend", taken_at_once)
    assert create(site).id != upload.id
    assert waiting.passed > 0


# --- content ---


@pytest.mark.parametrize(
    ("length", "size", "room"), [(6, 6, 6), (6, 4, 4), (6, None, 6), (None, 6, 6), (None, None, 3), (6, 0, 0)]
)
def test_content_that_is_not_needed_is_read(site: Site, length: int | None, size: int | None, room: int) -> None:
    """Most clients read no response before they have sent everything. No more is read than the upload may have."""
    upload = create(site, length=length)
    site.repository.amend(
        upload.id,
        lambda known: replace(known, received=ByteRanges.prefix(length or 3), length=length or 3, status=Status.ACTIVE),
        now=site.now,
    )
    upload = create(site, length=length)
    if length is None:
        site.repository.amend(upload.id, lambda known: replace(known, length=None), now=site.now)
    body = Body(b"abc", lambda: body.comes(b"def"), size=size)
    create(site, body, length=length)
    assert (body.room, body.arrives) == (room, [])
    assert body.did == ["take", "take", "wait", "take", "take"]


def test_only_the_rest_of_the_content_needs_space(site: Site, storage: Bytes) -> None:
    """Its beginning is there already. If its size is not known, at least a byte more must fit."""
    upload = cut(site)
    for room, size, message in ((2, 6, "for 3 more bytes"), (0, None, "left")):
        storage.room = room
        with pytest.raises(StorageFull, match=f"The server has no space {message}"):
            create(site, Body(CONTENT, size=size))
    storage.room = 3
    assert create(site, Content(CONTENT)).id == upload.id
    assert storage.contents == {upload.id: CONTENT}


# --- requests that are overtaken ---


@pytest.mark.parametrize("has_more", [False, True])
def test_who_is_overtaken_is_told_what_the_other_request_has_done(site: Site, has_more: bool) -> None:
    """Which may have been cut off as well. Its own content no longer counts."""
    others: list[Upload] = []

    def come_again() -> None:
        content = b"0123456789" if has_more else b"012"
        others.append(site.saved(create(site, Content(content, size=10), length=10)))
        body.comes(b"23456789")

    body = Body(b"01", come_again, size=10)
    answer = create(site, body, length=10)
    assert answer.offset == others[0].offset == (10 if has_more else 3)
    assert site.storage.contents == {answer.id: b"0123456789"[: answer.offset]}
    assert ("took over", 2) in site.facts.noted
    if has_more:
        assert site.saved(answer) == others[0]


def overtaken(site: Site, upload: Upload) -> Callable[[], None]:
    """Take the upload over as a process elsewhere does. What is returned releases it."""
    fence = site.saved(upload).fence
    until = site.now + HOUR
    _, claim = site.repository.claim(upload.id, now=site.now, until=until, by="a process elsewhere", over=fence)
    return lambda: site.repository.release(claim)


def test_who_is_overtaken_waits_for_the_other_request(site: Site, waiting: Waiting) -> None:
    """It may take a while."""

    def take_over() -> None:
        release = overtaken(site, site.repository.list(limit=9)[0])
        waiting.steps = [*9 * [lambda: None], release]
        body.comes(b"def")

    body = Body(b"abc", take_over, size=6)
    assert create(site, body).offset == 0
    assert waiting.steps == [] and waiting.passed > 0


@pytest.mark.parametrize("has_successor", [False, True])
def test_who_is_overtaken_does_not_bring_a_removed_upload_back(
    site: Site, monkeypatch: pytest.MonkeyPatch, has_successor: bool
) -> None:
    """Nor does it find another one that has got its id meanwhile."""
    site.restarted(choose_id=lambda upload: "chosen")
    find = site.repository.find_request

    def replaced_at_once(key: str) -> Upload:
        monkeypatch.setattr(site.repository, "find_request", find)
        found = find(key)
        site.service.delete(found.id, owner=None)
        create(site, idempotency_key="another")
        return found

    def take_over() -> None:
        (upload,) = site.repository.list(limit=9)
        overtaken(site, upload)()
        if has_successor:
            monkeypatch.setattr(site.repository, "find_request", replaced_at_once)
        else:
            site.service.delete(upload.id, owner=None)
        body.comes(b"def")

    body = Body(b"abc", take_over, size=6)
    with pytest.raises(ClaimLost):
        create(site, body)
    assert len(site.repository.list(limit=9)) == has_successor


# --- final uploads ---


def test_a_final_upload_that_waits_for_its_parts_is_at_rest(site: Site, storage: Bytes, waiting: Waiting) -> None:
    """Until they are there. Then one request makes the file, and the others wait for it."""
    part = site.create(3, concat=Concat("partial"))
    wishes: dict[str, Any] = {"length": None, "concat": Concat(f"final;{part.id}", (part.id,))}
    final = create(site, **wishes)
    before = site.saved(final)
    assert create(site, **wishes) == before == site.saved(final)
    waiting.steps = [held(site, final)]
    assert create(site, **wishes).status is Status.ACTIVE
    assert waiting.passed > 0
    site.write(part, 0, b"abc")
    assert storage.contents[final.id] == b"abc"
    assert create(site, **wishes).status is Status.COMPLETE


# --- the rest of a body ---


class Arriving(PlainBody):
    """Content in blocks; ``None``: the next one has not arrived yet."""

    def __init__(self, *blocks: Any, size: int | None = None) -> None:
        self.size = size
        self.blocks = [*blocks]
        self.room: int | None = None

    @contextmanager
    def incoming(self, room: int) -> Iterator[Self]:
        self.room = room
        yield self

    def take(self) -> Any:
        return self.blocks.pop(0) if self.blocks else b""


def rest_of(body: Any, skipped: int) -> tuple[_Rest, AbstractContextManager[Any]]:
    rest = _Rest(body, skipped)
    return rest, rest.incoming(9)


@pytest.mark.parametrize(
    ("skipped", "taken"),
    [
        (1, [b"b", None, b"cd", b"ef"]),
        (2, [None, b"cd", b"ef"]),
        (3, [None, b"d", b"ef"]),
        (4, [None, b"ef"]),
        (5, [None, b"f"]),
        (6, [None]),
        (7, [None]),
    ],
)
def test_the_first_bytes_of_a_body_are_skipped(skipped: int, taken: list[bytes | None]) -> None:
    """However they arrive."""
    body = Arriving(b"ab", None, b"cd", b"ef", size=8)
    rest, incoming = rest_of(body, skipped)
    with incoming as arriving:
        assert [arriving.take() for _ in taken] == taken
        assert arriving.take() == b""
    assert (body.room, rest.size) == (9 + skipped, 8 - skipped)
    assert _Rest(Arriving(size=None), skipped).size is None


@pytest.mark.parametrize(("unseen", "left"), [(0, 0), (1, 0), (2, 0), (5, 3)])
def test_what_need_not_be_inspected_may_stay_in_the_kernel(unseen: int, left: int) -> None:
    """But nothing before the first byte that counts, and what has been taken already is no part of it."""
    piped = Piped.__new__(Piped)
    body = Arriving(b"abcd", piped)
    body.unseen = 0
    rest = _Rest(body, 2)
    assert rest.unseen == 0
    rest.unseen = unseen
    with rest.incoming(9) as arriving:
        assert body.unseen == 0
        assert arriving.take() == b"cd"
        assert body.unseen == left
        assert arriving.take() is piped


def test_the_rest_of_a_body_is_like_the_body() -> None:
    """In all that its reader asks of it."""
    for flag in (False, True):
        body: Any = Arriving(b"abc")
        names = ("counts_only_whole", "is_stopped", "is_whole", "is_overlong")
        shown = ("withholds", "has_ended", "is_stopping")
        for name in (*names, *shown):
            setattr(body, name, flag)
        body.watch, body.grace = object(), 1.5
        body.trailer = {"a": "1"}.get
        rest = _Rest(body, 1)
        assert [getattr(rest, name) for name in names] == [flag] * 4
        assert (rest.watch, rest.grace, rest.trailer("a"), rest.trailer("b")) == (body.watch, 1.5, "1", None)
        rest.grace = 2.5
        with rest.incoming(3) as arriving:
            assert body.grace == 2.5
            assert [getattr(arriving, name) for name in shown] == [flag] * 3
            for name in ("wait", "pause", "interrupt", "stop", "close"):
                assert getattr(arriving, name) == getattr(body, name)

"""What a request with content does, from its first byte to what is saved of it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_resumable.core.checksum import Checksum
from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import BodyIncomplete
from flask_resumable.errors import ChecksumMismatch
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import InvalidRequest
from flask_resumable.errors import LengthConflict
from flask_resumable.errors import ServerStopping
from flask_resumable.errors import StorageFull
from flask_resumable.errors import TooLarge
from flask_resumable.errors import Unavailable
from flask_resumable.interfaces import Piped
from flask_resumable.interfaces.observer import Kind
from flask_resumable.interfaces.observer import Observer

from .arriving import Body
from .arriving import ID
from .arriving import LARGE
from .arriving import LEASE
from .arriving import MANY
from .arriving import Seen
from .arriving import Site
from .arriving import START
from .arriving import whole


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def sha1(content: bytes) -> Checksum:
    return Checksum("sha1", hashlib.sha1(content).digest())


# --- before and after ---


def test_the_steps_of_a_request(site: Site) -> None:
    """No database connection is held while content arrives, and the hooks frame it."""
    body = whole(b"cde", size=3)
    saved = site.receive(body)
    assert site.did == ["pre_save at 2", "release connection", "open at 2", "post_save at 5"]
    assert body.room == 7
    assert (saved.offset, saved.request_count, site.writer.content) == (5, 1, b"cde")
    assert not site.claimed.is_receiving


@pytest.mark.parametrize(
    ("length", "body", "write", "is_content", "has_hooks"),
    [
        (3, whole(b"c"), {}, True, True),
        (2, whole(), {}, False, False),
        (9, whole(size=0), {}, False, False),
        (None, whole(size=0), {"declares_length": 4}, False, True),
    ],
)
def test_what_is_content(
    monkeypatch: pytest.MonkeyPatch,
    length: int | None,
    body: Body,
    write: dict[str, Any],
    is_content: bool,
    has_hooks: bool,
) -> None:
    """Without any, the storage is left alone. A request that changes nothing repeats an earlier one."""
    site = Site(monkeypatch, length=length)
    site.receive(body, **write)
    assert ("open at 2" in site.did, site.saved.request_count) == (is_content, is_content)
    assert ("pre_save at 2" in site.did, any("post_save" in step for step in site.did)) == (has_hooks, has_hooks)


def test_content_without_space_is_refused_before_anything_happens(site: Site) -> None:
    """No hook is called, and the client may come back."""
    site.space = 2
    with pytest.raises(StorageFull):
        site.receive(whole(b"cde", size=3))
    assert (site.did, site.saved.offset) == ([], 2)
    site.space = 3
    assert site.receive(whole(b"cde", size=3)).offset == 5


@pytest.mark.parametrize(
    ("content", "listeners", "is_released"),
    [(b"cde", set(), True), (b"cde", {"post_save"}, False), (b"cdefghi", set(), False)],
)
def test_the_save_releases_the_upload(site: Site, content: bytes, listeners: set[str], is_released: bool) -> None:
    """Unless the app wants to see it, or it has to be completed."""
    site.listeners = listeners
    assert site.receive(whole(content, size=len(content))).is_released == is_released
    assert site.repository.saves == 1
    assert site.saved.is_released


def test_an_observer_is_told_what_came(site: Site) -> None:
    """From where on, and how many bytes; also if the body was cut. A request without content is not told."""
    site.observer = seen = Seen()
    site.receive(whole(b"cde", size=3))
    with pytest.raises(BodyIncomplete):
        site.receive(Body(b"f", size=2), start=5)
    site.receive(whole(size=0), start=6)
    content = (Kind.RECEIVE, "content", ID)
    first = [content, ("request.offset", 2), ("request.size", 3), "ended"]
    second = [content, ("request.offset", 5), ("request.size", 1), "ended"]
    assert seen.told == first + second


def test_an_observer_of_other_things_is_not_told(site: Site) -> None:
    """It costs nothing then."""

    class Other(Observer):
        kinds = frozenset({Kind.HOOK})

        def doing(self, *arguments: Any) -> Any:
            raise AssertionError

    site.observer = Other()
    assert site.receive(whole(b"cde", size=3)).offset == 5


@pytest.mark.parametrize(
    ("is_fatal", "is_overlong", "status"),
    [(False, False, Status.FINISHING), (True, False, Status.FINISHING), (False, True, Status.FINISHING)]
    + [(True, True, Status.ACTIVE)],
)
def test_content_beyond_the_end(site: Site, is_fatal: bool, is_overlong: bool, status: Status) -> None:
    """It is refused, and what came before it counts. Where a protocol says that it is fatal, nothing is completed."""
    body = whole(b"cdefghi")
    body.is_overlong = is_overlong
    if is_overlong:
        with pytest.raises(TooLarge, match="at 9 bytes"):
            site.receive(body, is_fatal_beyond_length=is_fatal)
    else:
        site.receive(body, is_fatal_beyond_length=is_fatal)
    assert (site.at_end.status, site.at_end.offset) == (status, 9)


@pytest.mark.parametrize(("is_stopped", "error"), [(False, BodyIncomplete), (True, ServerStopping)])
def test_a_cut_body_counts_up_to_the_cut(site: Site, is_stopped: bool, error: type[BodyIncomplete]) -> None:
    """The client is told how far it came, and whose fault it was."""
    body = Body(b"cd", b"e", size=7)
    body.is_stopped = is_stopped
    with pytest.raises(BodyIncomplete) as caught:
        site.receive(body)
    assert (type(caught.value), caught.value.offset, site.saved.offset) == (error, 5, 5)


def test_a_server_that_stops_before_the_first_byte_keeps_what_was_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client does not say it again."""
    site = Site(monkeypatch, length=None)
    body = Body(size=3)
    body.is_stopped = True
    with pytest.raises(ServerStopping):
        site.receive(body, declares_length=9)
    assert (site.saved.length, site.saved.offset) == (9, 2)


# --- the end of the upload ---


@pytest.mark.parametrize(
    ("body", "length", "status"), [(whole(b"cde"), 5, Status.FINISHING), (Body(b"cde"), None, Status.ACTIVE)]
)
def test_content_that_is_marked_as_the_last(
    monkeypatch: pytest.MonkeyPatch, body: Body, length: int | None, status: Status
) -> None:
    """Its end is the upload's, if it is known that it came whole."""
    site = Site(monkeypatch, length=None)
    if length is None:
        with pytest.raises(BodyIncomplete):
            site.receive(body, completes=True)
    else:
        site.receive(body, completes=True)
    assert (site.at_end.length, site.at_end.offset, site.at_end.status) == (length, 5, status)


def test_a_wrong_mark_loses_no_bytes(site: Site) -> None:
    """Only what the client says about them is refused."""
    with pytest.raises(LengthConflict):
        site.receive(whole(b"cde"), completes=True)
    assert (site.saved.length, site.saved.offset) == (9, 5)


# --- content that counts only if it matches ---


@pytest.mark.parametrize("is_paced", [False, True])
def test_content_that_does_not_match_its_checksum_does_not_count(site: Site, is_paced: bool) -> None:
    """A storage that has kept parts of it records that it will remove them; otherwise nothing is saved."""
    paced = site.paced() if is_paced else None
    body = whole(b"cde", size=3)
    with pytest.raises(ChecksumMismatch):
        site.receive(body, checksum=sha1(b"CDE"))
    assert body.grace == 0.75  # seconds for the rest, when the server stops
    assert (site.saved.offset, site.repository.saves) == (2, 1 if is_paced else 0)
    if paced is not None:
        assert paced.did == ["conclude False"]
        assert site.saved.storage == {"rest": True}


@pytest.mark.parametrize(
    ("content", "options"),
    [(b"cde", {"checksum": sha1(b"cde")}), (b"cde", {"checksum_in_trailer": True})],
)
def test_content_that_matches_counts(site: Site, content: bytes, options: dict[str, Any]) -> None:
    """Whether its checksum came before or after it."""
    body = whole(content)
    body.trailers["Upload-Checksum"] = "sha1 " + base64.b64encode(hashlib.sha1(content).digest()).decode()
    assert site.receive(body, **options).offset == 5


@pytest.mark.parametrize(
    ("trailers", "error", "message"),
    [
        ({}, InvalidRequest, "announced Upload-Checksum"),
        ({"Upload-Checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="}, ChecksumMismatch, "does not match"),
    ],
)
def test_a_promised_checksum_must_come(
    site: Site, trailers: dict[str, str], error: type[Exception], message: str
) -> None:
    """And match. Otherwise nothing counts."""
    body = whole(b"cde")
    body.trailers = trailers
    with pytest.raises(error, match=message):
        site.receive(body, checksum_in_trailer=True)
    assert site.saved.offset == 2


@pytest.mark.parametrize("is_overlong", [False, True])
def test_guarded_content_that_does_not_end_where_it_should(site: Site, is_overlong: bool) -> None:
    """It cannot match any more."""
    body = Body(b"cdefghi")
    body.is_overlong = is_overlong
    with pytest.raises(TooLarge if is_overlong else BodyIncomplete, match="at 9 bytes" if is_overlong else "cut"):
        site.receive(body, checksum=sha1(b"cdefghi"))
    assert site.saved.offset == 2


def test_a_server_whose_cut_bodies_may_be_garbage(site: Site) -> None:
    """They count only whole."""
    body = Body(b"cde")
    body.counts_only_whole = True
    with pytest.raises(BodyIncomplete):
        site.receive(body)
    assert site.saved.offset == 2
    body = whole(b"cde")
    body.counts_only_whole = True
    assert site.receive(body).offset == 5


@pytest.mark.parametrize("checksum", [None, sha1(b"cde")])
def test_progress_beside_the_bytes(site: Site, checksum: Checksum | None) -> None:
    """It counts for other processes, unless nothing counts yet."""
    noting = site.noting()
    body = whole(b"cde", size=3)
    assert site.receive(body, checksum=checksum).offset == 5
    assert noting.is_counted == (checksum is None)
    assert body.grace == (0 if checksum is None else 0.75)


@pytest.mark.parametrize(
    ("has_pipes", "checksum", "unseen"), [(True, None, 7), (True, sha1(b"cde"), 0), (False, None, 0)]
)
def test_content_may_remain_in_the_kernel(site: Site, has_pipes: bool, checksum: Checksum | None, unseen: int) -> None:
    """If the storage can take it from there, and nobody has to look at it."""
    if has_pipes:
        site.piped()
    body = whole(b"cde", size=3)
    site.receive(body, checksum=checksum)
    assert body.unseen == unseen


def test_content_in_the_kernel_is_stored_as_well(site: Site) -> None:
    """Both kinds of blocks may come."""
    site.piped()
    assert site.receive(whole(Piped(0, 4), b"ghi")).offset == 9
    assert (site.writer.piped, site.writer.content) == (4, b"ghi")


# --- while it arrives ---


def test_nothing_is_kept_while_a_request_waits_for_its_first_block(site: Site) -> None:
    """Clients may take their time."""
    body = whole(lambda: None, b"c", size=1)
    body.has_ended = True
    site.receive(body)
    assert body.did == ["take", "pause", "wait", "take", "take"]


def test_progress_is_reported_once(site: Site) -> None:
    """After each block, but not while nothing comes."""
    site.has_progress = True
    site.receive(whole(lambda: None, b"c", lambda: None, lambda: None, b"de"))
    assert site.reported == [3, 5]


@pytest.mark.parametrize(
    ("block", "has_ended", "then"),
    [
        (b"c", False, ["pause", "wait", "take"]),
        (LARGE[1:], False, ["pause", "wait", "take"]),
        (LARGE, False, ["take"]),
        (b"c", True, ["take"]),
    ],
)
def test_what_is_done_after_a_block(
    monkeypatch: pytest.MonkeyPatch, block: bytes, has_ended: bool, then: list[str]
) -> None:
    """After a short one, most likely nothing is there yet, and nothing is kept while the request waits."""
    site = Site(monkeypatch, length=None)
    body = whole(block)
    body.has_ended = has_ended
    site.receive(body)
    assert body.did == ["take", *then]


def test_a_request_that_waits_receives_messages(site: Site) -> None:
    """From its first wait on, and until its content has come."""
    site.receive(whole(b"c", lambda: site.listening.append("wait"), b"d", lambda: site.listening.append("wait")))
    assert site.listening == ["add", "wait", "wait", "discard"]
    site.listening.clear()
    site.receive(whole(size=0), start=4)
    assert site.listening == ["discard"]


@pytest.mark.parametrize(("sizes", "listening"), [([MANY], ["discard"]), ([MANY + 1, 1, 1], ["add", "discard"])])
def test_a_request_that_never_waits_receives_messages_later(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], listening: list[str]
) -> None:
    """Most are over before."""
    site = Site(monkeypatch, length=None, received=ByteRanges.prefix(MANY))
    site.piped()
    body = whole(*[Piped(0, size) for size in sizes])
    body.has_ended = True
    assert site.receive(body, start=MANY).offset == MANY + sum(sizes)
    assert (site.listening, "wait" in body.did) == (listening, False)


def test_the_claim_is_renewed_while_content_arrives(site: Site) -> None:
    """A request that lasts longer than its claim saves what it has, but not with each block."""

    def later(seconds: float) -> Callable[[], None]:
        def passes() -> None:
            site.now += timedelta(seconds=seconds)
            seen.append((site.saved.offset, site.repository.saves))

        return passes

    seen: list[tuple[int, int]] = []
    third = LEASE.total_seconds() * 15 / 3
    site.receive(whole(b"c", later(third / 2), b"d", later(third / 2), b"e", later(0), b"f"))
    assert seen == [(2, 0), (2, 0), (5, 1)]


@pytest.mark.parametrize("sliding", [False, True])
def test_the_claim_is_renewed_while_guarded_content_arrives(monkeypatch: pytest.MonkeyPatch, sliding: bool) -> None:
    """None of it counts yet. If the expiry slides, it is postponed."""
    site = Site(monkeypatch, expires_at=START + timedelta(hours=1))
    site.limits = Limits(expiration=timedelta(hours=1), sliding=sliding)
    seen: list[Upload] = []

    def passes() -> None:
        site.now += timedelta(minutes=10)
        seen.append(site.saved)

    site.receive(whole(b"c", passes, b"d", passes, b"e"), checksum=sha1(b"cde"))
    assert seen[1].offset == 2
    assert seen[1].claimed_until == site.now - timedelta(minutes=10) + 15 * LEASE
    assert seen[1].expires_at == START + timedelta(minutes=70 if sliding else 60)
    assert site.saved.offset == 5


@pytest.mark.parametrize(("silence", "looks"), [(0.8, 0), (1.0, 1)])
def test_a_silent_request_looks_whether_it_still_holds_its_upload(site: Site, silence: float, looks: int) -> None:
    """About once a second, and then renews its claim if that is due."""
    noting = site.noting()

    def passes() -> None:
        site.clock.sleep(silence)
        site.now += timedelta(minutes=1)

    seen: list[tuple[int, int]] = []
    site.receive(whole(b"c", passes, lambda: seen.append((noting.checks, site.repository.saves)), b"d"))
    assert seen == [(looks, looks)]


def test_a_silent_request_that_has_lost_its_upload_ends(site: Site) -> None:
    """Although nothing arrives."""
    noting = site.noting()
    noting.is_lost = True
    with pytest.raises(ClaimLost):
        site.receive(whole(b"c", lambda: site.clock.sleep(1), b"d"))


def test_a_storage_may_decide_when_to_save(site: Site) -> None:
    """And what counts by then; it is told when that is in the record."""
    paced = site.paced()

    def due() -> None:
        paced.is_due = True

    def not_due() -> None:
        paced.is_due = False

    site.receive(whole(b"cd", due, b"efg", not_due, b"h"))
    assert paced.did == ["checkpoint True", "saved 6"]
    assert site.saved.offset == 8


def test_a_storage_may_decide_when_to_save_guarded_content(site: Site) -> None:
    """Nothing counts, but it must know of its parts."""
    paced = site.paced()
    paced.is_due = True
    site.receive(whole(b"cdefg"), checksum=sha1(b"cdefg"))
    assert paced.did == ["checkpoint False", "saved 2"]
    assert site.saved.storage == {}


@pytest.mark.parametrize(
    ("content", "checksum", "minutes"), [(b"cd", None, 60), (b"cdef", None, 70), (b"cdef", sha1(b"cdef"), 70)]
)
def test_what_postpones_the_expiry(
    monkeypatch: pytest.MonkeyPatch, content: bytes, checksum: Checksum | None, minutes: int
) -> None:
    """Content that counts, and content of which nobody knows yet. What is not a whole part does not count yet."""
    site = Site(monkeypatch, expires_at=START + timedelta(hours=1))
    site.limits = Limits(expiration=timedelta(hours=1), sliding=True)
    paced = site.paced()
    paced.is_due = True
    seen: list[Upload] = []

    def passes() -> None:
        site.now += timedelta(minutes=10)

    body = whole(passes, content, lambda: seen.append(site.saved))
    site.receive(body, checksum=checksum)
    assert [upload.expires_at for upload in seen] == [START + timedelta(minutes=minutes)]


def test_a_storage_that_decides_when_to_save_keeps_the_claim(site: Site) -> None:
    """It saves what counts whenever the claim must be renewed."""
    paced = site.paced()

    def passes() -> None:
        site.now += timedelta(minutes=1)

    site.receive(whole(b"cd", passes, b"efg", lambda: None, b"h"))
    assert paced.did == ["checkpoint True", "saved 6"]


class Watch:
    """Wants to be told every five seconds."""

    def __init__(self, site: Site) -> None:
        self.told: list[int] = []
        self.looks: Callable[[], object] = lambda: None
        self._site = site

    @property
    def every(self) -> float:
        self.looks()
        return 5.0

    def tell(self, upload: Upload) -> None:
        assert upload.offset == self._site.saved.offset
        self.told.append(upload.offset)


@pytest.mark.parametrize(("checksum", "told"), [(None, [3, 5]), (sha1(b"cdef"), [])])
def test_who_watches_is_told_what_is_saved(site: Site, checksum: Checksum | None, told: list[int]) -> None:
    """As often as they wish, unless nothing counts yet."""
    body = whole(*[step for block in (b"c", b"d", b"e", b"f") for step in (block, lambda: site.clock.sleep(2.6))])
    body.watch = watch = Watch(site)
    body.before = lambda: site.clock.sleep(5)
    site.receive(body, checksum=checksum)
    assert watch.told == told


def test_who_watches_is_not_told_after_the_request_has_left(site: Site) -> None:
    """A newer one tells."""
    body = whole(b"c", lambda: site.clock.sleep(5), b"d")
    body.watch = watch = Watch(site)
    body.before = lambda: site.clock.sleep(5)
    watch.looks = lambda: site.transfer.leave(1, at=None)
    with pytest.raises(ClaimLost):
        site.receive(body)
    assert (watch.told, site.saved.offset) == ([], 3)


# --- if it fails ---


class Broken(BaseException):
    """A server's worker is ended."""


@pytest.mark.parametrize("is_paced", [False, True])
def test_what_has_arrived_before_a_failure_counts(site: Site, is_paced: bool) -> None:
    """Whatever it was. The request keeps its claim until it has ended, for what remains to be done."""
    paced = site.paced() if is_paced else None

    def fails() -> None:
        raise Broken

    body = whole(b"cde", fails, b"fghi")
    with pytest.raises(Broken):
        site.receive(body)
    assert (site.at_end.offset, site.at_end.is_released, site.saved.is_released) == (5, False, True)
    assert paced is None or paced.did == ["conclude True"]
    assert site.transfer.show(1) is None  # nothing more is taken
    assert site.writer.content == b"cde"


@pytest.mark.parametrize("is_paced", [False, True])
def test_guarded_content_does_not_count_after_a_failure(site: Site, is_paced: bool) -> None:
    """It cannot be compared with its checksum any more."""
    paced = site.paced() if is_paced else None

    def fails() -> None:
        raise Broken

    with pytest.raises(Broken):
        site.receive(whole(b"cde", fails), checksum=sha1(b"cde"))
    assert site.saved.offset == 2
    assert paced is None or paced.did == ["conclude False"]


@pytest.mark.parametrize("error", [Unavailable(), ClaimLost()])
def test_a_failure_is_told_although_nothing_can_be_saved(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It has come first."""

    def save(*arguments: Any, **options: Any) -> None:
        raise error

    def fails() -> None:
        monkeypatch.setattr(site.repository, "save", save)
        raise Broken

    with pytest.raises(Broken):
        site.receive(whole(b"cde", fails))


def test_bytes_that_make_nothing_new_are_not_made_durable(site: Site) -> None:
    """A body that brings nothing flushes nothing."""
    with pytest.raises(BodyIncomplete):
        site.receive(Body(size=3))
    assert site.writer.flushes == 0
    with pytest.raises(BodyIncomplete):
        site.receive(Body(b"c", size=3))
    assert site.writer.flushes == 1

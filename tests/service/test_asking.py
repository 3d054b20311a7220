"""What other requests ask of one that is receiving content, at any moment: to show what it has, to leave, to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_resumable.core.checksum import Checksum
from flask_resumable.errors import BodyIncomplete
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import StorageFull
from flask_resumable.interfaces import Piped

from .arriving import Body
from .arriving import END
from .arriving import LARGE
from .arriving import MANY
from .arriving import Site
from .arriving import whole

WRONG = Checksum("md5", bytes(16))


def pause() -> None:
    """Nothing happens."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def ways(site: Site) -> list[Callable[[], Any]]:
    return [lambda: site.transfer.show(1), lambda: site.transfer.leave(1, at=None), lambda: site.transfer.stop()]


# --- show ---


def test_what_has_arrived_is_shown(site: Site) -> None:
    """It is taken for the request, which waits, and saved."""
    shown: list[Any] = []
    assert site.receive(whole(b"c", lambda: shown.append(site.transfer.show(1)), b"de")).offset == 5
    assert [(upload.offset, upload.is_released) for upload in shown] == [(3, False)]


def test_what_lies_in_the_kernel_is_shown(site: Site) -> None:
    """Up to what has not come yet; nothing is borrowed meanwhile."""
    seen: list[Any] = []
    body = whole(b"c", size=5)

    def ask() -> None:
        body.comes(b"d", b"e")
        body.did.clear()
        seen.append(site.transfer.show(1).offset)
        seen.append([*body.did])

    body.arrives += [ask, b"fg"]
    assert site.receive(body).offset == 7
    assert seen == [5, ["take", "take", "take", "pause"]]


def test_showing_nothing_new_saves_nothing(site: Site) -> None:
    """Unless somebody waits for an answer in the record."""
    seen: list[tuple[int, int]] = []

    def ask(**options: bool) -> None:
        offset = site.transfer.show(1, **options).offset
        seen.append((offset, site.repository.saves))

    site.receive(whole(ask, b"c", ask, ask, lambda: ask(answer=False), lambda: ask(answer=True), b"d"))
    assert seen == [(2, 0), (3, 1), (3, 1), (3, 1), (3, 2)]


def test_a_storage_that_makes_parts_is_not_made_to_save_all_the_time(site: Site) -> None:
    """Once a second is enough, except for an answer in the record. It is told what is saved."""
    paced = site.paced()
    seen: list[tuple[int, bool]] = []

    def ask(pause: float, **options: bool) -> Callable[[], None]:
        def asks() -> None:
            site.clock.now += pause
            saves = site.repository.saves
            seen.append((site.transfer.show(1, **options).offset, site.repository.saves > saves))

        return asks

    site.clock.now = 0.5  # soon after the machine has started
    steps = [b"c", ask(0), b"d", ask(0.9), ask(0.2), b"e", ask(0.1), ask(0, answer=True), b"f", ask(0.9), ask(0.2)]
    site.receive(whole(*steps))
    assert seen == [(3, True), (3, False), (4, True), (4, False), (5, True), (5, False), (6, True)]
    assert paced.did == ["saved 3", "saved 4", "saved 5", "saved 6"]


def test_content_that_is_guarded_is_not_shown(site: Site) -> None:
    """Nothing of it counts yet."""
    seen: list[int] = []
    with pytest.raises(BodyIncomplete):
        site.receive(Body(b"c", lambda: seen.append(site.transfer.show(1).offset), b"d"), checksum=WRONG)
    assert seen == [2]


def test_a_request_before_its_content_has_nothing_to_show(site: Site) -> None:
    """It is just about to read it. Whoever asks finds its result later."""
    body = whole(b"c")
    asked: list[Any] = []
    body.before = lambda: asked.extend([site.transfer.is_withheld, *[ask() for ask in ways(site)]])
    site.receive(body)
    assert asked == [False, None, None, None]
    assert site.saved.offset == 3


@pytest.mark.parametrize("way", [0, 1, 2])
def test_a_request_at_its_end_has_nothing_to_show(site: Site, way: int) -> None:
    """Its last bytes are taken for it, and it saves its result itself, in a moment."""
    body = whole(b"c", size=2)
    answers: list[Any] = []

    def ask() -> None:
        body.comes(b"d", END)
        answers.extend([ways(site)[way](), ways(site)[way](), site.repository.saves])

    body.arrives.append(ask)
    assert site.receive(body).offset == 4
    assert answers == [None, None, 0]
    assert site.writer.content == b"cd"


@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_nobody_takes_content_for_another_request_forever(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """After 64 MiB or a quarter of a second, the offset is told."""
    site = Site(monkeypatch, length=None)
    site.piped()
    body = whole(b"c")
    seen: list[int] = []
    site.writer.storing = lambda: site.clock.sleep(seconds)

    def ask() -> None:
        body.comes(*[Piped(0, MANY if seconds == 0 else 8) for _ in range(9)])
        seen.append(site.transfer.show(1).offset - 3)

    body.arrives.append(ask)
    site.receive(body)
    assert seen == [2 * MANY if seconds == 0 else 3 * 8]


def test_a_block_that_cannot_be_stored_for_another_request(site: Site) -> None:
    """It is lost, so the next one is not stored in its place. The request fails, and not the one that asked."""
    body = whole(b"c")
    answers: list[Any] = []

    def is_full() -> None:
        site.writer.storing = lambda: None
        raise StorageFull

    def ask() -> None:
        body.comes(b"d", b"e")
        site.writer.storing = is_full
        answers.extend([site.transfer.show(1), "interrupt" in body.did])

    body.arrives.append(ask)
    with pytest.raises(StorageFull):
        site.receive(body)
    assert answers == [None, True]
    assert (site.writer.content, site.saved.offset) == (b"c", 3)


def test_a_busy_request_shows_what_it_has_saved(site: Site) -> None:
    """Nobody waits for a slow disk for longer than they want."""
    shown: list[Any] = []
    site.writer.storing = lambda: shown.append(site.transfer.show(0).offset)
    assert site.receive(whole(b"c")).offset == 3
    assert shown == [2]


@pytest.mark.parametrize("somebody_waits", [False, True])
def test_a_busy_request_lets_others_have_a_turn(site: Site, somebody_waits: bool) -> None:
    """A lock alone is not fair. Without others, it does not lose time."""
    body = whole(LARGE[:3], size=3)
    body.has_ended = True

    def wait() -> None:
        if somebody_waits:
            site.transfer._waiting.append(None)

    site.writer.storing = wait
    site.receive(body)
    assert (site.clock.slept > 0) == somebody_waits


def test_who_has_asked_does_not_wait_any_more(site: Site) -> None:
    """The request need not let them have a turn again."""
    site.receive(whole(b"c", lambda: site.transfer.show(1), b"d"))
    assert site.clock.slept == 0


def test_turns_are_taken_one_after_another(site: Site) -> None:
    """While one request stores a block, another one that asks waits until it is stored."""
    shown: list[Any] = []
    other = threading.Thread(target=lambda: shown.append(site.transfer.show(30)))

    def begins() -> None:
        site.writer.storing = lambda: None
        other.start()
        while not site.transfer._waiting:
            pass

    site.writer.storing = begins
    site.receive(whole(b"c", other.join, b"d"))
    assert [upload.offset for upload in shown] == [3]


@pytest.mark.parametrize("withholds", [False, True])
def test_a_server_may_hold_content_back(site: Site, withholds: bool) -> None:
    """Others are told so."""
    body = whole(b"c", lambda: told.append(site.transfer.is_withheld), b"d")
    body.withholds = withholds
    told: list[bool] = []
    site.receive(body)
    assert told == [withholds]


# --- leave ---


def test_a_request_leaves(site: Site) -> None:
    """What has arrived is in the record, which is free at once. It takes and saves nothing more."""
    body = Body(b"c", size=7)
    seen: list[Any] = []

    def ask() -> None:
        left = site.transfer.leave(1, at=3)
        seen.extend([left.offset, site.saved.offset, site.saved.is_released, "interrupt" in body.did])
        body.did.clear()
        seen.extend([site.transfer.show(1), site.transfer.leave(1, at=None), site.transfer.stop(), *body.did])
        site.clock.sleep(1)
        site.now += timedelta(minutes=1)

    body.arrives += [ask, b"d"]
    with pytest.raises(ClaimLost):
        site.receive(body)
    assert seen == [3, 3, True, True, None, None, None]
    assert (site.repository.saves, site.writer.content) == (1, b"c")


@pytest.mark.parametrize(("checksum", "at"), [(None, 2), (WRONG, 3)])
def test_who_is_too_late_stops_nobody(site: Site, checksum: Checksum | None, at: int) -> None:
    """The request that asked sees in the record that it was heard, and the other one goes on."""
    seen: list[Any] = []

    def ask() -> None:
        offset = site.transfer.leave(1, at=at).offset
        seen.extend([offset, site.saved.is_released, site.repository.saves])

    body = Body(b"c", ask, ask, b"d")
    with pytest.raises(BodyIncomplete):
        site.receive(body, checksum=checksum)
    offset = 3 if checksum is None else 2
    assert seen == [offset, False, 1, offset, False, 2]
    assert site.saved.offset == (4 if checksum is None else 2)


@pytest.mark.parametrize("at", [2, None])
def test_guarded_content_leaves_nothing(site: Site, at: int | None) -> None:
    """The newer request continues where the older one began."""
    with pytest.raises(ClaimLost):
        site.receive(Body(b"c", lambda: site.transfer.leave(1, at=at), b"d"), checksum=WRONG)
    assert (site.saved.offset, site.saved.is_released) == (2, True)


def test_a_busy_request_leaves_later(site: Site) -> None:
    """As soon as it has stored its block, which counts."""
    answers: list[Any] = []
    site.writer.storing = lambda: answers.append(site.transfer.leave(0, at=None))
    with pytest.raises(ClaimLost):
        site.receive(Body(LARGE[:3], b"d"))
    assert answers == [None]
    assert (site.saved.offset, site.writer.content) == (5, b"xxx")


@pytest.mark.parametrize("is_guarded", [False, True])
def test_a_request_leaves_parts_that_were_not_full(site: Site, is_guarded: bool) -> None:
    """The storage keeps what it can."""
    paced = site.paced()
    with pytest.raises(ClaimLost):
        body = Body(b"c", lambda: site.transfer.leave(1, at=None))
        site.receive(body, checksum=WRONG if is_guarded else None)
    assert paced.did == [f"conclude {not is_guarded}"]
    assert (site.at_end.offset, site.at_end.is_released) == (2 if is_guarded else 3, True)


# --- when the server stops ---


def test_a_request_that_waits_stops(site: Site) -> None:
    """What has come until then is in the record; it ends by itself soon after."""
    seen: list[int] = []

    def stop() -> None:
        site.transfer.stop()
        seen.append(site.saved.offset)

    body = Body(b"c", stop)
    body.is_stopped = True
    with pytest.raises(BodyIncomplete):
        site.receive(body)
    assert (seen, site.repository.saves, site.writer.flushes) == ([3], 1, 1)
    assert "stop" in body.did and "interrupt" not in body.did


def test_a_request_that_stops_saves_nothing_twice(site: Site) -> None:
    """It may have shown all of it."""

    def stop() -> None:
        site.transfer.show(1)
        site.transfer.stop()

    with pytest.raises(BodyIncomplete):
        site.receive(Body(b"c", stop))
    assert (site.saved.offset, site.repository.saves) == (3, 1)


def test_a_request_that_cannot_stop_leaves(site: Site) -> None:
    """It may wait for long, and its upload is free."""
    seen: list[bool] = []

    def stop() -> None:
        site.transfer.stop()
        seen.append(site.saved.is_released)

    body = Body(b"c", stop, b"d")
    body.stops_soon = False
    with pytest.raises(ClaimLost):
        site.receive(body)
    assert (seen, site.saved.offset) == ([True], 3)


def test_what_comes_while_a_stopping_request_saves_counts(site: Site) -> None:
    """It is saved, too, until nothing more comes, or the time is up."""
    body = Body(b"c")
    body.is_stopped = True
    seen: list[int] = []
    more = [b"d", b"e"]

    def comes() -> None:
        if more:
            body.comes(more.pop(0))

    def stop() -> None:
        site.writer.flushing = comes
        site.transfer.stop()
        seen.append(site.saved.offset)

    body.arrives += [stop]
    with pytest.raises(BodyIncomplete):
        site.receive(body)
    assert seen == [5]


def test_a_stopping_server_does_not_wait_for_a_client_that_sends_on(site: Site) -> None:
    """Each save takes a while, in which more comes. After three quarters of a second, it has to be enough."""
    body = Body(b"c")
    saves: list[int] = []

    def comes() -> None:
        site.clock.sleep(0.3)
        body.comes(b"d")

    def stop() -> None:
        site.writer.flushing = comes
        site.transfer.stop()
        saves.append(site.repository.saves)
        site.writer.flushing = lambda: None

    body.arrives += [stop]
    with pytest.raises(BodyIncomplete):
        site.receive(body)
    assert saves == [3]


def test_the_end_may_come_while_a_stopping_request_saves(site: Site) -> None:
    """It is whole then, and ends as usual."""
    body = whole(b"c", size=2)

    def stop() -> None:
        site.writer.flushing = lambda: body.comes(b"d", END)
        site.transfer.stop()

    body.arrives += [stop]
    assert site.receive(body).offset == 4
    assert "stop" not in body.did


@pytest.mark.parametrize("is_guarded", [False, True])
def test_a_busy_or_guarded_request_is_not_stopped(site: Site, is_guarded: bool) -> None:
    """A busy one finds out by itself; of a guarded one, nothing would count."""
    body = Body(b"c", pause)
    if is_guarded:
        body.arrives.append(lambda: site.transfer.stop())
    else:
        site.writer.storing = lambda: site.transfer.stop()
    with pytest.raises(BodyIncomplete):
        site.receive(body, checksum=WRONG if is_guarded else None)
    assert "stop" not in body.did


class Stopping(Body):
    """A body that finds out by itself that the server stops, after the first block, and then ends where it is."""

    def __init__(self, *arrives: Any, finds_out: Callable[[], object]) -> None:
        super().__init__(*arrives)
        self.is_stopped = True
        self._finds_out: Callable[[], object] | None = finds_out

    @property
    def is_stopping(self) -> bool:  # type: ignore[override]
        found, self._finds_out = self._finds_out, None
        if found is not None:
            found()
            self.arrives.clear()
        return True


def test_a_request_that_finds_out_that_the_server_stops_saves_first(site: Site) -> None:
    """Then it looks for what has come meanwhile, which counts as well."""
    body = Stopping(b"c", pause, finds_out=pause)
    late = [b"d"]
    site.writer.flushing = lambda: body.comes(*[late.pop()] if late else [])
    seen: list[int] = []
    site.writer.storing = lambda: seen.append(site.saved.offset)
    with pytest.raises(BodyIncomplete):
        site.receive(body)
    assert (seen, site.saved.offset, "wait" in body.did) == ([2, 3], 4, False)


def test_a_request_that_has_just_left_does_not_save_again(site: Site) -> None:
    """Although the server stops in the same moment."""
    with pytest.raises(ClaimLost):
        site.receive(Stopping(b"c", pause, finds_out=lambda: site.transfer.leave(1, at=None)))
    assert site.repository.saves == 1


def test_a_request_whose_end_was_just_taken_does_not_save_twice(site: Site) -> None:
    """Although the server stops in the same moment."""
    shown: list[Any] = []

    def end() -> None:
        body.comes(b"d", END)
        shown.append(site.transfer.show(1))

    body = Stopping(b"c", pause, finds_out=end)
    with pytest.raises(BodyIncomplete):
        site.receive(body)
    assert (shown, site.repository.saves, site.saved.offset) == ([None], 1, 4)

"""Messages from other processes to requests that are receiving content, and the thread that looks for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from functools import partial

import pytest

from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import Unavailable
from flask_resumable.interfaces.observer import Observer
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.service.claims import ClaimedUpload
from flask_resumable.service.claims import Claims
from flask_resumable.service.takeover import Listener
from tests.memory_storage import MemoryStorage
from tests.own_time import Clock

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LOOKING, ACTING = "resumable-messages", "resumable-message"


class Transfer:
    """A transfer that notes what it is asked, and takes its time if it is told to."""

    is_withheld = False

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_asked = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()
        self.is_stopped = threading.Event()
        self.stops: Callable[[], None] = lambda: None

    def show(self, patience: float, *, answer: bool = False) -> None:
        self.asked.append("show")
        self.is_asked.set()
        self.may_end.wait(10)

    def leave(self, patience: float, *, at: int | None) -> None:
        raise AssertionError("Nobody asked for it.")

    def stop(self) -> None:
        self.asked.append("stop")
        self.is_stopped.set()
        self.stops()


class Site:
    """A process with requests that hold uploads."""

    def __init__(self) -> None:
        self.repository = MemoryRepository()
        observer, lease = Observer(), timedelta(minutes=1)
        self.claims = Claims(self.repository, MemoryStorage(), lease=lease, now=lambda: NOW, observer=observer)
        self.is_stopping = False
        self.listener = Listener(self.repository, self.claims, lambda: self.is_stopping)

    def request(self, id: str) -> tuple[ClaimedUpload, Transfer]:
        """A new one, which is receiving content."""
        self.repository.add(Upload(id=id, length=9, status=Status.ACTIVE, created_at=NOW), until=None)
        claimed = self.claims.take_free(id, owner=None)
        assert claimed is not None
        claimed.transfer = transfer = Transfer()
        return claimed, transfer

    def leave_message(self, id: str) -> None:
        self.repository.leave_message(self.repository.get(id), "show")


@pytest.fixture
def site() -> Site:
    return Site()


def _threads(name: str, before: list[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in before and thread.name == name]


def test_a_message_reaches_a_request_that_waits_for_content(site: Site) -> None:
    """A thread looks for it, which does not keep the server from exiting. It sees as well that the server stops."""
    claimed, transfer = site.request("a")
    before = threading.enumerate()
    site.listener.add(claimed)
    site.listener.add(site.request("b")[0])
    (thread,) = _threads(LOOKING, before)
    assert thread.daemon
    site.leave_message("a")
    assert transfer.is_asked.wait(10)
    site.is_stopping = True
    assert transfer.is_stopped.wait(10)


def test_a_forked_process_looks_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the listener, but not its thread."""
    monkeypatch.setattr(site.listener, "_thread", threading.Thread())  # never started: as dead as after a fork
    claimed, transfer = site.request("a")
    site.listener.add(claimed)
    site.leave_message("a")
    assert transfer.is_asked.wait(10)


def test_a_message_is_acted_on_once(site: Site) -> None:
    """It remains in the record until the transfer has saved, which may take a while."""
    _, transfer = site.request("a")
    _, prompt = site.request("b")
    transfer.may_end.clear()
    site.leave_message("a")
    before = threading.enumerate()
    site.listener._hear()
    assert transfer.is_asked.wait(10)
    (thread,) = _threads(ACTING, before)
    assert thread.daemon
    site.listener._hear()
    site.leave_message("b")
    site.listener._hear()
    assert prompt.is_asked.wait(10)  # nobody waits for the slow one
    assert transfer.asked == ["show"]
    transfer.may_end.set()


def test_the_thread_stays_for_a_while_after_the_last_request(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next request comes soon. However long requests last, their messages are looked for."""
    clock = Clock(monkeypatch)
    claimed, transfer = site.request("a")
    site.listener._held.add(claimed)
    clock.after(60, lambda: site.leave_message("a"))
    clock.after(61, lambda: site.listener.discard(claimed))
    site.listener._run()
    assert 65.8 < clock.slept < 66.5
    assert transfer.is_asked.wait(10)
    assert "stop" not in transfer.asked
    later, last = site.request("b")
    site.listener.add(later)  # another thread begins
    site.leave_message("b")
    assert last.is_asked.wait(10)


def test_nobody_looks_for_messages_to_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without requests asks the database for nothing."""

    def messages() -> list[object]:
        raise AssertionError

    monkeypatch.setattr(site.repository, "messages", messages)
    clock = Clock(monkeypatch)
    site.listener._run()
    assert 5 < clock.slept < 5.5


def test_a_database_that_is_away_is_asked_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are late then, but not lost."""
    clock = Clock(monkeypatch)
    claimed, transfer = site.request("a")
    site.leave_message("a")
    site.listener._held.add(claimed)
    messages = site.repository.messages

    def is_away() -> list[object]:
        monkeypatch.setattr(site.repository, "messages", messages)
        raise Unavailable

    monkeypatch.setattr(site.repository, "messages", is_away)
    clock.after(1, lambda: site.listener.discard(claimed))
    site.listener._run()
    assert transfer.is_asked.wait(10)


def test_a_server_that_stops_tells_every_request(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """To save and to leave; also if one of them cannot, and one has not begun."""
    clock = Clock(monkeypatch)
    requests = [site.request(id) for id in "abc"]
    for claimed, _ in requests:
        site.listener._held.add(claimed)
        clock.after(1, partial(site.listener.discard, claimed))
    new = site.request("d")[0]
    new.transfer = None
    site.listener._held.add(new)
    clock.after(1, lambda: site.listener.discard(new))

    def is_lost() -> None:
        raise ClaimLost

    for _, transfer in requests:
        transfer.stops = is_lost
    clock.after(0.5, lambda: setattr(site, "is_stopping", True))
    site.listener._run()
    for _, transfer in requests:
        assert {*transfer.asked} == {"stop"}

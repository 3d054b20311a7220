"""Which claims are renewed while something slow runs, and how often."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from flask_resumable.errors import ClaimLost
from flask_resumable.errors import Unavailable
from flask_resumable.service.claims import LeaseKeeper
from tests.own_time import Clock

NAME = "resumable-leases"


class Claimed:
    """A claimed upload that notes when it is renewed."""

    def __init__(self, clock: Clock, error: Exception | None = None) -> None:
        self.renewed: list[int] = []
        self._clock = clock
        self._error = error

    def renew(self) -> None:
        self.renewed.append(round(self._clock.slept))
        if self._error is not None:
            raise self._error


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def claimed(clock: Clock, error: Exception | None = None) -> Any:
    return Claimed(clock, error)


def test_a_claim_is_renewed_three_times_in_a_lease(clock: Clock) -> None:
    """As long as it is held by whoever began first, although somebody else held it in between."""
    keeper, one = LeaseKeeper(timedelta(seconds=30)), claimed(clock)
    with keeper.keeping(one):
        with keeper.keeping(one):
            assert keeper._beat()
        assert keeper._beat()
        assert keeper._beat()
    assert one.renewed == [10, 20, 30]


def test_what_is_not_held_for_long_is_not_renewed(clock: Clock) -> None:
    """Most hooks are quick, and a renewal costs a statement."""
    keeper, one, early, late = LeaseKeeper(timedelta(seconds=30)), *[claimed(clock) for _ in range(3)]
    with ExitStack() as stack, keeper.keeping(one):
        hold = ExitStack()
        hold.enter_context(keeper.keeping(early))
        clock.after(5, hold.close)
        clock.after(5, lambda: stack.enter_context(keeper.keeping(late)))
        keeper._beat()
    assert (one.renewed, early.renewed, late.renewed) == ([10], [], [])


@pytest.mark.parametrize("error", [Unavailable(), ClaimLost()])
def test_a_renewal_that_fails_does_not_end_others(clock: Clock, error: Exception) -> None:
    """The database may be back at the next one; a claim that is lost shows when its request saves."""
    keeper, one, other = LeaseKeeper(timedelta(seconds=30)), claimed(clock, error), claimed(clock, error)
    with keeper.keeping(one), keeper.keeping(other):
        assert keeper._beat()
    assert (one.renewed, other.renewed) == ([10], [10])


def test_one_thread_renews_all(clock: Clock) -> None:
    """It ends when there has been nothing to do for a while."""
    before = threading.enumerate()
    keeper = LeaseKeeper(timedelta(seconds=0.3))
    with keeper.keeping(claimed(clock)), keeper.keeping(claimed(clock)):
        (thread,) = [found for found in threading.enumerate() if found.name == NAME and found not in before]
        assert thread.daemon
    thread.join(10)
    assert not thread.is_alive()
    assert not keeper._beat()

"""Uploads and the cleaner, killed before each of their changes to the disk, and with each of these failing once.

By default, of all points that look alike only the first one is tried, and of these every third. ``--thorough`` tries
all of these. Nor is one killed before a sync, which means nothing to a process. With LIVE_EVERY_CALL=1 every single
call is a point, with both of SQLite's kinds of journal; that takes a quarter of an hour.
"""

from __future__ import annotations

import os
import queue
import sqlite3
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.prerequisites import require_strace

from .tracing import different
from .tracing import ERROR
from .tracing import ForkServer
from .tracing import in_time
from .tracing import log_of
from .tracing import Point

pytestmark = pytest.mark.live

POOL = 2  # scenarios at a time
KILLED = -9
SYNCS = ("fsync", "fdatasync")
EVERY_CALL = os.environ.get("LIVE_EVERY_CALL") == "1"
JOURNALS = ["wal", "delete"] if EVERY_CALL else ["wal"]


@dataclass(frozen=True)
class Plot:
    """What is prepared, what is done at the risk of its life, and what is done by a new process afterwards."""

    prepare: str
    act: str
    afterwards: str


Try = Callable[[ForkServer, Plot, Point], None]


@contextmanager
def fork_servers(folder: Path, journal: str, prepare: str) -> Iterator[list[ForkServer]]:
    """Processes ready to fork, their databases with one kind of journal."""
    strace = require_strace()
    made = [ForkServer(folder / f"fork_server{number}", strace, prepare) for number in range(POOL)]
    for fork_server in made:
        with closing(sqlite3.connect(fork_server.template / "app.sqlite")) as connection:
            connection.execute(f"PRAGMA journal_mode={journal}")
    try:
        yield made
    finally:
        for fork_server in made:
            fork_server.close()


def for_every_point(folder: Path, journal: str, plot: Plot, attempt: Try) -> int:
    """Try something at every point of a plot, and report all points where it fails; how many there were."""
    with fork_servers(folder, journal, plot.prepare) as made, ThreadPoolExecutor(POOL) as pool:
        free: queue.SimpleQueue[ForkServer] = queue.SimpleQueue()
        for fork_server in made:
            free.put(fork_server)
        points = made[0].points(plot.act)
        again = made[1].points(plot.act)
        assert [point.call for point in points] == [point.call for point in again], "no two scenarios are alike"
        if not EVERY_CALL:
            if attempt is killed_and_resumed:
                points = [point for point in points if point.call not in SYNCS]
            points = different(points)

        def report(point: Point) -> str | None:
            fork_server = free.get()
            try:
                attempt(fork_server, plot, point)
            except AssertionError as error:
                return f"{point}: {error}"
            finally:
                free.put(fork_server)
            return None

        tried = points if EVERY_CALL else in_time(points)
        failures = [failure for failure in pool.map(report, tried) if failure is not None]
    assert not failures, f"{len(failures)} of {len(tried)} points:\n" + "\n\n".join(failures[:10])
    return len(points)


def killed_and_resumed(fork_server: ForkServer, plot: Plot, point: Point) -> None:
    """kill -9 at the point; a new process goes on from there."""
    home = fork_server.home()
    assert fork_server.run_traced(plot.act, home, point.inject("signal=KILL")) == KILLED
    fork_server.run(plot.afterwards, home)


def failed_and_retried(fork_server: ForkServer, plot: Plot, point: Point) -> None:
    """The call fails once; the same process goes on, or ends with an error that it reports."""
    home = fork_server.home()
    ending = fork_server.run_traced(plot.act, home, point.inject(f"error={ERROR[point.call]}"))
    assert "(INJECTED)" in (home / "trace").read_text()
    assert ending == 0 or plot.act == "clean", log_of(home)
    fork_server.run(plot.afterwards, home)


@pytest.mark.parametrize("journal", JOURNALS)
def test_a_process_killed_at_any_point_loses_and_doubles_nothing(quick_disk: Path, journal: str) -> None:
    """Wherever kill -9 strikes: offsets are honest and never go back, uploads can be finished and removed, on_complete
    takes effect once for each, and the cleaner leaves no file without a record.
    """
    plot = Plot("prepare", "play", "resume")
    assert for_every_point(quick_disk, journal, plot, killed_and_resumed) > 30


@pytest.mark.parametrize("journal", JOURNALS)
def test_a_write_that_fails_at_any_point_loses_and_doubles_nothing(quick_disk: Path, journal: str) -> None:
    """Whichever write finds the disk full, whichever sync, rename or removal fails: the answer is 507 or 503, and the
    client's next try succeeds.
    """
    plot = Plot("prepare", "play in trouble", "check")
    assert for_every_point(quick_disk, journal, plot, failed_and_retried) > 50


@pytest.mark.parametrize("attempt", [killed_and_resumed, failed_and_retried])
@pytest.mark.parametrize("journal", JOURNALS)
def test_a_cleaner_stopped_at_any_point_leaves_nothing_for_good(quick_disk: Path, journal: str, attempt: Try) -> None:
    """Wherever ``delete_expired`` is killed, or fails: its next run removes the rest, and never what is finished."""
    assert for_every_point(quick_disk, journal, Plot("abandon", "clean", "check clean"), attempt) > 15

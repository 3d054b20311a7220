"""A short scenario of chunks, killed before each of its changes to the disk, and with each of them failing once."""

from __future__ import annotations

import os
import queue
import sqlite3
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.tracing import different
from tests.live.tracing import ERROR
from tests.live.tracing import in_time
from tests.live.tracing import log_of
from tests.live.tracing import Point
from tests.prerequisites import require_strace

from .fork_server import FlowForkServer

pytestmark = pytest.mark.live

POOL = 2  # scenarios at a time
KILLED = -9
EVERY_CALL = os.environ.get("LIVE_EVERY_CALL") == "1"
Try = Callable[[FlowForkServer, Point], None]


@contextmanager
def fork_servers(folder: Path, mode: str) -> Iterator[list[FlowForkServer]]:
    """Processes ready to play scenarios."""
    strace = require_strace()
    made = [FlowForkServer(folder / f"fork_server{number}", strace, mode) for number in range(POOL)]
    for fork_server in made:
        with closing(sqlite3.connect(fork_server.template / "app.sqlite")) as connection:
            connection.execute("PRAGMA journal_mode=wal")
    try:
        yield made
    finally:
        for fork_server in made:
            fork_server.close()


def for_every_point(folder: Path, mode: str, attempt: Try) -> int:
    """Try something at every point of the scenario, and report all points where it fails; how many there were.

    Of all points that look alike only the first one is tried, and of these every third, or with ``--thorough`` all. Of
    what happens to the database only one of the two modes is tried, for it is the same. With LIVE_EVERY_CALL=1 every
    single call is a point.
    """
    with fork_servers(folder, mode) as made, ThreadPoolExecutor(POOL) as pool:
        free: queue.SimpleQueue[FlowForkServer] = queue.SimpleQueue()
        for fork_server in made:
            free.put(fork_server)
        points = made[0].points("play")
        assert [point.call for point in points] == [point.call for point in made[1].points("play")]
        if not EVERY_CALL:
            points = different(points)
            points = [point for point in points if mode == "in place" or "app.sqlite" not in point.file]

        def report(point: Point) -> str | None:
            fork_server = free.get()
            try:
                attempt(fork_server, point)
            except AssertionError as error:
                return f"{point}: {error}"
            finally:
                free.put(fork_server)
            return None

        tried = points if EVERY_CALL else in_time(points)
        failures = [failure for failure in pool.map(report, tried) if failure is not None]
    assert not failures, f"{len(failures)} of {len(tried)} points:\n" + "\n\n".join(failures[:10])
    return len(points)


def killed_and_resumed(fork_server: FlowForkServer, point: Point) -> None:
    """kill -9 at the point; the client's next requests, or at every other point the operator's command, go on."""
    home = fork_server.home()
    assert fork_server.run_traced("play", home, point.inject("signal=KILL")) == KILLED
    fork_server.run("recover" if point.number % 2 else "resume", home)


def failed_and_retried(fork_server: FlowForkServer, point: Point) -> None:
    """The call fails once; the same process, asked again by its client, brings the scenario to its proper end."""
    home = fork_server.home()
    ending = fork_server.run_traced("play in trouble", home, point.inject(f"error={ERROR[point.call]}"))
    assert "(INJECTED)" in (home / "trace").read_text()
    assert ending == 0, log_of(home)
    fork_server.run("check", home)


@pytest.mark.parametrize("mode", ["in place", "chunks folder"])
def test_a_process_killed_at_any_point_loses_and_doubles_nothing(quick_disk: Path, mode: str) -> None:
    """Wherever kill -9 strikes: chunks that were answered stay, the next request or ``complete_pending`` completes the
    file, on_complete's own row is there once, and the cleaner leaves nothing without a record.
    """
    assert for_every_point(quick_disk, mode, killed_and_resumed) > 20


@pytest.mark.parametrize("mode", ["in place", "chunks folder"])
def test_a_write_that_fails_at_any_point_loses_and_doubles_nothing(quick_disk: Path, mode: str) -> None:
    """Whichever write finds the disk full, whichever sync, rename or removal fails: the answer is 507 or 503, and the
    chunk can be sent again.
    """
    assert for_every_point(quick_disk, mode, failed_and_retried) > 20

"""Servers that are killed as they complete a file, and clients that come back and only test their chunks."""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.live.conftest import Serve
from tests.live.journal import PATIENCE
from tests.live.servers import Server

from .client import Sample
from .returning_client import ReturningClient
from .site import sample
from .socket_client import address
from .socket_client import json_of
from .socket_client import octet
from .test_recipe import library  # noqa: F401
from .test_recipe import upload

pytestmark = pytest.mark.live

ORDERS = {"forwards": (1, 2, 3, 4), "backwards": (4, 3, 2, 1), "the first alone": (1,), "the last alone": (4,)}
# After the last commit, before the file is published; within on_complete, when it has written; or one that failed there
MOMENTS = ("post_save", "on_complete", "failed")
LEASE = 10  # seconds; more than a restart takes, or nobody would meet a claim of the dead


def interrupted(server: Server, file: Sample, moment: str) -> None:
    """Send all chunks; the last one kills the process that completes the file, or its hook fails."""
    with server.tus.connect() as connection:
        for number in file.numbers[:-1]:
            assert octet(connection, file, number).status == 200
        server.order("on_complete" if moment == "failed" else moment, "fail" if moment == "failed" else "die now")
        with suppress(ConnectionError):
            assert octet(connection, file, file.count).status == 503
    server.countermand("on_complete" if moment == "failed" else moment)


def check(server: Server, file: Sample) -> None:
    """One record, complete and right; on_complete took effect once."""
    answer = json_of(server.tus.request("GET", address(file, 1)))
    assert answer["complete"]
    assert server.receipts(answer["id"]) == [hashlib.sha256(file.content).hexdigest()]
    assert (server.folder / answer["id"]).read_bytes() == file.content
    assert server.query("SELECT count(*) FROM upload") == [(1,)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_client_that_only_tests_ends_with_a_complete_file(
    serve_live: Serve, quick_disk: Path, moment: str, order: str
) -> None:
    """The server is killed and started again, and then a page tests its chunks, three at a time, in any order."""
    server = serve_live("gthread", quick_disk / "home", LEASE=LEASE, DURABILITY="none")
    file = sample(45)
    interrupted(server, file, moment)
    server.stop()
    server.start()
    assert ReturningClient([server.port], file).run(ORDERS[order])["complete"]
    check(server, file)


@pytest.mark.parametrize("moment", MOMENTS)
def test_tests_may_come_before_the_server_is_back(serve_live: Serve, quick_disk: Path, moment: str) -> None:
    """The page goes on all the time: its tests find no server, another worker, or the one that was started again."""
    server = serve_live("gthread2", quick_disk / "home", LEASE=LEASE, DURABILITY="none")
    file = sample(65)
    interrupted(server, file, moment)
    ends: list[bool] = []
    page = threading.Thread(target=lambda: ends.append(ReturningClient([server.port], file).run()["complete"]))
    page.start()
    server.signal_group(signal.SIGKILL)
    server.stop()
    server.start()
    page.join(2 * PATIENCE)
    assert ends == [True]
    check(server, file)


@pytest.mark.parametrize("numbers", ORDERS.values(), ids=ORDERS)
def test_a_living_worker_takes_over_from_a_dead_one(
    serve_live: Serve, quick_disk: Path, numbers: Sequence[int]
) -> None:
    """Of two processes the one that runs on_complete is killed; two pages at once ask the other one."""
    home = quick_disk / "home"
    first, second = (serve_live("gthread", home, LEASE=LEASE, DURABILITY="none") for _ in range(2))
    file = sample(45)
    interrupted(first, file, "on_complete")
    first.stop()
    ends: list[bool] = []
    pages = [
        threading.Thread(target=lambda: ends.append(ReturningClient([second.port], file).run(numbers)["complete"]))
        for _ in range(2)
    ]
    for page in pages:
        page.start()
    for page in pages:
        page.join(2 * PATIENCE)
    assert ends == [True, True]
    check(second, file)


def test_a_hook_that_is_still_running_is_waited_for(serve_live: Serve, quick_disk: Path) -> None:
    """on_complete takes its time in one process; a page that comes to the other one waits for its end, and it is called
    once.
    """
    home = quick_disk / "home"
    first, second = (serve_live("gthread", home, DURABILITY="none") for _ in range(2))
    file = sample(45)
    with first.tus.connect() as connection:
        for number in file.numbers[:-1]:
            octet(connection, file, number)
        first.order("on_complete", "sleep 3")
        sender = threading.Thread(target=lambda: ReturningClient([first.port], file).bring(file.count))
        sender.start()
        first.journal.wait_for("on_complete", None)
        assert [second.tus.request("GET", address(file, number)).status for number in file.numbers] == [204] * 4
        assert ReturningClient([second.port, first.port], file, is_retrying=False).run()["complete"]
        sender.join(PATIENCE)
    assert len(first.journal.notes("on_complete")) == 1
    check(second, file)


@pytest.mark.parametrize("moment", MOMENTS)
def test_flow_js_that_comes_back_completes_the_file(
    serve_live: Serve,
    library: Path,  # noqa: F811
    tmp_path: Path,
    moment: str,
) -> None:
    """The real library without retries, when whoever was at it is known to be gone: it ends without an error, with or
    without the guide's recipe, and the file is complete.
    """
    server = serve_live("gthread", tmp_path / "home", LEASE=0.5)
    file = sample(100, 10, identifier="100-reportcsv")
    interrupted(server, file, moment)
    server.stop()
    server.start()
    requests = upload(server, library, tmp_path)
    assert sum(requests.values()) < 2 * file.count
    check(server, file)

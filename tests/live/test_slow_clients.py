"""What clients on slow lines cost a worker: calls of the kernel for each block, and memory for each client."""

from __future__ import annotations

import random
import re
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from .conftest import Serve
from .journal import PATIENCE
from .raw import Connection
from .servers import Server
from .watching import watching

pytestmark = pytest.mark.live

KIB = 1024
PIECE = random.Random(16).randbytes(4 * KIB)
PAUSE = 0.06  # seconds; who sends nothing for that long is slow
PIECES = 10
SLACK = 4  # calls after a wait of a second, on a busy machine
CLIENTS = 60
LIMIT = 60 * KIB  # of memory for each client


def stored(server: Server, path: str) -> int:
    """How many bytes of an unfinished upload are in its file."""
    part = server.part(path)
    return part.stat().st_size if part.exists() else 0


def send(server: Server, client: Connection, path: str, pieces: int) -> None:
    """Send some pieces, each after a pause and when the one before is stored."""
    for _ in range(pieces):
        time.sleep(PAUSE)
        expected = stored(server, path) + len(PIECE)
        client.send(PIECE)
        deadline = time.monotonic() + PATIENCE
        while stored(server, path) < expected:
            assert time.monotonic() < deadline
            time.sleep(0.005)


@pytest.mark.parametrize("kind", ["gevent", "gthread"])
def test_a_block_of_a_slow_client_costs_few_calls(serve: Serve, quick_disk: Path, kind: str) -> None:
    """One to read it, one to store it, and four for the fence; nothing is set up for the wait, and no pipe is used."""
    server = serve(kind, quick_disk / "home", DURABILITY="none")
    path = server.tus.create(1024 * len(PIECE))
    with server.tus.connect() as client:
        client.start_patch(path, 0, {"Content-Length": 1024 * len(PIECE)})
        send(server, client, path, 3)
        with watching(server) as watch:
            send(server, client, path, PIECES)
    calls = [call for call in watch.calls() if call.is_from_socket or re.search(r"\.(part|lock)>", call.arguments)]
    assert {call.name for call in calls} == {"readv", "flock", "pread64", "pwrite64"}
    assert len(calls) <= 6 * PIECES + SLACK
    assert len([call for call in watch.calls("epoll_ctl") if "TCP" in call.arguments]) <= SLACK
    assert watch.calls("pipe2") == []


def memory(server: Server) -> int:
    """Bytes that the worker has in memory."""
    (worker,) = server.workers()
    status = Path(f"/proc/{worker}/status").read_text()
    return next(int(line.split()[1]) * KIB for line in status.splitlines() if line.startswith("VmRSS:"))


@pytest.mark.parametrize("size", [32 * KIB, 1024 * KIB], ids=["small", "large"])
def test_a_client_that_waits_takes_little_memory(serve: Serve, quick_disk: Path, size: int) -> None:
    """Neither a buffer nor a pipe is kept for a client that has sent something and then falls silent."""
    server = serve("gevent", quick_disk / "home", DURABILITY="none")

    def come(stack: ExitStack, count: int) -> None:
        clients = []
        for _ in range(count):
            path = server.tus.create(2 * size)
            client = stack.enter_context(server.tus.connect())
            client.start_patch(path, 0, {"Content-Length": size})
            clients.append((client, path))
        for client, path in clients:
            send(server, client, path, 2)

    with ExitStack() as stack:
        come(stack, CLIENTS // 3)  # what the worker has for them all
        before = memory(server)
        come(stack, CLIENTS)
        assert (memory(server) - before) / CLIENTS < LIMIT

"""Two nodes are stopped and started in turn, as a deployment does, while slow clients send files to both."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from threading import Event

import pytest

from tests.databases.conftest import KINDS
from tests.databases.conftest import started
from tests.databases.live_app import LiveApp

from .senders import Sender

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("nodes")]

CLIENTS = {"tus": 8, "draft": 6, "flow": 6}
RESTARTS = 2  # each node once
NODES = {"gthread": ("postgresql", ("-w", "2", "--threads", "24")), "gevent": ("mongo", ("-w", "2"))}
LONG = ("--graceful-timeout", "30", "--timeout", "90")


@pytest.mark.parametrize("kind", NODES)
def test_a_rolling_restart_costs_nothing(kind: str, tmp_path: Path, record_property: Callable[..., None]) -> None:
    """Every file arrives whole and is completed once, and no node loses what another one has acknowledged."""
    database, options = NODES[kind]
    databases = started(KINDS[database])
    nodes = [LiveApp(next(databases), tmp_path / "shared", *options, *LONG, kind=kind, LEASE=5)]
    nodes.append(LiveApp(nodes[0].database, tmp_path / "shared", *options, *LONG, kind=kind, LEASE=5))
    try:
        for node in nodes:
            node.start()
        is_over = Event()
        senders = [
            Sender(dialect, cycle([node.port for node in nodes[:: 1 if number % 2 else -1]]), is_over)
            for dialect, amount in CLIENTS.items()
            for number in range(amount)
        ]
        with ThreadPoolExecutor(len(senders)) as pool:
            done = [pool.submit(sender.run, number) for number, sender in enumerate(senders)]
            stops = []
            try:
                for _, node in zip(range(RESTARTS), cycle(nodes), strict=False):
                    time.sleep(2)
                    begun = time.monotonic()
                    node.terminate()
                    assert node.wait() == 0
                    stops.append(time.monotonic() - begun)
                    node.start()
            finally:
                is_over.set()
            for future in done:
                future.result()
        for sender in senders:
            for path, digest in sender.files.items():
                assert hashlib.sha256(nodes[0].finished(path).read_bytes()).hexdigest() == digest
                assert nodes[0].receipts(path) == [digest]
        figures = {
            "files": sum(len(sender.files) for sender in senders),
            "interruptions": sum(sender.interruptions for sender in senders),
            "repeated": sum(sender.repeated for sender in senders),
            "partial chunks": sum(sender.partial for sender in senders),
            "seconds to stop": [round(seconds, 2) for seconds in stops],
        }
        record_property(f"restart of {kind}", figures)
        print(figures)
        assert figures["interruptions"]
    finally:
        for node in nodes:
            node.stop()
        next(databases, None)

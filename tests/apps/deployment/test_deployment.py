"""An operator's two nodes, with everything around them, and a rolling restart while clients upload."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import create_engine
from sqlalchemy import text

from tests.databases.servers import PostgreSQL
from tests.live.prometheus import eventually
from tests.live.prometheus import PAGE
from tests.live.prometheus import Prometheus
from tests.live.prometheus import prometheus_of
from tests.live.raw import Tus
from tests.live.servers import id_of
from tests.live.test_nginx import blocks
from tests.nodes.nginx import CONFIGURATION
from tests.nodes.nginx import Nginx
from tests.nodes.nginx import require_nginx
from tests.nodes.senders import Sender
from tests.nodes.senders import SIZE
from tests.prerequisites import require_module
from tests.prerequisites import require_program

from .node import Node

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("nodes")]

CLIENTS = {"tus": 4, "draft": 3, "flow": 3}
FORGIVEN = 10  # seconds for which nginx leaves a node alone


@pytest.fixture
def database() -> Iterator[PostgreSQL]:
    """PostgreSQL, and whatever else the deployment needs."""
    require_nginx()
    require_program("prometheus", "apt-get install prometheus")
    for module in ("gevent", "flask_migrate", "prometheus_client"):
        require_module(module, f"pip install {module.replace('_', '-')}")
    server = PostgreSQL()
    yield server
    server.close()


@pytest.fixture
def nodes(database: PostgreSQL, tmp_path: Path) -> Iterator[list[Node]]:
    """Two nodes that run."""
    made = [Node(tmp_path / name, tmp_path / "uploads", database.uri) for name in ("node1", "node2")]
    made[0].migrate()
    try:
        for node in made:
            node.start()
        yield made
    finally:
        for node in made:
            node.stop()
            print(node.log.read_text()[-4000:])  # shown if the test has failed


@contextmanager
def _proxy(nodes: list[Node], folder: Path) -> Iterator[Nginx]:
    """nginx, which keeps the metrics to itself."""
    (hidden,) = blocks(PAGE)
    configuration = CONFIGURATION.read_text().replace("listen 8080;", f"listen 8080; {hidden}")
    nginx = Nginx(folder, [node.port for node in nodes], configuration, gives_up=True)
    try:
        yield nginx
    finally:
        nginx.close()


def _restart_in_turn(nodes: list[Node]) -> None:
    """As docs/operations.md says."""
    for node in nodes:
        time.sleep(FORGIVEN if node is not nodes[0] else 2)  # the first files are under way
        node.terminate()
        assert node.wait() == 0
        node.start()
        assert node.is_ready()


def _send(port: int, nodes: list[Node]) -> tuple[list[Sender], dict[str, str]]:
    """The clients, and the digests of their files."""
    is_over = Event()
    senders = [Sender(dialect, cycle([port]), is_over) for dialect, amount in CLIENTS.items() for _ in range(amount)]
    with ThreadPoolExecutor(len(senders)) as pool:
        done = [pool.submit(sender.run, number) for number, sender in enumerate(senders)]
        try:
            _restart_in_turn(nodes)
        finally:
            is_over.set()
        for future in done:
            future.result()
    return senders, {id_of(path): digest for sender in senders for path, digest in sender.files.items()}


def _receipts(uri: str) -> list[tuple[str, str]]:
    engine = create_engine(uri)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT upload_id, sha256 FROM receipt ORDER BY upload_id")).all()
    engine.dispose()
    return [(row[0], row[1]) for row in rows]


def _sum(prometheus: Prometheus, expression: str) -> float:
    return sum(float(found["value"][1]) for found in prometheus.result(expression))


def test_a_rolling_restart_of_a_whole_deployment(nodes: list[Node], database: PostgreSQL, tmp_path: Path) -> None:
    """Every file is whole, its hook has run once, Prometheus has counted every upload and byte, and nobody is woken."""
    (tmp_path / "prometheus").mkdir()
    with ExitStack() as stack:
        nginx = stack.enter_context(_proxy(nodes, tmp_path / "nginx"))
        ports = [node.port for node in nodes]
        prometheus = stack.enter_context(prometheus_of(tmp_path / "prometheus", ports, interval="1s"))
        senders, files = _send(nginx.port, nodes)
        nodes[0].clean()

        assert any(sender.interruptions for sender in senders)
        assert {sender.kind for sender in senders if sender.files} == set(CLIENTS)
        for upload_id, digest in files.items():
            assert hashlib.sha256((tmp_path / "uploads" / upload_id).read_bytes()).hexdigest() == digest
        assert _receipts(database.uri) == sorted(files.items())

        eventually(lambda: _sum(prometheus, "resumable_uploads_completed_total") == len(files))
        assert _sum(prometheus, "resumable_uploads_created_total") == len(files)
        assert _sum(prometheus, "resumable_received_bytes_total") == SIZE * len(files)
        assert _sum(prometheus, 'resumable_hook_seconds_count{hook="on_complete"}') == len(files)
        assert _sum(prometheus, "resumable_uploads_receiving") == 0
        eventually(lambda: _sum(prometheus, "tusd_uploads_finished") == len(files))
        eventually(lambda: _sum(prometheus, "resumable_cleanup_last_run_timestamp_seconds"))
        # One node has cleaned for both.
        eventually(lambda: not prometheus.result('ALERTS{alertname="UploadsNotCleaned"}'))
        assert {rule["health"] for rule in prometheus.rules} == {"ok"}
        assert prometheus.firing == []

        assert Tus(nginx.port).request("GET", "/metrics").status == 404
    lines = [line for node in nodes for line in node.logged]
    assert {line["upload_id"] for line in lines if line.get("upload_event") == "complete"} == set(files)
    assert sum("gunicorn" in line["logger"] for line in lines) > len(nodes)
    assert not [line for line in lines if line["level"] == "ERROR"]

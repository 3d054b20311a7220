"""Two app servers with several workers each behind nginx, one database, one folder of uploads, no stickiness."""

from __future__ import annotations

import hashlib
import random
import signal
import time
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.databases.conftest import KINDS
from tests.databases.conftest import started
from tests.databases.live_app import LiveApp
from tests.live.dialects import clients
from tests.live.dialects import Dialects
from tests.live.dialects import in_dialects
from tests.live.raw import Tus

from .nginx import Nginx
from .nginx import require_nginx

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("nodes")]

CONTENT = random.Random(7).randbytes(3_000_000)
STEP = 100_000  # bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Cluster:
    """The nodes, and the way to them."""

    nodes: list[LiveApp]
    tus: Tus

    def workers(self) -> list[set[int]]:
        """The processes of each node."""
        return [set(node.workers()) for node in self.nodes]


@pytest.fixture(scope="module", params=["postgresql", "mongo"])
def shared_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes and nginx in front of them."""
    require_nginx()
    databases = started(KINDS[request.param])
    database = next(databases)
    folder = tmp_path_factory.mktemp("cluster")
    nodes = [LiveApp(database, folder / "shared", "-w", "2", LEASE=1) for _ in range(2)]
    for node in nodes:
        node.start()
    nginx = Nginx(folder / "nginx", [node.port for node in nodes])
    yield Cluster(nodes, Tus(nginx.port))
    nginx.close()
    for node in nodes:
        node.stop()
    next(databases, None)


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """With the nodes that earlier tests have killed."""
    for node in shared_cluster.nodes:
        if node.process is None or node.process.poll() is not None:
            node.start()
    return shared_cluster


def _finished(cluster: Cluster, path: str) -> bytes:
    return cluster.nodes[0].finished(path).read_bytes()


@in_dialects
def test_an_upload_moves_between_the_nodes_at_every_request(cluster: Cluster, dialects: Dialects) -> None:
    """Whichever worker of whichever node gets a request goes on where another one stopped."""
    sender, watcher = clients(dialects, cluster.tus.port)
    path = sender.create(len(CONTENT))
    answered: set[int] = set()
    for end in range(STEP, len(CONTENT) + STEP, STEP):
        answer = sender.append(path, end - STEP, CONTENT[end - STEP : end], is_last=end == len(CONTENT))
        asked = watcher.head(path)
        assert (answer.status // 100, asked.offset) == (2, end)
        answered |= {answer.worker, asked.worker}
        sender, watcher = watcher, sender
    assert all(answered & workers for workers in cluster.workers())
    assert _finished(cluster, path) == CONTENT
    assert cluster.nodes[0].receipts(path) == [SHA256]


def test_flow_chunks_come_to_all_nodes_at_once(cluster: Cluster) -> None:
    """Chunks in any order, four at a time, on both nodes: one upload, one file, one completion."""
    count = len(CONTENT) // STEP
    order = list(range(1, count + 1))
    random.Random(8).shuffle(order)

    def send(number: int) -> tuple[int, int, bytes]:
        parameters = {
            "flowChunkNumber": number,
            "flowChunkSize": STEP,
            "flowTotalSize": len(CONTENT),
            "flowIdentifier": "file",
            "flowFilename": "file.bin",
            "flowTotalChunks": count,
        }
        chunk = CONTENT[(number - 1) * STEP : number * STEP]
        answer = cluster.tus.request(
            "POST", f"/flow/?{urlencode(parameters)}", {"Content-Length": len(chunk), "Content-Type": "x/y"}, chunk
        )
        return answer.status, answer.worker, answer.body

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, order))
    assert {status for status, _, _ in answers} == {200}
    assert all({worker for _, worker, _ in answers} & workers for workers in cluster.workers())
    (path,) = {body[8:40].decode() for _, _, body in answers}
    assert _finished(cluster, path) == CONTENT
    assert cluster.nodes[0].receipts(path) == [SHA256]


@in_dialects
def test_a_node_that_dies_takes_nothing_along(cluster: Cluster, dialects: Dialects) -> None:
    """Whichever node has the request is killed in the middle of a PATCH; the other goes on from what had arrived."""
    first, second = clients(dialects, cluster.tus.port)
    path = first.create(len(CONTENT))
    with first.connect() as connection:
        first.start_append(connection, path, 0, len(CONTENT))
        connection.send(CONTENT[:STEP])
        _wait_until(lambda: cluster.nodes[0].part(path).exists() and _has_saved(cluster, path))
        part = cluster.nodes[0].part(path)
        victim = next(node for node in cluster.nodes if _has_open(node, part))
        victim.signal_group(signal.SIGKILL)
        victim.wait()
    assert second.offset(path) == STEP
    second.resume(path, CONTENT)
    assert _finished(cluster, path) == CONTENT
    assert cluster.nodes[0].receipts(path) == [SHA256]


@in_dialects
def test_a_newer_request_takes_over_from_the_other_node(cluster: Cluster, dialects: Dialects) -> None:
    """What had arrived there stays, and what that node still gets is not in the file."""
    first, second = clients(dialects, *(node.port for node in cluster.nodes))
    path = first.create(len(CONTENT))
    with first.connect() as old:
        first.start_append(old, path, 0, len(CONTENT))
        old.send(CONTENT[:STEP])
        part = cluster.nodes[0].part(path)
        _wait_until(lambda: part.exists() and part.stat().st_size == STEP)
        assert second.offset(path) == STEP
        second.resume(path, CONTENT)
        with suppress(ConnectionError):
            old.send(b"!" * STEP)
        old.finish()
        end = old.answer_or_end("PATCH")
        assert end is None or end.status in (423, 503), end
    assert _finished(cluster, path) == CONTENT
    assert cluster.nodes[0].receipts(path) == [SHA256]


def _has_saved(cluster: Cluster, path: str) -> bool:
    """Whether the database knows of the bytes: they are saved while the request goes on."""
    return cluster.nodes[0].offset(path) == STEP


def _has_open(node: LiveApp, file: Path) -> bool:
    links = [link for pid in node.workers() for link in Path(f"/proc/{pid}/fd").iterdir()]
    return any(link.exists() and link.resolve() == file for link in links)


def _wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)

"""The campaign: everything at once for an hour."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from threading import Thread

from proof.campaign import Result
from proof.soak import clients as kinds
from proof.soak.audit import check_growth
from proof.soak.audit import check_uploads
from proof.soak.audit import Sample
from proof.soak.audit import sample
from proof.soak.audit import Watch
from proof.soak.cluster import Cluster
from proof.soak.hostile import Hostile
from proof.soak.weather import Weather
from proof.soak.world import World
from tests.live.raw import Tus

MINUTES, QUICK_MINUTES = 60.0, 2.0
CLIENTS, QUICK_CLIENTS = 200, 60
# What part of the clients is of each kind, in twentieths.
MIXTURE: tuple[tuple[type[kinds.Client], int], ...] = (
    (kinds.SlowTus, 2), (kinds.CutTus, 2), (kinds.PollingTus, 1), (kinds.ChunkedTus, 1), (kinds.CheckedTus, 1),
    (kinds.QuickTus, 1), (kinds.TwinTus, 1), (kinds.PartsTus, 1), (kinds.Draft, 2), (kinds.Mixed, 1),
    (kinds.Quitter, 1), (kinds.Victim, 1), (kinds.ParallelFlow, 1), (kinds.TwinFlow, 1), (kinds.SlowFlow, 2),
    (Hostile, 1),
)  # fmt: skip
FIRST = b"x" * 10  # a file that warms up
AT_ONCE = 110  # of them; fewer than the threads of a node
DONE = 400.0  # seconds that clients may take for their last files
SETTINGS = {"RESUMABLE_EXPIRATION": 86400, "RESUMABLE_MAX_SIZE": 50_000_000}
_ERROR = re.compile(r"^([\w.]+(?:Error|Exception|Lost|Unavailable|Timeout)\w*)\b", re.MULTILINE)


def run(*, seed: int, quick: bool, folder: Path | None) -> Result:
    """Run for an hour, or for two minutes."""
    if quick:
        return soak(seed=seed, folder=folder, minutes=QUICK_MINUTES, amount=QUICK_CLIENTS)
    return soak(seed=seed, folder=folder, minutes=MINUTES, amount=CLIENTS)


def soak(*, seed: int, folder: Path | None, minutes: float, amount: int) -> Result:
    """Run for some minutes with some clients."""
    home = Path(tempfile.mkdtemp(prefix="soak-", dir=folder))
    home.chmod(0o755)
    with Cluster(home, SETTINGS) as cluster:
        result = _run(cluster, seed, minutes, amount)
    if result.faults:
        result.figures.append(f"the logs are in {home / 'nodes'}")
    else:
        shutil.rmtree(home)
    return result


def _run(cluster: Cluster, seed: int, minutes: float, amount: int) -> Result:
    world = World(cluster)
    weather = Weather(world, seed, pause=5 if minutes <= QUICK_MINUTES else 10)
    clients = _clients(world, seed, amount)
    _warm_up(world)
    before = sample(cluster, weather.spared)
    watch = Watch(cluster, weather.spared, 1 if minutes <= QUICK_MINUTES else 10)
    threads = [Thread(target=client.run, daemon=True) for client in clients]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    weather.start()
    _wait(world, threads, minutes * 60)
    watch.stop()
    weather.stop()
    world.is_over.set()
    deadline = time.monotonic() + DONE
    for client, thread in zip(clients, threads, strict=True):
        thread.join(max(0.1, deadline - time.monotonic()))
        if thread.is_alive():
            world.fault(f"{client.name} does not come to an end")
    seconds = time.monotonic() - begun
    time.sleep(10)  # connections that are kept are closed by now
    figures = [
        f"seed {seed}: {amount} clients, {seconds / 60:.1f} minutes, load {os.getloadavg()[2]:.1f}",
        *_growth(world, watch, before, weather.spared),
        *check_uploads(world),
        *_told(world),
        f"errors in the logs: {_errors(cluster)}",
    ]
    return Result(figures, world.faults)


def _growth(world: World, watch: Watch, before: Sample, pid: int) -> list[str]:
    """Whether the worker that nobody has touched has grown, or died."""
    try:
        after = sample(world.cluster, pid)
    except FileNotFoundError:
        log = world.cluster.nodes[0].log.read_text(errors="replace").splitlines()
        told = [line for line in log if f"pid:{pid}" in line or f"[{pid}]" in line or f"(pid: {pid})" in line]
        world.fault(f"the worker {pid}, which was never touched, has died: {told[-6:]}")
        after = watch.samples[-1] if watch.samples else before
    return check_growth(world, watch, before, after)


def _clients(world: World, seed: int, amount: int) -> list[kinds.Client]:
    parts = [kind for kind, share in MIXTURE for _ in range(share)]
    return [parts[number % len(parts)](world, number, seed) for number in range(amount)]


def _warm_up(world: World) -> None:
    """Every thread and connection that the first node may have is there."""
    tus = Tus(world.cluster.nodes[0].port)
    paths = [tus.create(len(FIRST)) for _ in range(AT_ONCE)]
    with ExitStack() as stack:
        connections = [stack.enter_context(tus.connect()) for _ in paths]
        for connection, path in zip(connections, paths, strict=True):
            connection.start_patch(path, 0, {"Content-Length": len(FIRST)}, body=FIRST[:1])
        time.sleep(2)
        for connection in connections:
            connection.send(FIRST[1:])
        for connection, path in zip(connections, paths, strict=True):
            answer = connection.answer("PATCH")
            assert answer.status == 204, answer
            upload_id = path.rpartition("/")[2]
            world.finish(upload_id, hashlib.sha256(FIRST).hexdigest())
            answer = tus.request("DELETE", path)
            assert answer.status == 204, answer
            world.removed.add(upload_id)
    time.sleep(3)


def _wait(world: World, threads: list[Thread], seconds: float) -> None:
    """Say every minute how it goes."""
    end, shown = time.monotonic() + seconds, 0
    is_enough = Event()
    signal.signal(signal.SIGUSR1, lambda *_: is_enough.set())  # for who cannot wait for the end
    while not is_enough.is_set() and (left := end - time.monotonic()) > 0:
        is_enough.wait(min(60, left))
        alive = sum(thread.is_alive() for thread in threads)
        print(
            f"{time.strftime('%H:%M:%S')} finished: {len(world.finished)}, clients: {alive}, "
            f"faults: {world.counts['faults']}, answers: {dict(sorted(world.statuses.items()))}",
            flush=True,
        )
        for fault in world.faults[shown:]:
            print(f"  {fault}", flush=True)
        shown = len(world.faults)


def _told(world: World) -> list[str]:
    counts = [f"{name}: {count}" for name, count in sorted(world.counts.items())]
    return [f"answers: {dict(sorted(world.statuses.items()))}", *counts]


def _errors(cluster: Cluster) -> dict[str, int]:
    """What the nodes have logged, by its kind."""
    found: Counter[str] = Counter()
    for node in cluster.nodes:
        found.update(_ERROR.findall(node.log.read_text(errors="replace")))
    return dict(found.most_common(12))

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
from dataclasses import dataclass
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
from proof.soak.mutants import Mutant
from proof.soak.mutants import MUTANTS
from proof.soak.stores import STORES
from proof.soak.weather import Weather
from proof.soak.world import PATIENCE
from proof.soak.world import World
from tests.live.raw import Tus

MINUTES, QUICK_MINUTES = {"disk": 60.0, "s3": 20.0}, {"disk": 2.0, "s3": 1.0}
MUTANT_MINUTES, MUTANT_CLIENTS, MUTANT_PATIENCE = 0.75, 40, 45.0
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
    """Run for an hour on a disk and for twenty minutes on S3, or for two minutes and one; then make mistakes."""
    result = Result()
    for store in STORES:
        minutes, amount = (QUICK_MINUTES[store], QUICK_CLIENTS) if quick else (MINUTES[store], CLIENTS)
        found = soak(seed=seed, folder=folder, store=store, minutes=minutes, amount=amount)
        result.figures += [f"{store}: {figure}" for figure in found.figures]
        result.faults += [f"{store}: {fault}" for fault in found.faults]
    for mutant in (*MUTANTS.values(),)[:: 4 if quick else 1]:
        shown, figure = hunt(mutant, seed=seed, folder=folder)
        print(figure, flush=True)
        (result.figures if shown else result.faults).append(figure)
    return result


def soak(*, seed: int, folder: Path | None, store: str, minutes: float, amount: int) -> Result:
    """Run for some minutes with some clients."""
    return _play(Plan(seed, store, minutes, amount), folder)


def hunt(mutant: Mutant, *, seed: int, folder: Path | None) -> tuple[bool, str]:
    """Make a mistake, and look for it; whether it was found, and a line about it."""
    begun = time.monotonic()
    plan = Plan(seed, mutant.store, MUTANT_MINUTES, MUTANT_CLIENTS, MUTANT_PATIENCE, mutant)
    faults = [fault for fault in _play(plan, folder).faults if mutant.is_shown(fault)]
    if not faults:
        return False, f"mutant not found: {mutant.name}"
    return True, f"mutant found after {time.monotonic() - begun:.0f} s: {mutant.name}: {faults[0][:300]}"


@dataclass(frozen=True)
class Plan:
    """What is to be done."""

    seed: int
    store: str
    minutes: float
    clients: int
    patience: float = PATIENCE
    mutant: Mutant | None = None

    @property
    def is_short(self) -> bool:
        """Whether everything must come in quick succession."""
        return self.minutes <= 2


def _play(plan: Plan, folder: Path | None) -> Result:
    home = Path(tempfile.mkdtemp(prefix="soak-", dir=folder))
    home.chmod(0o755)
    with Cluster(home, SETTINGS, plan.store, plan.mutant) as cluster:
        world = World(cluster, plan.patience, plan.mutant)
        try:
            result = _run(world, plan)
        finally:
            world.is_over.set()
            world.is_stopped.set()
    if result.faults and plan.mutant is None:
        result.figures.append(f"the logs are in {home / 'nodes'}")
    else:
        shutil.rmtree(home)
    return result


def _run(world: World, plan: Plan) -> Result:
    cluster = world.cluster
    names = () if plan.mutant is None else plan.mutant.events
    weather = Weather(world, plan.seed, pause=5 if plan.is_short else 10, names=names)
    clients = _clients(world, plan.seed, plan.clients)
    _warm_up(world, AT_ONCE if plan.mutant is None else 1)
    before = sample(cluster, weather.spared)
    watch = Watch(cluster, weather.spared, 1 if plan.is_short else 10)
    threads = [Thread(target=client.run, daemon=True) for client in clients]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    weather.start()
    try:
        _wait(world, threads, plan)
    finally:  # also when the campaign is told to stop
        watch.stop()
        weather.stop()
    world.is_over.set()
    if world.is_shown:
        return Result(faults=[*world.faults])
    deadline = time.monotonic() + DONE
    for client, thread in zip(clients, threads, strict=True):
        thread.join(max(0.1, deadline - time.monotonic()))
        if thread.is_alive():
            world.fault(f"{client.name} does not come to an end")
    seconds = time.monotonic() - begun
    if world.is_shown:
        return Result(faults=[*world.faults])
    time.sleep(10)  # connections that are kept are closed by now
    figures = [
        f"seed {plan.seed}: {plan.clients} clients, {seconds / 60:.1f} minutes, load {os.getloadavg()[2]:.1f}",
        *_growth(world, watch, before, weather.spared),
        *([] if world.is_shown else check_uploads(world)),
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


def _warm_up(world: World, at_once: int) -> None:
    """Every thread and connection that the first node may have is there."""
    tus = Tus(world.cluster.nodes[0].port)
    paths = [tus.create(len(FIRST)) for _ in range(at_once)]
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


def _wait(world: World, threads: list[Thread], plan: Plan) -> None:
    """Say every minute how it goes, until the time is over or a mistake has come to light."""
    end, shown = time.monotonic() + plan.minutes * 60, 0
    is_enough = Event()
    signal.signal(signal.SIGUSR1, lambda *_: is_enough.set())  # for who cannot wait for the end
    while not is_enough.is_set() and not world.is_shown and (left := end - time.monotonic()) > 0:
        is_enough.wait(min(60 if plan.mutant is None else 2, left))
        if plan.mutant is not None:
            continue
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

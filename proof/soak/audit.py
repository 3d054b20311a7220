"""Looks at the nodes while they run, and at everything that is left when all clients are done."""

from __future__ import annotations

import re
import statistics
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from threading import Thread

from proof.soak.cluster import Cluster
from proof.soak.cluster import DAYS_AHEAD
from proof.soak.world import World
from tests.live.raw import Tus

MIB = 1024 * 1024
GROWTH = 1.3  # how much more memory the worker may have at the end than after the first tenth
SLACK = 16 * MIB
THREADS = 64  # that gunicorn may start in a worker, one after another


@dataclass
class Sample:
    """The worker that lives from the beginning to the end, and the database."""

    memory: int  # bytes, resident
    descriptors: int
    threads: int
    connections: int  # of all nodes to the database

    def __str__(self) -> str:
        return (
            f"{self.memory / MIB:.0f} MiB, {self.descriptors} descriptors, {self.threads} threads; "
            f"{self.connections} database connections of all nodes"
        )


def sample(cluster: Cluster, pid: int) -> Sample:
    """Now."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = {key: value for key, _, value in (line.partition(":") for line in status.splitlines())}
    return Sample(
        memory=int(found["VmRSS"].split()[0]) * 1024,
        descriptors=len([*Path(f"/proc/{pid}/fd").iterdir()]),
        threads=int(found["Threads"]),
        connections=cluster.connections(),
    )


class Watch:
    """Takes samples until it is told to end."""

    def __init__(self, cluster: Cluster, pid: int, every: float) -> None:
        self.samples: list[Sample] = []
        self._cluster, self._pid, self._every = cluster, pid, every
        self._end = Event()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(self._every):
            with suppress(Exception):  # the database is down
                self.samples.append(sample(self._cluster, self._pid))

    def stop(self) -> None:
        """End."""
        self._end.set()
        self._thread.join()

    def middle(self, start: float, end: float) -> Sample:
        """The medians of a part of the run, such as 0.9 to 1."""
        count = len(self.samples)
        part = self.samples[int(start * count) : max(int(start * count) + 1, int(end * count))]
        names = ("memory", "descriptors", "threads", "connections")
        return Sample(**{name: int(statistics.median(getattr(each, name) for each in part)) for name in names})


def check_growth(world: World, watch: Watch, before: Sample, after: Sample) -> list[str]:
    """Whether the worker has grown; the figures."""
    figures = [f"idle before: {before}", f"idle after: {after}"]
    if len(watch.samples) >= 10:
        early, half, late = watch.middle(0.1, 0.2), watch.middle(0.45, 0.55), watch.middle(0.9, 1)
        figures[1:1] = [f"busy, at the beginning: {early}", f"in the middle: {half}", f"at the end: {late}"]
        if late.memory > early.memory * GROWTH + SLACK:
            world.fault(f"memory grows: {early}, then {late}")
    if after.descriptors > before.descriptors + 10 or after.threads > max(before.threads, THREADS) + 6:
        world.fault(f"descriptors or threads are left: {before}, then {after}")
    return figures


def check_uploads(world: World) -> list[str]:
    """Whether all that clients have finished is whole and nothing else is left; the figures."""
    for check in (_check_receipts, _check_files, _check_verify, _check_cleaning, _check_nothing_left):
        check(world)
        if world.is_shown:
            return []
    counts = world.cluster.query("SELECT (SELECT count(*) FROM created), (SELECT count(*) FROM receipt)")[0]
    return [f"uploads created: {counts[0]}, completed: {counts[1]}"]


def _check_receipts(world: World) -> None:
    """Each hook has taken effect exactly once."""
    receipts: dict[str, list[str]] = {}
    for upload_id, digest in world.cluster.query("SELECT upload_id, sha256 FROM receipt"):
        receipts.setdefault(upload_id, []).append(digest)
    created = dict(world.cluster.query("SELECT upload_id, count(*) FROM created GROUP BY upload_id"))
    for upload_id, digest in world.finished.items():
        if receipts.get(upload_id) != [digest]:
            world.fault(f"{upload_id} is finished, and on_complete has left {receipts.get(upload_id)}, not {digest}")
        if created.get(upload_id) != 1:
            world.fault(f"{upload_id} is finished, and on_create has taken effect {created.get(upload_id)} times")
    for upload_id, digests in receipts.items():
        if len(digests) != 1:
            world.fault(f"on_complete of {upload_id} has taken effect {len(digests)} times")
        elif upload_id not in world.finished:
            world.count("completed, but the client missed it")  # each of them is attributed below


def _check_files(world: World) -> None:
    for upload_id, digest in world.finished.items():
        if upload_id in world.removed | world.destroyed:
            continue
        if (found := world.cluster.store.digest(upload_id)) != digest:
            world.fault(f"{upload_id} is finished, but its file has {found}, not {digest}")


def _check_verify(world: World) -> None:
    """``flask tus verify`` finds what was removed by hand, and nothing else."""
    node = world.cluster.nodes[0]
    done = node.command("complete_pending")
    if done.returncode:
        world.fault(f"complete_pending: {done.stdout} {done.stderr[-600:]}")
    done = node.command("verify")
    damaged = {line.split()[0] for line in done.stdout.splitlines() if re.match(r"[0-9a-f]{32}  ", line)}
    if damaged != world.destroyed:
        world.fault(f"verify: {damaged ^ world.destroyed} differ: {done.stdout[-600:]} {done.stderr[-600:]}")
    world.count("files removed by hand that verify has told", len(damaged))
    tus = Tus(world.port)
    for upload_id in damaged:
        if (status := tus.request("DELETE", f"/files/{upload_id}").status) != 204:
            world.fault(f"{upload_id} has no file, and cannot be deleted: {status}")
        world.removed.add(upload_id)
    done = node.command("verify")
    if done.returncode or "damaged: 0, busy: 0, failed: 0" not in done.stdout:
        world.fault(f"verify: {done.stdout[-600:]} {done.stderr[-600:]}")


def _check_cleaning(world: World) -> None:
    """Days later, only finished uploads are left."""
    cluster = world.cluster
    done = cluster.nodes[0].command("delete_expired", "--orphans-after", "0", days=DAYS_AHEAD)
    said = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    print(f"days later: {said}", flush=True)
    if done.returncode or "busy: 0, failed: 0" not in said:
        world.fault(f"delete_expired: {done.stdout[-600:]} {done.stderr[-600:]}")
    rows = cluster.query("SELECT id, status FROM uploads")
    for upload_id, status in rows:
        if str(status) != "complete":
            world.fault(f"{upload_id} is {status} after delete_expired")
    known = {row[0] for row in rows}
    names = cluster.store.names()
    for name in names:
        if name not in known:
            world.fault(f"the file {name} has no record after delete_expired")
    for upload_id in known - {*names}:
        world.fault(f"the record {upload_id} has no file after delete_expired")
    for upload_id in world.finished.keys() - world.removed - known:
        world.fault(f"{upload_id} is finished, and delete_expired has removed it")


def _check_nothing_left(world: World) -> None:
    """When clients have removed the rest, there is nothing."""
    tus = Tus(world.port)
    for (upload_id,) in world.cluster.query("SELECT id FROM uploads"):
        if (status := tus.request("DELETE", f"/files/{upload_id}").status) != 204:
            world.fault(f"{upload_id} is finished, and cannot be deleted: {status}")
    # Files of flow.js that were cancelled are remembered for a while, so that late chunks are refused.
    world.cluster.nodes[0].command("delete_expired", "--orphans-after", "0", days=DAYS_AHEAD)
    left = [dict(row._mapping) for row in world.cluster.query("SELECT * FROM uploads")]
    names = world.cluster.store.names()
    if left or names:
        world.fault(f"left at the end: {len(left)} {left[:3]} {names[:5]}")

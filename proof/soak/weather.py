"""What befalls the nodes, the proxy, the database and the store, one after another, in an order from a seed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from threading import Thread

from proof.soak.cluster import frozen
from proof.soak.cluster import Node
from proof.soak.stores import SharedBucket
from proof.soak.world import World


class Weather:
    """Runs in a thread of its own until it is told to end, and leaves everything repaired.

    The first node is never restarted, and its first worker never touched: they show whether anything grows.

    :param names: The events, all if there are none.
    """

    def __init__(self, world: World, seed: int, *, pause: float, names: tuple[str, ...] = ()) -> None:
        self.world = world
        self._random = random.Random(f"{seed} weather")
        self._pause = pause
        self._end = Event()
        self._cluster = world.cluster
        store = world.cluster.store
        possible = [*EVENTS, *(DISK_EVENTS if store.disk.is_own else ())]
        if isinstance(store, SharedBucket):
            possible += [*BUCKET_EVENTS, *(DURABLE_EVENTS if store.is_durable else ())]
        self._events = [event for event in possible if not names or _name(event) in names]
        self.spared = world.cluster.nodes[0].workers()[0]
        self._repaired = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until everything works."""
        self._end.set()
        self._repaired.wait()

    def _run(self) -> None:
        deck: list[Callable[[Weather], None]] = []
        while not self._end.wait(self._random.uniform(self._pause / 2, self._pause * 1.5)):
            if not deck:
                deck = [*self._events]
                self._random.shuffle(deck)
            event = deck.pop()
            name = _name(event)
            print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
            try:
                event(self)
                self.world.count(f"event: {name}")
            except Exception as error:  # the campaign goes on, but says so
                self.world.fault(f"the event {name!r} failed: {error!r}")
        for node in self._cluster.nodes:
            node.move_clock(0)
        self._cluster.store.repair()
        self._repaired.set()
        Event().wait()  # processes that a thread has started are killed when it ends

    def wait(self, least: float, most: float) -> None:
        """Let it last."""
        self._end.wait(self._random.uniform(least, most))

    def relay(self, mood: str) -> None:
        """Let the connections to the object store be like this for a while."""
        self.bucket.relay.be(mood)
        try:
            self.wait(4, 15)
        finally:
            self.bucket.relay.be("open")

    def worker(self) -> int:
        """One that may be hurt."""
        workers = [pid for node in self._cluster.nodes for pid in node.workers() if pid != self.spared]
        return self._random.choice(workers)

    @property
    def bucket(self) -> SharedBucket:
        """The object store."""
        store = self._cluster.store
        assert isinstance(store, SharedBucket)
        return store

    @property
    def second(self) -> Node:
        """The node that may be restarted."""
        return self._cluster.nodes[1]


def _kill_worker(self: Weather) -> None:
    """a worker is killed."""
    with suppress(ProcessLookupError):
        os.kill(self.worker(), signal.SIGKILL)


def _kill_node(self: Weather) -> None:
    """a node is killed and started again."""
    self.second.stop()
    self.wait(1, 8)
    self.second.start()


def _restart_node(self: Weather) -> None:
    """a node is restarted as in a deployment."""
    self.second.terminate()
    self.second.wait()
    self.second.start()


def _freeze_worker(self: Weather) -> None:
    """a worker stops for longer than its lease, and goes on."""
    frozen(self.worker(), self._random.uniform(7, 14))


def _kill_database(self: Weather) -> None:
    """the database is killed and started again."""
    self._cluster.database.kill()
    self.wait(0.5, 6)
    self._cluster.database.start()


def _drop_connections(self: Weather) -> None:
    """the database drops all connections."""
    self._cluster.drop_connections()


def _freeze_database(self: Weather) -> None:
    """the database does not answer for a while."""
    group = self._cluster.database.pid
    os.killpg(group, signal.SIGSTOP)
    try:
        self.wait(2, 6)
    finally:
        os.killpg(group, signal.SIGCONT)


def _fill_disk(self: Weather) -> None:
    """the disk is full, and then is not."""
    self._cluster.store.disk.fill()
    try:
        self.wait(4, 12)
    finally:
        self._cluster.store.disk.empty()


def _freeze_disk(self: Weather) -> None:
    """the disk takes no writes for a while."""
    self._cluster.store.disk.freeze(self._random.uniform(1, 5))


def _kill_store(self: Weather) -> None:
    """the object store is killed and started again."""
    self.bucket.kill()
    self.wait(0.5, 6)
    self.bucket.start()


def _freeze_store(self: Weather) -> None:
    """the object store does not answer for a while."""
    self.bucket.freeze(self._random.uniform(3, 15))


def _slow_store(self: Weather) -> None:
    """the object store is slow."""
    self.relay("slow")


def _busy_store(self: Weather) -> None:
    """the object store tells most requests to slow down."""
    self.relay("busy")


def _refusing_store(self: Weather) -> None:
    """the object store refuses connections."""
    self.relay("away")


def _deaf_store(self: Weather) -> None:
    """most answers of the object store are lost."""
    self.relay("deaf")


def _move_clock(self: Weather) -> None:
    """the clock of a node is wrong for a while."""
    node = self._random.choice(self._cluster.nodes)
    # By more than COMPLETED_TTL, and a file that was finished a moment ago is not recognized any more.
    node.move_clock(self._random.choice([-240, -120, -20, -5, 5, 20, 120, 240]))
    self.wait(5, 20)
    node.move_clock(0)


def _remove_parts(self: Weather) -> None:
    """files of unfinished uploads are removed by hand."""
    for upload_id in self._random.sample(sorted(self.world.exposed), min(3, len(self.world.exposed))):
        if self._cluster.store.remove_unfinished(upload_id):
            self.world.count("files of unfinished uploads removed by hand")


def _remove_finished(self: Weather) -> None:
    """a file of a finished upload is removed by hand."""
    if self.world.kept:
        upload_id = self.world.kept.pop(self._random.randrange(len(self.world.kept)))
        self.world.destroyed.add(upload_id)
        self._cluster.store.remove(upload_id)  # which may have been removed at the very end of the upload


def _restart_proxy(self: Weather) -> None:
    """the proxy is restarted."""
    self._cluster.restart_proxy()


def _clean(self: Weather) -> None:
    """the cleaner runs."""
    done = self._cluster.nodes[0].command("delete_expired")
    if done.returncode:
        self.world.fault(f"flask tus delete_expired: {done.stdout} {done.stderr[-600:]}")


def _kill_cleaner(self: Weather) -> None:
    """the cleaner is killed."""
    command = self._cluster.nodes[0].start_command("delete_expired")
    self.wait(0.5, 3)
    command.kill()


def _name(event: Callable[[Weather], None]) -> str:
    return (event.__doc__ or "").rstrip(".")


EVENTS: tuple[Callable[[Weather], None], ...] = (
    _kill_worker, _kill_worker, _kill_node, _restart_node, _freeze_worker, _kill_database, _drop_connections,
    _freeze_database, _move_clock, _remove_parts, _remove_parts, _remove_finished, _restart_proxy, _clean,
    _kill_cleaner,
)  # fmt: skip
DISK_EVENTS = (_fill_disk, _freeze_disk)
BUCKET_EVENTS = (_freeze_store, _slow_store, _busy_store, _refusing_store, _deaf_store)
DURABLE_EVENTS = (_kill_store,)  # for a store that keeps what it has

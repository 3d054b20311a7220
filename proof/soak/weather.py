"""What befalls the nodes, the proxy, the database and the disk, one after another, in an order from a seed."""

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
from proof.soak.world import World


class Weather:
    """Runs in a thread of its own until it is told to end, and leaves everything repaired.

    The first node is never restarted, and its first worker never touched: they show whether anything grows.
    """

    def __init__(self, world: World, seed: int, *, pause: float) -> None:
        self.world = world
        self._random = random.Random(f"{seed} weather")
        self._pause = pause
        self._end = Event()
        self._cluster = world.cluster
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
                deck = [*EVENTS]
                self._random.shuffle(deck)
            event = deck.pop()
            name = (event.__doc__ or "").rstrip(".")
            print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
            try:
                event(self)
                self.world.count(f"event: {name}")
            except Exception as error:  # the campaign goes on, but says so
                self.world.fault(f"the event {name!r} failed: {error!r}")
        for node in self._cluster.nodes:
            node.move_clock(0)
        self._cluster.disk.empty()
        self._repaired.set()
        Event().wait()  # processes that a thread has started are killed when it ends

    def wait(self, least: float, most: float) -> None:
        """Let it last."""
        self._end.wait(self._random.uniform(least, most))

    def worker(self) -> int:
        """One that may be hurt."""
        workers = [pid for node in self._cluster.nodes for pid in node.workers() if pid != self.spared]
        return self._random.choice(workers)

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
    if self._cluster.disk.is_own:
        self._cluster.disk.fill()
        try:
            self.wait(4, 12)
        finally:
            self._cluster.disk.empty()


def _freeze_disk(self: Weather) -> None:
    """the disk takes no writes for a while."""
    if self._cluster.disk.is_own:
        self._cluster.disk.freeze(self._random.uniform(1, 5))


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
        with suppress(FileNotFoundError):
            self._cluster.part(upload_id).unlink()
            self.world.count("files of unfinished uploads removed by hand")


def _remove_finished(self: Weather) -> None:
    """a file of a finished upload is removed by hand."""
    if self.world.kept:
        upload_id = self.world.kept.pop(self._random.randrange(len(self.world.kept)))
        self.world.destroyed.add(upload_id)
        with suppress(FileNotFoundError):  # then it was removed at the very end of the upload
            (self._cluster.disk.uploads / upload_id).unlink()


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


EVENTS: tuple[Callable[[Weather], None], ...] = (
    _kill_worker, _kill_worker, _kill_node, _restart_node, _freeze_worker, _kill_database, _drop_connections,
    _freeze_database, _fill_disk, _freeze_disk, _move_clock, _remove_parts, _remove_parts, _remove_finished,
    _restart_proxy, _clean, _kill_cleaner,
)  # fmt: skip

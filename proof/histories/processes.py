"""The processes of histories: workers that use repositories and services, and nodes that answer requests."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import Any

from flask_resumable.testing.samples import id_of as id_of_number
from tests.live.raw import Answer
from tests.live.servers import id_of
from tests.live.servers import Server

from .clock import Clock
from .linearizable import NEVER
from .linearizable import Operation
from .specifications import LOCKED
from .specifications import Record
from .specifications import UNKNOWN
from .worker import ACTS
from .worker import LEASE
from .worker import LENGTH
from .worker import pauses
from .worker import serve
from .worker import writer_of

PROCESSES = 4
_CLOCKS = (0, 0, 5, 100, -100)  # seconds by which clocks are off
_BEFORE = 0.02  # seconds until all begin

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["proof.histories.worker"])


class Workers:
    """Four processes on one database and one folder."""

    def __init__(self, layer: str, uri: str, folder: Path, mutant: str | None = None) -> None:
        folder.mkdir(parents=True)
        self._layer, self._uri, self._folder, self._mutant = layer, uri, folder, mutant
        self._clocks = [Clock(folder / f"clock{process}") for process in range(PROCESSES)]
        self._running = [self._started(process) for process in range(PROCESSES)]
        self._journals = [Path(one.answer()) for one in self._running]
        self._read: dict[Path, int] = {}
        self.stops = self.kills = 0

    def close(self) -> None:
        """End them."""
        for one in self._running:
            one.kill()

    def record_history(self, number: int, chance: random.Random) -> tuple[Record, list[Operation]]:
        """What was done to a record, and what the record was before."""
        first = Record(*self._made(number))
        self._play(number, chance, longest=0.06)
        operations = []
        for act, arguments, result, invoked, returned in self._deeds():
            if returned != NEVER or act != "get":
                told = tuple(result) if isinstance(result, list) else result
                operations.append(Operation(act, arguments, told if returned != NEVER else UNKNOWN, invoked, returned))
        return first, operations

    def request_history(self, number: int, chance: random.Random) -> list[Operation]:
        """What was sent to an upload, and what it has in the end."""
        self._made(number)
        self._play(number, chance, longest=1.2, moves_clocks=True)
        operations: list[Operation] = []
        for act, arguments, result, invoked, returned in self._deeds():
            if act == "look":
                if returned != NEVER and result != LOCKED:
                    operations.append(Operation("look", (), result, invoked, returned))
                continue
            kind, *told = result or ["lost"]
            add_append(operations, arguments, kind, told, invoked, returned)
        for clock in self._clocks:
            clock.set(0)
        part = self._folder / "uploads" / ".partial" / f"{id_of_number(number)}.part"
        add_end(operations, self._ask("look", upload=number), part)
        return operations

    def _made(self, number: int) -> list[Any]:
        self._ask("make", upload=number, length=None if self._layer == "records" else LENGTH)
        found: list[Any] = self._ask("record", upload=number)
        return found

    def _play(self, number: int, chance: random.Random, *, longest: float, moves_clocks: bool = False) -> None:
        at = time.monotonic_ns() + round(_BEFORE * 1e9)
        for one in self._running:
            one.order(do="play", upload=number, seed=chance.randrange(2**32), at=at)
        pids = [one.pid for one in self._running]
        victim = chance.randrange(PROCESSES) if chance.random() < 0.02 else None
        with disturbed(chance, lambda: pids, longest, self._clocks if moves_clocks else ()) as stops:
            if victim is not None:
                time.sleep(_BEFORE + chance.uniform(0, longest))
                self._running[victim].kill()
                self.kills += 1
            for process, one in enumerate(self._running):
                if process != victim:
                    one.answer()
        self.stops += len(stops)
        if victim is not None:
            self._running[victim] = self._started(victim)
            self._journals.append(Path(self._running[victim].answer()))

    def _deeds(self) -> Iterator[tuple[str, tuple[Any, ...], Any, int, int]]:
        """What the journals have got since the last time."""
        for journal in self._journals:
            with journal.open() as file:
                file.seek(self._read.get(journal, 0))
                lines = [json.loads(line) for line in file]
                self._read[journal] = file.tell()
            ends = {line[0]: line for line in lines if line[1] == "end"}
            for number, act, arguments, invoked in lines:
                if act != "end":
                    _, _, result, returned = ends.get(number, (0, "end", None, NEVER))
                    yield act, tuple(arguments), result, invoked, returned

    def _started(self, process: int) -> _Worker:
        start = {"layer": self._layer, "uri": self._uri, "folder": str(self._folder)}
        return _Worker({**start, "process": process, "mutant": self._mutant})

    def _ask(self, do: str, **order: Any) -> Any:
        self._running[0].order(do=do, **order)
        return self._running[0].answer()


class _Worker:
    """One of them, forked from a process that has imported everything."""

    def __init__(self, start: dict[str, Any]) -> None:
        self._connection, its = _context.Pipe()
        self._process = _context.Process(target=serve, args=(start, its), daemon=True)
        self._process.start()
        its.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def order(self, **order: Any) -> None:
        """Tell it what to do."""
        self._connection.send(order)

    def answer(self) -> Any:
        """Wait until it has done that."""
        return self._connection.recv()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.join()


class Nodes:
    """Two servers, each with a process and a clock of its own, and the clients that talk to them."""

    def __init__(self, uri: str, folder: Path) -> None:
        self._folder = folder
        environ = {"HISTORIES_URI": uri, "HISTORIES_FOLDER": str(folder / "uploads")}
        settings = {"LEASE": LEASE, "DURABILITY": "none"}
        self._nodes = []
        for number in range(2):
            (folder / f"node{number}").mkdir(parents=True)
            node = Node("gthread", folder / f"node{number}", settings, ("--preload",), environ)
            node.start()
            self._nodes.append(node)
        self._clocks = [Clock(node.home / "clock") for node in self._nodes]
        self.stops = self.kills = 0

    def close(self) -> None:
        """End them."""
        for node in self._nodes:
            node.stop()

    def history(self, chance: random.Random) -> list[Operation]:
        """What four clients sent to one upload, and what it has in the end."""
        path = self._nodes[0].tus.create(LENGTH)
        operations: list[Operation] = []
        seeds = [chance.randrange(2**32) for _ in range(PROCESSES)]
        clients = [
            threading.Thread(target=self._play, args=(path, random.Random(seed), number, operations))
            for number, seed in enumerate(seeds)
        ]

        def pids() -> list[int]:
            return [pid for node in self._nodes for pid in node.workers()]

        with disturbed(chance, pids, 1.2, self._clocks) as stops:
            for client in clients:
                client.start()
            if chance.random() < 0.2:
                time.sleep(chance.uniform(0, 0.3))
                for pid in chance.choice(self._nodes).workers():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    self.kills += 1
            for client in clients:
                client.join()
        self.stops += len(stops)
        for clock in self._clocks:
            clock.set(0)
        deadline = time.monotonic() + 30
        while (answer := self._nodes[1].tus.head(path)).status != 200:
            assert time.monotonic() < deadline, answer
            time.sleep(0.01)
        add_end(operations, answer.offset, self._folder / "uploads" / ".partial" / f"{id_of(path)}.part")
        return operations

    def _play(self, path: str, chance: random.Random, client: int, operations: list[Operation]) -> None:
        known = 0
        for act in range(ACTS["requests"]):
            node = chance.choice(self._nodes)
            mine: list[Operation] = []
            invoked = time.monotonic_ns()
            if chance.random() < 0.35:
                answer = None
                with suppress(OSError):
                    answer = node.tus.head(path)
                if answer is not None and answer.status == 200:
                    known = answer.offset
                    mine.append(Operation("look", (), known, invoked, time.monotonic_ns()))
            else:
                size = chance.randrange(1, 9)
                count = chance.randrange(size) if chance.random() < 0.3 else size
                writer = writer_of(client, act)
                start, kind, returned = known, "lost", NEVER
                told: list[int] = []
                with suppress(OSError):
                    answer = self._append(node, path, known, size, bytes([writer]) * count, chance)
                    if answer is not None:
                        returned = time.monotonic_ns()
                        if answer.status in (204, 409):
                            known = answer.offset
                            kind, told = ("whole" if answer.status == 204 else "cut"), [known]
                add_append(mine, (start, count, writer), kind, told, invoked, returned)
            _extend(operations, mine)

    @staticmethod
    def _append(node: Server, path: str, known: int, size: int, content: bytes, chance: random.Random) -> Answer | None:
        with node.tus.connect() as connection:
            connection.start_patch(path, known, {"Content-Length": size})
            for number, pause in enumerate(pauses(chance, len(content))):
                time.sleep(pause)
                connection.send(content[number : number + 1])
            if len(content) == size:
                return connection.answer("PATCH")
            if chance.random() < 0.5:
                connection.reset()
            return None


class Node(Server):
    """gunicorn with one worker process."""

    app = "proof.histories.app:create_app"
    patience = 600.0


_extending = threading.Lock()


def _extend(operations: list[Operation], more: Sequence[Operation]) -> None:
    """Add operations whose predecessors are counted from the first of them."""
    with _extending:
        shift = len(operations)
        for one in more:
            after = None if one.after is None else one.after + shift
            operations.append(Operation(one.act, one.arguments, one.result, one.invoked, one.returned, after))


def add_append(
    operations: list[Operation],
    sent: tuple[Any, ...],
    kind: str,
    told: list[int],
    invoked: int,
    returned: int,
) -> None:
    """Add a request with bytes: an operation for each of them, and one that tells the offset that was answered.

    :param sent: Where its bytes start, how many came, and which bytes they are.
    """
    start, count, writer = sent
    after = None
    if kind in ("whole", "cut", "lost"):
        for number in range(count):
            operations.append(Operation("append", (start, number, writer), kind == "whole", invoked, returned, after))
            after = len(operations) - 1
    if told:
        operations.append(Operation("look", (), told[0], invoked, returned, after))


def add_end(operations: list[Operation], offset: int, part: Path) -> None:
    """Add what the upload has in the end."""
    now = time.monotonic_ns()
    operations.append(Operation("look", (), offset, now, now + 1))
    stored = part.read_bytes()[:offset] if part.exists() else b""
    operations.append(Operation("read", (), stored, now + 2, now + 3))


@contextmanager
def disturbed(
    chance: random.Random, pids: Callable[[], Sequence[int]], longest: float, clocks: Sequence[Clock]
) -> Iterator[list[float]]:
    """Stop processes for a while and let them go on, and move clocks, until the context ends.

    :return: For how long each of them was stopped.
    """
    stops: list[float] = []
    is_over = threading.Event()
    own = random.Random(chance.randrange(2**32))

    def disturb() -> None:
        while not is_over.wait(own.uniform(0, longest / 2)):
            if clocks and own.random() < 0.5:
                own.choice(clocks).set(own.choice(_CLOCKS))
            if own.random() < 0.4:
                continue
            found = pids()
            if not found:
                continue
            pid, pause = own.choice(found), own.uniform(0, longest)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(pause)
                stops.append(pause)
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield stops
    finally:
        is_over.set()
        thread.join()

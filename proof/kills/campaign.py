"""Plays rounds on several servers at a time, and says what they have seen."""

from __future__ import annotations

import random
import shutil
import statistics
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy import text

from proof.campaign import Result
from tests.databases.servers import PostgreSQL
from tests.folders import has_memory
from tests.folders import MEMORY

from .app import EMBEDDED
from .mutants import MUTANTS
from .rounds import ROUNDS
from .rounds import sweep
from .world import Lost
from .world import Seen
from .world import World

ROUNDS_IN_ALL, QUICK_ROUNDS = 10_000, 300
WORLD = 500  # rounds that share a server and its files
LANES = 5  # servers at the same time
PATIENCE = 120.0  # seconds until a request must get through; the lease that it must not wait for is longer
MUTANT_PATIENCE = 3.0
MUTANT_ROUNDS = 400  # in which a mistake must be found
KINDS = ("app's SQLite", "embedded SQLite", "app's SQLite", "PostgreSQL")  # databases, in turn


@dataclass
class Plan:
    """What is to be done, shared by the lanes."""

    seed: int
    rounds: int
    folder: Path
    kinds: tuple[str, ...] = KINDS
    only: tuple[str, ...] = ()  # kinds of rounds
    mutant: str | None = None
    patience: float = PATIENCE
    world: int = WORLD
    seen: Seen = field(default_factory=Seen)
    faults: list[str] = field(default_factory=list)
    is_broken: bool = False  # whether one of them is not a promise that was broken
    done: dict[str, int] = field(default_factory=dict)  # rounds, by database
    postgresql: PostgreSQL | None = None


def run(*, seed: int, quick: bool, folder: Path | None) -> Result:
    """Run the campaign."""
    result = Result()
    with _folder(folder) as home, _postgresql() as server:
        kinds = KINDS if server is not None else tuple(kind for kind in KINDS if kind != "PostgreSQL")
        plan = Plan(seed, QUICK_ROUNDS if quick else ROUNDS_IN_ALL, home, kinds, postgresql=server)
        plan.world = 75 if quick else WORLD
        began = time.monotonic()
        play(plan)
        result.figures += figures(plan, time.monotonic() - began)
        result.faults += plan.faults
        for name in tuple(MUTANTS)[:: 4 if quick else 1]:
            found = play_mutant(name, home, seed)
            if found is None:
                result.faults.append(f"the mutant is not found: {name}")
            else:
                result.figures.append(f"mutant found: {name}: {found}")
    return result


def play(plan: Plan) -> None:
    """Play all rounds, several servers at a time, until there are too many faults."""
    numbers, lock = count(), threading.Lock()
    total = -(-plan.rounds // plan.world)

    def lane() -> None:
        while True:
            with lock:
                number = next(numbers)
            if number >= total or plan.faults:
                return
            try:
                _play_world(plan, number, min(plan.world, plan.rounds - number * plan.world))
            except Exception:  # of the campaign itself, or a server that does not start
                plan.is_broken = True
                plan.faults.append(f"world {number} of seed {plan.seed}: {traceback.format_exc()}")

    lanes = [threading.Thread(target=lane) for _ in range(min(LANES, total))]
    for one in lanes:
        one.start()
    for one in lanes:
        one.join()


def _play_world(plan: Plan, number: int, rounds: int) -> None:
    kind = plan.kinds[number % len(plan.kinds)]
    home = plan.folder / f"world{number}"
    home.mkdir(parents=True)
    uri = _uri(plan, kind, home, number)
    chance = random.Random(f"{plan.seed} {number}")
    workers = 2 if number % 8 >= 5 else 1
    names = plan.only or tuple(ROUNDS)
    weights = [ROUNDS[name][1] for name in names]
    world = World(home, uri, plan.seen, workers=workers, patience=plan.patience, mutant=plan.mutant)
    try:
        for played in range(rounds):
            (name,) = chance.choices(names, weights)
            where = f"{name}, round {played} of world {number} ({kind}, {workers} workers), seed {plan.seed}"
            try:
                ROUNDS[name][0](world, random.Random(f"{plan.seed} {number} {played}"))
                if (played + 1) % 125 == 0 or played + 1 == rounds:
                    where = f"the sweep after {where}"
                    sweep(world)
            except Exception as error:
                plan.is_broken |= not isinstance(error, Lost)
                plan.faults.append(f"{where}: {error if isinstance(error, Lost) else traceback.format_exc()}")
                plan.done[kind] = plan.done.get(kind, 0) + 1
                return
            with plan.seen.lock:
                plan.done[kind] = plan.done.get(kind, 0) + 1
                so_far = sum(plan.done.values())
            if so_far % 500 == 0:
                print(f"{so_far:,} rounds", flush=True)
            if plan.faults and plan.mutant:
                return
    finally:
        world.close()
        if not plan.faults or plan.mutant:
            shutil.rmtree(home, ignore_errors=True)


def _uri(plan: Plan, kind: str, home: Path, number: int) -> str:
    if kind == "embedded SQLite":
        return EMBEDDED
    if kind == "PostgreSQL":
        assert plan.postgresql is not None
        engine = create_engine(plan.postgresql.uri, isolation_level="AUTOCOMMIT")
        name = f"world{number}"
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return plan.postgresql.uri.rpartition("/")[0] + f"/{name}"
    return f"sqlite:///{home / 'app.sqlite'}"


def play_mutant(name: str, folder: Path, seed: int) -> str | None:
    """Play rounds until the mistake shows. Return how it did, or ``None`` if it did not."""
    plan = Plan(seed, MUTANT_ROUNDS, folder / f"mutant{[*MUTANTS].index(name)}", ("app's SQLite",))
    plan.only, plan.mutant, plan.patience, plan.world = MUTANTS[name][1], name, MUTANT_PATIENCE, 200
    play(plan)
    if not plan.faults or plan.is_broken:
        return None
    return f"in round {sum(plan.done.values())}, {plan.faults[0].partition('Answer(')[0].strip(' :')}"


def figures(plan: Plan, seconds: float) -> list[str]:
    """What was done and seen."""
    seen = plan.seen
    lines = [f"rounds: {sum(plan.done.values()):,} in {seconds:,.0f} s; kills: {sum(seen.kills.values()):,}"]
    lines += [f"  on {kind}: {rounds:,}" for kind, rounds in sorted(plan.done.items())]
    lines.append(f"kills after the answer: {seen.answered:,}")
    lines.append("kills and seconds until the next request got through (median, 99 %, maximum):")
    for kind in sorted(seen.kills):
        lines.append(f"  {kind}: {seen.kills[kind]:,}; {_spread(seen.waits.get(kind, []))}")
    requests = [wait for kind, waits in seen.waits.items() if kind != "cleaning" for wait in waits]
    lines.append(f"  all requests: {_spread(requests)}")
    states = ", ".join(f"{state} {times:,}" for state, times in sorted(seen.states.items()))
    lines.append(f"states that uploads were left in, where the round looked: {states}")
    most = max(seen.unnoted, default=0)
    lines.append(f"written but not noted, so sent again: {len(seen.unnoted)} times, at most {most:,} bytes")
    lines.append(f"interrupted removals that were left to flask tus delete_expired: {seen.left}")
    lines += [f"slow: {one}" for one in seen.slow[:20]]
    lines.append(f"rows written again by hooks without a transaction (embedded SQLite): {seen.repeated}")
    return lines


def _spread(waits: list[float]) -> str:
    if len(waits) < 2:
        return "-"
    return f"{statistics.median(waits):.3f}, {statistics.quantiles(waits, n=100)[98]:.3f}, {max(waits):.3f}"


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder / "kills"
        return
    # A process that is killed leaves the same in memory as on a disk.
    with TemporaryDirectory(prefix="kills-", dir=MEMORY if has_memory() else None) as made:
        yield Path(made)


@contextmanager
def _postgresql() -> Iterator[PostgreSQL | None]:
    server: Any = None
    with suppress(BaseException):  # what says that it is not installed is no Exception
        server = PostgreSQL()
    try:
        yield server
    finally:
        if server is not None:
            server.close()

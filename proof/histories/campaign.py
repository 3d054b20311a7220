"""Plays histories on each database, checks them, and says what they were made of."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from proof.campaign import Result
from tests.databases.servers import MongoWire
from tests.databases.servers import PostgreSQL
from tests.folders import has_memory
from tests.folders import MEMORY

from .linearizable import NEVER
from .linearizable import Operation
from .linearizable import violation
from .mutants import MUTANTS
from .processes import Nodes
from .processes import Workers
from .specifications import content
from .specifications import record

# Histories on each database, by what they go through; and with --quick.
COUNTS = {"records": (1500, 40), "requests": (150, 8), "HTTP": (60, 4)}
MUTANT_HISTORIES = 150  # in which a mistake must show
SERVERS = {"PostgreSQL": PostgreSQL, "MongoDB-wire": MongoWire}

History = Callable[[int, random.Random], str | None]  # what is wrong with it


@dataclass
class Seen:
    """What the histories of a layer were made of."""

    histories: int = 0
    operations: int = 0
    unanswered: int = 0
    stops: int = 0
    kills: int = 0
    seconds: float = 0.0
    checking: float = 0.0  # seconds
    faults: list[str] = field(default_factory=list)


def run(*, seed: int, quick: bool, folder: Path | None) -> Result:
    """Run the campaign."""
    result = Result()
    with _folder(folder) as home:
        for database, uri in _databases(home):
            for layer, counts in COUNTS.items():
                seen = play(layer, uri, home / f"{database} {layer}", seed, counts[quick])
                result.figures.append(f"{database}, {layer}: {told(seen)}")
                print(result.figures[-1], flush=True)
                result.faults += [f"{database}, {layer}, seed {seed}: {fault}" for fault in seen.faults]
        for name in tuple(MUTANTS)[:: 3 if quick else 1]:
            seen = play_mutant(name, home, seed)
            if seen.faults:
                result.figures.append(f"mutant found: {name}: in history {seen.histories}")
            else:
                result.faults.append(f"the mutant is not found: {name}")
    return result


def play_mutant(name: str, home: Path, seed: int) -> Seen:
    """Play histories until the mistake shows."""
    layer, own = MUTANTS[name][1], home / f"mutant{[*MUTANTS].index(name)}"
    own.mkdir(parents=True)
    return play(layer, f"sqlite:///{own / 'state.sqlite'}", own / "files", seed, MUTANT_HISTORIES, mutant=name)


def play(layer: str, uri: str, folder: Path, seed: int, count: int, *, mutant: str | None = None) -> Seen:
    """Play histories until one of them is wrong."""
    seen = Seen()
    began = time.monotonic()
    group: Any = Nodes(uri, folder) if layer == "HTTP" else Workers(layer, uri, folder, mutant)
    try:
        for number in range(1, count + 1):
            chance = random.Random(f"{seed} {layer} {number}")
            initial: Any = b""
            if layer == "records":
                initial, operations = group.record_history(number, chance)
            elif layer == "requests":
                operations = group.request_history(1_000_000 + number, chance)
            else:
                operations = group.history(chance)
            at = time.monotonic()
            found = violation(operations, initial, record if layer == "records" else content)
            seen.checking += time.monotonic() - at
            seen.histories += 1
            seen.operations += len(operations)
            seen.unanswered += sum(one.returned == NEVER for one in operations)
            if found is not None:
                seen.faults.append(
                    f"history {number}: after {found.ordered} of {len(operations)} operations, in {found.state}, "
                    f"none of these fits: {_listed(found.stuck)}; all: {_listed(operations)}"
                )
                break
    finally:
        group.close()
        seen.stops, seen.kills, seen.seconds = group.stops, group.kills, time.monotonic() - began
    return seen


def told(seen: Seen) -> str:
    """A line of figures."""
    return (
        f"{seen.histories:,} histories of {seen.operations:,} operations, of which {seen.unanswered:,} were never "
        f"answered; processes stopped {seen.stops:,} times, killed {seen.kills:,} times; {seen.seconds:.0f} s, "
        f"{seen.checking:.1f} s of them to check"
    )


def _listed(operations: Any) -> str:
    ordered: list[Operation] = sorted(operations, key=lambda one: one.invoked)
    first = ordered[0].invoked if ordered else 0
    return "; ".join(
        f"{one.act}{one.arguments} = {one.result!r} [{(one.invoked - first) / 1e6:.2f}, "
        f"{'never' if one.returned == NEVER else f'{(one.returned - first) / 1e6:.2f}'} ms]"
        for one in ordered
    )


def _databases(home: Path) -> Iterator[tuple[str, str]]:
    yield "SQLite", f"sqlite:///{home / 'state.sqlite'}"
    for name, kind in SERVERS.items():
        server: Any = None
        with suppress(BaseException):  # what says that it is not installed is no Exception
            server = kind()
        if server is not None:
            try:
                yield name, server.uri
            finally:
                server.close()


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        (folder / "histories").mkdir(parents=True)
        yield folder / "histories"
        return
    with TemporaryDirectory(prefix="histories-", dir=MEMORY if has_memory() else None) as made:
        yield Path(made)

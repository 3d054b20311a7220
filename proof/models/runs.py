"""Runs the state machine on a world, and returns the example that failed, if one did."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import seed as seeded
from hypothesis import settings
from hypothesis.stateful import RULE_MARKER
from hypothesis.stateful import run_state_machine_as_test

from tests.folders import quick_folder

from .machine import Machine
from .mutants import MUTANTS
from .worlds import InProcess
from .worlds import Processes
from .worlds import World

if TYPE_CHECKING:
    from tests.databases.servers import DatabaseServer
    from tests.s3.conftest import Store

SEARCHES = 10  # at most, for a mutant
GENERATE = (Phase.generate,)
SHRINK = (Phase.generate, Phase.shrink)


def search(
    worlds: Sequence[World],
    *,
    seed: int,
    examples: int,
    steps: int,
    shrinks: bool = True,
    rules: frozenset[str] = frozenset(),
) -> None:
    """Try so many examples. The first that fails is shrunk and raised, with everything that was said as notes.

    :param rules: The names of those to use; all by default.
    """

    class Example(Machine):
        pass

    Example.worlds = worlds
    for name, method in vars(Machine).items():
        if rules and name not in rules and hasattr(method, RULE_MARKER):
            setattr(Example, name, _no_rule(method))
    run_state_machine_as_test(
        seeded(seed)(Example),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=False,
            phases=SHRINK if shrinks else GENERATE,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )


def _no_rule(method: Callable[..., object]) -> Callable[..., object]:
    """What other rules can call, but Hypothesis cannot."""
    return lambda *values, **named: method(*values, **named)


@dataclass
class Found:
    """What a search has done, and the example that failed."""

    examples: int
    steps: int
    requests: int
    seconds: float
    error: BaseException | None

    @property
    def fault(self) -> str | None:
        """What failed, in a line."""
        if self.error is None:
            return None
        first = self.error
        while isinstance(first.__context__, AssertionError):  # what failed at the end came of it
            first = first.__context__
        lines = str(first).splitlines() or [""]
        return f"{type(first).__name__}: {lines[0]}"

    @property
    def example(self) -> str:
        """What led to it, request by request."""
        return "\n".join(getattr(self.error, "__notes__", ()))


def tried(
    worlds: Sequence[World],
    *,
    seed: int,
    examples: int,
    steps: int,
    shrinks: bool = True,
    rules: frozenset[str] = frozenset(),
) -> Found:
    """Search, and return what came of it."""
    before, began, error = dict(Machine.counts), time.monotonic(), None
    try:
        search(worlds, seed=seed, examples=examples, steps=steps, shrinks=shrinks, rules=rules)
    except Exception as failure:  # an assertion of the machine, or what it ran into
        error = failure
    done = {name: count - before[name] for name, count in Machine.counts.items()}
    return Found(**done, seconds=time.monotonic() - began, error=error)


def hunted(name: str, *, seed: int) -> Found:
    """Search for a mutant. Each search prefers some of the rules, so it takes several short ones."""
    done = Found(0, 0, 0, 0.0, None)
    with MUTANTS[name].applied(), in_process() as worlds:  # some show in how an app is made
        for more in range(SEARCHES):
            rules = MUTANTS[name].rules
            found = tried(worlds, seed=seed + more, examples=30, steps=25, shrinks=False, rules=rules)
            done = Found(
                done.examples + found.examples,
                done.steps + found.steps,
                done.requests + found.requests,
                done.seconds + found.seconds,
                found.error,
            )
            if found.error is not None:
                break
    return done


@contextmanager
def in_process() -> Iterator[list[World]]:
    """Two apps in this process, on SQLite and in memory: once with an expiry that slides, and once without."""
    with tempfile.TemporaryDirectory() as otherwise, quick_folder(Path(otherwise)) as folder, ExitStack() as stack:
        worlds: list[World] = []
        for sliding in (False, True):
            worlds.append(InProcess(folder / f"sliding-{sliding}", sliding=sliding))
            stack.callback(worlds[-1].close)
        yield worlds


@contextmanager
def in_process_on_s3() -> Iterator[list[World]]:
    """The same with bytes in moto's store."""
    from tests.s3.conftest import Store
    from tests.s3.moto import Moto

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server = Moto(Path(folder))
        server.start()
        stack.callback(server.kill)
        world = InProcess(Path(folder) / "app", sliding=True, store=Store(server))
        stack.callback(world.close)
        yield [world]


@contextmanager
def processes(
    folder: Path | None,
    database: Callable[[], DatabaseServer] | None,
    store: Callable[[Path], Store] | None,
) -> Iterator[list[World]]:
    """Two gunicorn servers on these."""
    with tempfile.TemporaryDirectory(dir=folder) as home, ExitStack() as stack:
        running = None if database is None else database()
        if running is not None:
            stack.callback(running.close)
        bucket = None if store is None else store(Path(home))
        if bucket is not None:
            stack.callback(bucket.server.kill)
        world = Processes(Path(home) / "app", running, bucket, store_keeps=True)
        stack.callback(world.close)
        yield [world]

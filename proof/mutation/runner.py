"""A plugin of pytest that runs mutants instead of the tests: ``pytest -p proof.mutation.runner``.

Everything is imported and collected once. A first fork of the process runs each test and notes the lines that it
reaches. Then each mutant gets a fork, in which the code of one function is exchanged, and only the tests that reach the
changed statement are run, until one fails. What to do is said by a file of JSON, named in the environment.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections import defaultdict
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import FunctionType
from typing import Any

import coverage
import hypothesis
import pytest

from proof.mutation.forks import in_forks
from proof.mutation.forks import Job
from proof.mutation.forks import Say
from proof.mutation.mutants import Mutant
from proof.mutation.mutants import mutants_of
from proof.mutation.swap import functions_of
from proof.mutation.swap import swap

ORDERS = "MUTATION_ORDERS"  # in the environment: the path of a file
PACKAGE = Path(__file__).resolve().parents[2] / "flask_resumable"
PROCESSES = 2
QUICK = 0.02  # seconds: tests of rules alone take no longer, and all of them may run
LONG = 3.0  # seconds: no test that takes longer is run, unless there is no other
PATIENCE = 3.0  # seconds for one test, and as many times what it took without a mutant


@dataclass
class Orders:
    """What a run does."""

    modules: list[str]
    folder: str  # of the results
    seed: int
    sample: int | None = None  # how many mutants, chosen at random; None: all
    keys: list[str] | None = None  # only these
    done: list[str] = field(default_factory=list)  # not these, which an earlier run has done
    seconds: float = 20.0  # of tests for one mutant, as measured without it
    until: float | None = None  # seconds since 1970; mutants that would begin later are not run


@dataclass
class Reach:
    """Which tests reach which lines, and how long they take."""

    seconds: dict[str, float] = field(default_factory=dict)  # of the processor, by the test's id; only if it passes
    tests: dict[str, dict[int, list[str]]] = field(default_factory=dict)  # by module and line

    def shares(self, module: str) -> Mapping[str, float]:
        """How much of what each test reaches is in the module: the most for tests that are about it."""
        if module not in self._shares:
            inside = Counter(chain.from_iterable(self.tests.get(module, {}).values()))
            self._shares[module] = {test: lines / self._everything[test] for test, lines in inside.items()}
        return self._shares[module]

    @cached_property
    def _everything(self) -> Counter[str]:
        return Counter(test for lines in self.tests.values() for tests in lines.values() for test in tests)

    @cached_property
    def _shares(self) -> dict[str, Mapping[str, float]]:
        return {}


def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis try the same examples each time, and not look for smaller ones."""
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile(
        "mutation", max_examples=20, derandomize=True, database=None, deadline=None, phases=phases
    )
    hypothesis.settings.load_profile("mutation")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Run the mutants."""
    orders = Orders(**json.loads(Path(os.environ[ORDERS]).read_text()))
    for module in orders.modules:
        importlib.import_module(f"flask_resumable.{module.removesuffix('.py').replace('/', '.')}")
    functions = functions_of(PACKAGE)
    gc.collect()
    gc.freeze()  # forks share what is not counted
    with tempfile.TemporaryDirectory(prefix="mutation-", dir=_memory()) as home:
        Run(session, orders, functions, Path(home)).run()
    return True


class Run:
    """One run of many mutants."""

    def __init__(self, session: pytest.Session, orders: Orders, functions: Sequence[FunctionType], home: Path) -> None:
        self._functions = functions
        self._items = {item.nodeid: item for item in session.items}
        self._config = session.config
        self._orders = orders
        self._home = home
        self._folder = Path(orders.folder)
        self._killers: Counter[str] = Counter()  # the tests that found most

    def run(self) -> None:
        """Measure, then run mutants, and write a line for each."""
        reach = self._measured()
        print(f"{len(reach.seconds)} tests", flush=True)
        with (self._folder / "results.jsonl").open("a") as results:
            for outcome in in_forks((self._job(mutant, reach) for mutant in self._mutants()), PROCESSES, self._home):
                results.write(json.dumps(outcome) + "\n")
                results.flush()

    def _mutants(self) -> Iterator[Mutant]:
        """The mutants of one module after another, because making them takes time."""
        if self._orders.sample is None:
            for module in self._orders.modules:
                yield from self._mutants_of(module)
            return
        mutants = [mutant for module in self._orders.modules for mutant in self._mutants_of(module)]
        size = min(self._orders.sample, len(mutants))
        for at in sorted(random.Random(self._orders.seed).sample(range(len(mutants)), size)):
            yield mutants[at]

    def _mutants_of(self, module: str) -> list[Mutant]:
        keys, done = self._orders.keys, set(self._orders.done)
        if keys is not None and not any(key.startswith(f"{module} ") for key in keys):
            return []
        mutants = [mutant for mutant in mutants_of(PACKAGE / module, module) if mutant.key not in done]
        return mutants if keys is None else [mutant for mutant in mutants if mutant.key in keys]

    # --- which tests ---

    def _measured(self) -> Reach:
        """Run each test once in a fork, half of them in each of two."""
        path = self._folder / "reach.json"
        if not path.exists():
            parts = [self._folder / f"reach-{at}.json" for at in range(PROCESSES)]
            jobs = (Job(self._measure(at, part), 100.0) for at, part in enumerate(parts))
            outcomes = [*in_forks(jobs, PROCESSES, self._home)]
            if any(outcome["outcome"] != "survived" for outcome in outcomes):
                raise RuntimeError(f"The tests could not be measured: {outcomes}")
            path.write_text(json.dumps([json.loads(part.read_text()) for part in parts]))
        reach = Reach()
        for part in json.loads(path.read_text()):
            reach.seconds.update({test: took for test, took in part["seconds"].items() if test in self._items})
            for module, lines in part["tests"].items():
                for line, tests in lines.items():
                    known = [test for test in tests if test in self._items]
                    reach.tests.setdefault(module, {}).setdefault(int(line), []).extend(known)
        return reach

    def _measure(self, at: int, path: Path) -> Callable[[Say], None]:
        def measure(say: Say) -> None:
            measuring = coverage.Coverage(data_file=None, config_file=False, include=[f"{PACKAGE}/*"])
            measuring.start()
            seconds = {}
            for number, item in enumerate([*self._items.values()][at::PROCESSES]):
                say(item.nodeid)
                measuring.switch_context(str(number))
                began = time.process_time()
                if self._passes([item]):
                    seconds[item.nodeid] = time.process_time() - began
            measuring.stop()
            names = dict(enumerate([*self._items][at::PROCESSES]))
            data, tests = measuring.get_data(), {}
            for module in self._orders.modules + _others(self._orders.modules):
                contexts = data.contexts_by_lineno(str(PACKAGE / module))
                tests[module] = {
                    line: [names[int(number)] for number in numbers if number and names[int(number)] in seconds]
                    for line, numbers in contexts.items()
                }
            path.write_text(json.dumps({"seconds": seconds, "tests": tests}))

        return measure

    def _tests_for(self, mutant: Mutant, reach: Reach) -> tuple[list[str], int]:
        """Those that reach the statement, the most promising ones first, and how many there would be."""
        lines = reach.tests.get(mutant.module, {})
        found = {test for line in mutant.lines for test in lines.get(line, ())}
        by_file: defaultdict[str, list[str]] = defaultdict(list)
        for test in sorted(found, key=lambda test: (reach.seconds[test], test)):
            by_file[test.partition("::")[0]].append(test)
        # All that are quick and the quickest of each file, then the second of each, so that different files have a say.
        ranks = {
            test: 0 if reach.seconds[test] < QUICK else rank
            for tests in by_file.values()
            for rank, test in enumerate(tests)
        }
        ordered = sorted(ranks, key=lambda test: (-self._killers[test], ranks[test], reach.seconds[test], test))
        shares = reach.shares(mutant.module)
        focused = sorted(ranks, key=lambda test: (-shares[test], reach.seconds[test], test))
        chosen: list[str] = []
        spent = 0.0
        for test in dict.fromkeys(chain.from_iterable(zip(ordered, focused, strict=True))):
            if reach.seconds[test] > LONG and chosen or spent > self._orders.seconds:
                continue
            chosen.append(test)
            spent += reach.seconds[test]
        return chosen, len(ordered)

    # --- one mutant ---

    def _job(self, mutant: Mutant, reach: Reach) -> Job:
        tests, of = self._tests_for(mutant, reach)
        told = {"key": mutant.key, "module": mutant.module, "tests": len(tests), "of": of}
        if self._orders.until is not None and time.time() > self._orders.until:
            return Job(None, 0, {**told, "outcome": "not run"})
        if not tests:
            return Job(None, 0, {**told, "outcome": "not reached"})

        def run(say: Say) -> None:
            swap(self._functions, PACKAGE / mutant.module, mutant)
            for number, test in enumerate(tests):
                say(test)
                following = tests[number + 1] if number + 1 < len(tests) else None
                if not self._passes([self._items[test]], self._items[following] if following else None):
                    os._exit(1)

        slowest = max(reach.seconds[test] for test in tests)
        return Job(run, PATIENCE * (1 + slowest), told, self._note)

    def _note(self, outcome: dict[str, Any]) -> None:
        if outcome["outcome"] == "killed":
            self._killers[outcome["by"]] += 1

    def _passes(self, items: Sequence[pytest.Item], following: pytest.Item | None = None) -> bool:
        """Run a test in this process, with all that belongs to it. Skipped tests do not pass."""
        watch = _Watch()
        self._config.pluginmanager.register(watch)
        try:
            for item in items:
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        finally:
            self._config.pluginmanager.unregister(watch)
        return watch.has_passed


class _Watch:
    """Sees the reports of a test."""

    has_passed = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.has_passed = self.has_passed and (report.passed or hasattr(report, "wasxfail"))


def _others(modules: list[str]) -> list[str]:
    """All other modules of the package, so that what was measured serves further runs."""
    everything = [str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")]
    return [module for module in sorted(everything) if module not in modules]


def _memory() -> str | None:
    return "/dev/shm" if os.path.isdir("/dev/shm") else None

"""The campaign: mutants of the rules, the use cases and the fence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections import defaultdict
from collections.abc import Collection
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proof.campaign import Result
from proof.mutation.explained import explained
from proof.mutation.tests import TESTS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "flask_resumable"
SAMPLE = 100  # mutants of a quick run
SURVIVED = ("survived", "not reached")


def modules() -> list[str]:
    """All modules with mutants, as paths in the package."""
    folders = [path for folder in ("core", "service") for path in sorted((PACKAGE / folder).glob("*.py"))]
    paths = [PACKAGE / "storage" / "local" / "fence.py", PACKAGE / "storage" / "local" / "locks.py", *folders]
    return [str(path.relative_to(PACKAGE)) for path in paths if path.name != "__init__.py"]


def run(*, seed: int, quick: bool, folder: Path | None) -> Result:
    """Run all mutants, or a few that are chosen at random."""
    home = Path(tempfile.mkdtemp(prefix="mutation-", dir=folder))
    return mutate(modules(), home, seed=seed, sample=SAMPLE if quick else None)


def mutate(chosen: Sequence[str], home: Path, *, seed: int = 0, tests: Sequence[str] = TESTS, **orders: Any) -> Result:
    """Run the mutants of some modules. ``home`` keeps what was measured, and a line for each mutant."""
    path, results = home / "orders.json", home / "results.jsonl"
    done = [outcome["key"] for outcome in _read(results)]  # of a run that was stopped
    path.write_text(json.dumps({"modules": [*chosen], "folder": str(home), "seed": seed, "done": done, **orders}))
    command = [sys.executable, "-m", "pytest", "-p", "proof.mutation.runner", "-p", "no:cacheprovider", "-q"]
    command += ["--fast", "--timeout=0", "--capture=sys", "--assert=plain", "--tb=native"]  # failures are not read
    environment = {**os.environ, "MUTATION_ORDERS": str(path), "PYTHONPATH": str(ROOT)}
    with (home / "pytest.log").open("w") as log:
        ended = subprocess.run([*command, *tests], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    is_whole = not {"sample", "keys", "until"} & {name for name, value in orders.items() if value is not None}
    result = judged(_read(results), whole=chosen if is_whole else ())
    if ended.returncode not in (0, 5):  # 5: pytest itself has run no test
        result.faults.append(f"pytest: exit code {ended.returncode}, see {home / 'pytest.log'}")
    return result


def _read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def judged(outcomes: Sequence[dict[str, Any]], *, whole: Collection[str] = ()) -> Result:
    """Count what became of the mutants. Survivors without a reason are faults.

    :param whole: The modules whose mutants have all been run. A reason for another mutant of these is a fault as well.
    """
    result = Result()
    reasons = explained()
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        kind, key = outcome["outcome"], outcome["key"]
        if kind in SURVIVED and key in reasons:
            kind = "explained"
        counts[outcome["module"].rpartition("/")[0]][kind] += 1
        if kind in (*SURVIVED, "broken"):
            result.faults.append(f"{kind} ({outcome['tests']} of {outcome['of']} tests): {key}")
        elif kind != "explained" and key in reasons:
            result.faults.append(f"{kind}, so the reason is wrong, or {outcome.get('by')} is: {key}")
    known = {outcome["key"] for outcome in outcomes}
    for key in reasons:
        if key not in known and key.partition(" ")[0] in whole:
            result.faults.append(f"a reason for a mutant that does not exist: {key}")
    for package, kinds in sorted(counts.items()):
        numbers = ", ".join(f"{number:,} {kind}" for kind, number in sorted(kinds.items()))
        result.figures.append(f"{package}: {kinds.total():,} mutants: {numbers}")
    return result

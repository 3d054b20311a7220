"""The campaign: every target for a quarter of an hour, and then mistakes that they must find."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from proof.campaign import Result
from proof.hostile.fuzz import FAULT
from proof.hostile.mutants import MUTANTS

SECONDS, QUICK_SECONDS, MUTANT_SECONDS = 900, 20, 120
STARTING = 600  # seconds that a fuzzer may take to start and to end, on a busy machine
_REASON = re.compile(r"^ *\w*(?:Error|Exception)\b.*$", re.MULTILINE)
NAMES = ("form", "parts", "structured", "metadata", "headers", "dispositions", "loads", "requests")


def run(*, seed: int, quick: bool, folder: Path | None) -> Result:
    """Fuzz every target, and then those that must find a mistake."""
    result = fuzz(seed=seed, seconds=QUICK_SECONDS if quick else SECONDS, folder=folder)
    for name in (*MUTANTS,)[:: 3 if quick else 1]:
        is_found, figure = hunt(name, seed=seed, folder=folder)
        print(figure, flush=True)
        (result.figures if is_found else result.faults).append(figure)
    return result


def fuzz(*, seed: int, seconds: int, folder: Path | None, names: tuple[str, ...] = NAMES) -> Result:
    """Fuzz some targets, one after another. Inputs that break a rule are kept in a folder of their own."""
    result = Result()
    home = Path(tempfile.mkdtemp(prefix="hostile-", dir=folder))
    for name in names:
        place = home / name
        code, text = _played(name, place, seed, seconds)
        result.figures.append(f"{name}: {_figures(text)}")
        if code:
            inputs = [str(path) for path in place.iterdir() if path.is_file() and path.name != "words"]
            kind = "a rule is broken" if code == FAULT else f"exit code {code}"
            result.faults.append(f"{name}: {kind}: {_reason(text)} by {inputs}")
    if not result.faults:
        shutil.rmtree(home)
    return result


def hunt(mutant: str, *, seed: int, folder: Path | None) -> tuple[bool, str]:
    """Make a mistake, and look for it; whether it was found, and a line about it."""
    target = MUTANTS[mutant].target
    with tempfile.TemporaryDirectory(prefix="hostile-", dir=folder) as home:
        code, text = _played(target, Path(home) / target, seed, MUTANT_SECONDS, "--mutant", mutant)
    if code != FAULT:
        return False, f"mutant not found: {mutant}: exit code {code}: {text[-300:] if code else _figures(text)}"
    return True, f"mutant found by {target}: {mutant}: {_figures(text)}: {_reason(text)[:200]}"


def _played(name: str, place: Path, seed: int, seconds: int, *more: str) -> tuple[int, str]:
    """Fuzz one target; the exit code, and what it said."""
    (place / "temporary").mkdir(parents=True)
    command = [sys.executable, "-m", "proof.hostile.fuzz", name, f"--seconds={seconds}", f"--seed={seed % 2**31}"]
    done = subprocess.run(
        [*command, f"--folder={place}", *more],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(place / "temporary")},
        timeout=seconds + STARTING,
    )
    return done.returncode, done.stdout + done.stderr


def _reason(text: str) -> str:
    reasons: list[str] = _REASON.findall(text) or [text[-300:]]
    return reasons[-1].strip()


def _figures(text: str) -> str:
    """What libFuzzer says at its end."""
    found = {
        name: re.findall(pattern, text)
        for name, pattern in (
            ("inputs", r"number_of_executed_units: (\d+)"),
            ("edges", r"cov: (\d+)"),
            ("inputs kept", r"corp: (\d+)"),
            ("MiB", r"peak_rss_mb: *(\d+)"),
        )
    }
    return ", ".join(f"{int(numbers[-1]):,} {name}" for name, numbers in found.items() if numbers) or "nothing"

"""The campaign: every target for a quarter of an hour."""

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

SECONDS, QUICK_SECONDS = 900, 20
STARTING = 600  # seconds that a fuzzer may take to start and to end, on a busy machine
_REASON = re.compile(r"^ *\w*(?:Error|Exception)\b.*$", re.MULTILINE)
NAMES = ("form", "parts", "structured", "metadata", "headers", "dispositions", "requests")


def run(*, seed: int, quick: bool, folder: Path | None) -> Result:
    """Fuzz every target."""
    return fuzz(seed=seed, seconds=QUICK_SECONDS if quick else SECONDS, folder=folder)


def fuzz(*, seed: int, seconds: int, folder: Path | None, names: tuple[str, ...] = NAMES) -> Result:
    """Fuzz some targets, one after another. Inputs that break a rule are kept in a folder of their own."""
    result = Result()
    home = Path(tempfile.mkdtemp(prefix="hostile-", dir=folder))
    for name in names:
        place = home / name
        (place / "temporary").mkdir(parents=True)
        command = [sys.executable, "-m", "proof.hostile.fuzz", name, f"--seconds={seconds}", f"--seed={seed % 2**31}"]
        done = subprocess.run(
            [*command, f"--folder={place}"],
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "TMPDIR": str(place / "temporary")},
            timeout=seconds + STARTING,
        )
        text = done.stdout + done.stderr
        result.figures.append(f"{name}: {_figures(text)}")
        if done.returncode:
            inputs = [str(path) for path in place.iterdir() if path.is_file() and path.name != "words"]
            reasons = _REASON.findall(text) or [text[-300:]]
            kind = "a rule is broken" if done.returncode == FAULT else f"exit code {done.returncode}"
            result.faults.append(f"{name}: {kind}: {reasons[-1]} by {inputs}")
    if not result.faults:
        shutil.rmtree(home)
    return result


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

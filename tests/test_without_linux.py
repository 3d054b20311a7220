"""A part of the tests, run without what only Linux has. ``make test-without-linux`` runs nearly all of them so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "tests" / "without_linux"
SOME = {
    "what is done in another way": (
        "tests/test_fence.py",
        "tests/test_incoming.py",
        "tests/test_locks.py",
        "tests/test_process_names.py",
        "tests/test_storage.py",
    ),
    # In any process, on any server; the development server is one of them.
    "that nothing is left": ("tests/without_linux",),
    # Both protocols, concatenation, S3.
    "what stands on it": (
        "tests/conformance/test_concatenation.py",
        "tests/conformance/test_patch.py",
        "tests/flow/test_happy.py",
        "tests/s3/test_tus.py",
    ),
    "requests that take uploads from each other": ("tests/live/test_takeover.py",),
    "processes that are killed": ("tests/live/test_killed.py",),
}
# These go the ways that the others have tried.
ABOVE = ("what stands on it", "requests that take uploads from each other", "processes that are killed")
# Of the servers, those with threads. Of crashes, those that others notice at once: without /proc, a process that is
# dead and not waited for looks alive, which may cost the lease. No races that a slow disk can end without a winner.
IN_TIME = (
    "not sync and not gevent and not sigterm and not reload and not dies_in_a_hook and not killed_in_on_complete "
    "and not after_each_cut and not at_one_offset "
    "and not (flask_sqlalchemy and not folder)"  # the database makes no difference here
)


@pytest.mark.live
@pytest.mark.timeout(900)
@pytest.mark.skipif("without_linux" in os.environ.get("PYTHONPATH", ""), reason="All tests are run so.")
@pytest.mark.parametrize(
    "files",
    [pytest.param(files, id=name, marks=[pytest.mark.thorough] * (name in ABOVE)) for name, files in SOME.items()],
)
def test_nothing_depends_on_what_only_linux_has(files: tuple[str, ...]) -> None:
    """Storage, locks, protocols, takeovers and crashes, with the names of Linux taken away."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    path = os.pathsep.join(filter(None, (str(HERE), environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", IN_TIME, *files]
    ended = subprocess.run(
        command, cwd=ROOT, env={**environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    counts = re.findall(r"(\d+) passed", ended.stdout)
    assert counts and int(counts[-1]) > 5, ended.stdout

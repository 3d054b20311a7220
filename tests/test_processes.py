"""The processes of the repositories' contract."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_TESTS = """
import os, time
from functools import partial
from flask_resumable.repositories.embedded import embedded_repository
from flask_resumable.testing import processes

def pid(repository, number):
    return os.getpid()

if __name__ == "__main__":
    pool = processes._pool(partial(embedded_repository, "sqlite://", durable=False))
    print(*pool.map(processes._do, [pid] * 4, range(4)), flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
def test_tests_that_are_killed_leave_no_processes_behind(tmp_path: Path) -> None:
    """A runner that is short of time kills its workers; what those have started ends with them."""
    script = tmp_path / "killed.py"
    script.write_text(_TESTS)
    root = str(Path(__file__).resolve().parents[1])
    env = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen([sys.executable, script], env=env, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        children = [Path("/proc", number) for number in tests.stdout.readline().split()]
        assert len(children) == 4
        tests.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    try:
        while any(child.exists() for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        for child in children:
            if child.exists():
                os.kill(int(child.name), signal.SIGKILL)

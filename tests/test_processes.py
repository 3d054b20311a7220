"""The processes of the repositories' contract."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_TESTS = """
import os, time
from functools import partial
from flask_resumable.repositories.sql.embedded import embedded_repository
from flask_resumable.testing import processes

def pid(repository, number):
    return os.getpid()

if __name__ == "__main__":
    pool = processes._pool(partial(embedded_repository, "sqlite://", durable=False))
    print(*pool.map(processes._do, [pid] * 4, range(4)), flush=True)
    time.sleep(600)
"""


def test_tests_that_are_killed_leave_no_processes_behind(tmp_path: Path) -> None:
    """A runner that is short of time kills its workers; what those have started ends with them."""
    script = tmp_path / "killed.py"
    script.write_text(_TESTS)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with subprocess.Popen([sys.executable, script], env=env, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        children = [int(number) for number in tests.stdout.readline().split()]
        tests.send_signal(signal.SIGKILL)
        try:
            tests.communicate(timeout=30)  # their output ends when the last of them does
        except subprocess.TimeoutExpired:
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            raise
    assert len(children) == 4

"""Whom the demo's page offers to kill."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from demo import controls

controls._RECENT = 60  # however busy the machine is
mine = controls.Controls(Path(sys.argv[1]))
for line in sys.stdin:
    upload = SimpleNamespace(id="a", received=0, is_busy=line.strip() == "busy")
    if line.strip() == "receive":
        mine.note_receiver(upload)
    print(mine.receiver(upload), flush=True)
"""


class Worker:
    """A process that receives an upload, and tells which one the page would name."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", WORKER, str(folder)]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True, bufsize=1
        )

    def told(self, order: str) -> int:
        """Give it an order; whom it names."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{order}\n")
        return int(self.process.stdout.readline())


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    """Two, the one with the smaller number first."""
    with ExitStack() as stack:
        pair = [Worker(tmp_path), Worker(tmp_path)]
        for worker in pair:
            stack.enter_context(worker.process)
        yield sorted(pair, key=lambda worker: worker.process.pid)


def test_one_worker_is_named_as_long_as_it_takes_part(workers: list[Worker]) -> None:
    """Chunks of an upload go to all workers: the button would change from one to the other under the mouse."""
    first, second = workers
    assert second.told("receive") == second.process.pid
    assert {worker.told("receive") for worker in (first, second, first, second)} == {first.process.pid}
    assert first.told("busy") == second.process.pid  # while one request receives all, it is the last to begin
    first.process.kill()
    first.process.wait()
    assert second.told("look") == second.process.pid

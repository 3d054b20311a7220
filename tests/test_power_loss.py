"""The power fails at some moments of some uploads. ``make proof ARGS=power`` tries all, on more file systems."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from proof.campaign import Result
from proof.power.app import Setup
from proof.power.campaign import run
from proof.power.campaign import run_mutants
from proof.power.disks import why_not
from proof.power.scratch import remove_leftovers

from .prerequisites import require_program

pytestmark = pytest.mark.live

RECORD = """
import signal, sys, time
from pathlib import Path
from proof.power.disks import FILE_SYSTEMS, recorded_disk
from proof.power.scratch import scratch
from proof.power.stopping import interruptible, stoppable
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let what runs in the background ignore it
with stoppable(), scratch(Path(sys.argv[1])) as folder, recorded_disk(FILE_SYSTEMS["ext4"], folder):
    print("recording", flush=True)
    with interruptible():
        time.sleep(600)
"""
SEED = 1
IMAGES = 24  # of each recording


@pytest.fixture(autouse=True)
def machine() -> None:
    """Skip where the machine itself cannot mount images, which nothing that is installed can change."""
    if not hasattr(os, "splice"):
        pytest.skip("images are mounted on Linux")
    require_program("nbdkit", "apt-get install nbdkit nbdkit-plugin-python")
    require_program("nbdfuse", "apt-get install libnbd-bin")
    if reason := why_not():
        pytest.skip(reason)


def _apart(work: Callable[[], Result]) -> Result:
    """Do it in a process without the threads of other tests, because it forks."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work).result()


@pytest.mark.parametrize("database", ["wal", "delete"])
def test_what_was_answered_survives_losses_of_power(database: str) -> None:
    """Offsets have their bytes, finished files are whole, on_complete took effect once, and clients finish."""
    result = _apart(partial(run, seed=SEED, quick=True, folder=None, setups=[Setup(database=database)], limit=IMAGES))
    assert not result.faults
    assert result.figures


@pytest.mark.parametrize("mutant", ["content", "publishing", "journal"])
def test_a_sync_that_is_left_out_is_noticed(mutant: str) -> None:
    """Otherwise the test above would mean nothing."""
    result = _apart(partial(run_mutants, seed=SEED, quick=True, folder=None, names=[mutant]))
    assert not result.faults
    assert "found by" in result.figures[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """No mount, loop device or process. What cannot clean up is cleaned up after by the next run."""
    with subprocess.Popen(
        [sys.executable, "-c", RECORD, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"recording\n"
        assert _left(tmp_path)
        remove_leftovers([tmp_path])  # of others, but not of this one
        assert _left(tmp_path)
        os.killpg(run.pid, number)  # as Ctrl-C does
    if number == signal.SIGKILL:
        assert _left(tmp_path)
        remove_leftovers([tmp_path])
    assert _left(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def _left(folder: Path) -> list[str]:
    """What is mounted in a folder, and what backs loop devices there."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    files = [file.read_text().strip() for file in Path("/sys/block").glob("loop*/loop/backing_file")]
    return [name for name in (*mounts, *files) if Path(name).is_relative_to(folder)]

"""The power fails at some moments of some uploads. ``make proof ARGS=power`` tries all, on more file systems."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from proof.campaign import Result
from proof.power.app import Setup
from proof.power.campaign import run
from proof.power.campaign import run_mutants
from proof.power.disks import why_not

from .prerequisites import require_program

pytestmark = pytest.mark.live

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

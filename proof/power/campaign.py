"""The campaigns ``power`` and ``power-mutants``."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

from proof.campaign import Result

from .app import Setup
from .disks import why_not
from .mutants import Mutant
from .mutants import MUTANTS
from .scratch import quick_parent
from .scratch import remove_leftovers
from .scratch import scratch
from .stopping import stoppable
from .story import Story
from .trial import chosen
from .trial import Outcome
from .trial import record
from .trial import try_images
from .trial import warm_up

SUBSETS = 4  # random subsets after each flush
WORKERS = 2
SHOWN = 5  # faults of one setup
QUICK = (Setup(database="wal"), Setup(), Setup(database="embedded"))
ALL = (
    *QUICK,
    Setup(durability="full"),
    Setup(durability="full", database="embedded"),
    Setup(database="wal", chunks="folder"),
    Setup(durability="none", database="wal"),
    Setup(durability="none", database="embedded"),
    Setup("xfs", database="wal"),
    Setup("xfs"),
    Setup("btrfs", database="wal"),
    Setup("btrfs"),
)


def run(
    *, seed: int, quick: bool, folder: Path | None, setups: Sequence[Setup] | None = None, limit: int | None = None
) -> Result:
    """Lose power at every moment, or at some.

    :param limit: How many images of each recording to try, chosen at random; the default is 60 if ``quick``, or all.
    """
    result = Result()
    setups = setups or (QUICK if quick else ALL)
    with _leaving_nothing(folder):
        if reason := why_not([setup.file_system for setup in setups]):
            result.faults.append(f"Nothing was tried: {reason}.")
            return result
        warm_up()
        for setup in setups:
            outcome = _try(setup, seed, Story.CHAPTERS, limit or (60 if quick else None), folder)
            result.figures.append(_figures(outcome))
            print(result.figures[-1], flush=True)
            result.faults += outcome.faults[:SHOWN]
    return result


def run_mutants(
    *, seed: int, quick: bool, folder: Path | None, names: Sequence[str] = tuple(MUTANTS), limit: int | None = None
) -> Result:
    """Make one fault after the other, and demand that losses of power bring each of them to light."""
    result = Result()
    with _leaving_nothing(folder):
        if reason := why_not():
            result.faults.append(f"Nothing was tried: {reason}.")
            return result
        warm_up()
        for name in names:
            mutant = MUTANTS[name]
            outcome = _try(mutant.setup, seed, mutant.chapters, limit, folder, mutant)
            if outcome.faults:
                result.figures.append(f"{name} ({mutant.what}): found by image {outcome.images}: {outcome.faults[0]}")
                print(result.figures[-1], flush=True)
            else:
                result.faults.append(f"{name}: {mutant.what}, and none of {outcome.images} images shows it.")
    return result


def _try(
    setup: Setup,
    seed: int,
    chapters: tuple[str, ...],
    limit: int | None,
    folder: Path | None,
    mutant: Mutant | None = None,
) -> Outcome:
    with scratch(folder) as place:
        told = record(setup, seed, chapters, place, mutant)
    images = chosen(told.recording.images(seed, SUBSETS), limit, seed)
    if mutant is not None:
        Random(seed).shuffle(images)
    return try_images(told, setup, images, mutant, WORKERS)


@contextmanager
def _leaving_nothing(folder: Path | None) -> Iterator[None]:
    """Remove what runs have left behind that were killed, and stop in order."""
    with stoppable():
        try:
            remove_leftovers((folder, None, quick_parent()))
            yield
        finally:
            remove_leftovers((folder, None, quick_parent()))  # of workers that have died


def _figures(outcome: Outcome) -> str:
    lost = f", {outcome.lost:,} answered bytes lost" if outcome.setup.durability == "none" else ""
    return (
        f"{outcome.setup}: {outcome.writes:,} writes, {outcome.flushes:,} flushes, {outcome.images:,} images, "
        f"{len(outcome.faults):,} faults{lost}, {outcome.seconds:,.0f} s"
    )

"""Some rounds of the campaign that kills servers at random moments; ``python -m proof kills`` plays thousands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proof.kills.campaign import figures
from proof.kills.campaign import Plan
from proof.kills.campaign import play
from proof.kills.campaign import play_mutant
from proof.kills.mutants import MUTANTS

from .folders import quick_folder

pytestmark = pytest.mark.live

OTHERS = [pytest.param(name, marks=pytest.mark.thorough) for name in MUTANTS if "after the upload" not in name]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a sync costs nothing."""
    with quick_folder(tmp_path) as folder:
        yield folder


@pytest.mark.parametrize("kind", ["app's SQLite", "embedded SQLite"])
def test_whoever_is_killed_loses_nothing(folder: Path, kind: str) -> None:
    """Creations, contents, hooks, removals and chunks: offsets hold, files are whole, rows are there once."""
    plan = Plan(30, 20, folder, (kind,))
    plan.world = plan.rounds
    play(plan)
    assert plan.faults == [], figures(plan, 0)
    assert sum(plan.seen.kills.values()) > 5


@pytest.mark.parametrize("name", ["the hook is called after the upload is saved", *OTHERS])
def test_a_mistake_is_found(folder: Path, name: str) -> None:
    """Otherwise the rounds prove nothing."""
    found = play_mutant(name, folder, 1)
    assert found is not None
    print(found)

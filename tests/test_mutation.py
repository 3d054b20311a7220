"""Mutants of the rules. ``make proof ARGS=mutation`` runs all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proof.mutation import campaign
from proof.mutation.campaign import modules
from proof.mutation.campaign import mutate
from proof.mutation.campaign import PACKAGE
from proof.mutation.explained import explained

from .prerequisites import require_module

ONE = "core/replacing.py"


def test_explained_mutants_are_of_code_that_exists() -> None:
    """Each reason is for a line of a module that has mutants. If the line changes, the reason may be gone."""
    for key, reason in explained().items():
        where, before, after = key.splitlines()
        module = where.partition(" ")[0]
        code = " ".join(line.strip() for line in (PACKAGE / module).read_text().splitlines())
        assert module in modules()
        assert before.startswith("- ") and after.startswith("+ ") and reason
        assert before == "- (nothing)" or before[2:] in code, key


def _outcome(kind: str, key: str) -> dict[str, Any]:
    return {"outcome": kind, "key": key, "module": key.partition(" ")[0], "tests": 3, "of": 4, "by": "tests/test_x.py"}


def test_what_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A survivor without a reason, and a reason that is not needed."""
    monkeypatch.setattr(
        campaign, "explained", lambda: {"core/a.py f\n- 1\n+ 2": "Why.", "core/a.py f\n- 3\n+ 4": "Why."}
    )
    outcomes = [
        _outcome("killed", "core/a.py f\n- 5\n+ 6"),
        _outcome("timeout", "core/a.py f\n- 6\n+ 7"),
        _outcome("survived", "core/a.py f\n- 1\n+ 2"),
    ]
    found = campaign.judged(outcomes)
    assert found.faults == []
    assert found.figures == ["core: 3 mutants: 1 explained, 1 killed, 1 timeout"]
    assert [fault[:22] for fault in campaign.judged(outcomes, whole=["core/a.py"]).faults] == ["a reason for a mutant "]
    for kind, key in (
        ("survived", "core/a.py f\n- 7\n+ 8"),
        ("not reached", "core/a.py f\n- 7\n+ 8"),
        ("broken", "core/a.py f\n- 7\n+ 8"),
        ("killed", "core/a.py f\n- 3\n+ 4"),
    ):
        (fault,) = campaign.judged([*outcomes, _outcome(kind, key)]).faults
        assert fault.startswith(kind) and fault.endswith(key)


@pytest.mark.slow
def test_mutants_survive_only_without_a_test(tmp_path: Path) -> None:
    """The tests of a module find what is wrong with it; without them, every mutant is a fault."""
    require_module("mutmut", "pip install mutmut")
    tested, untested = tmp_path / "tested", tmp_path / "untested"
    for folder in (tested, untested):
        folder.mkdir()
    found = mutate([ONE], tested, tests=["tests/core/test_replacing.py"])
    assert found.faults == []
    assert found.figures[0].startswith("core: ") and "killed" in found.figures[0]
    missed = mutate([ONE], untested, tests=["tests/core/test_secrets.py"])
    assert len(missed.faults) > 9
    assert all(fault.startswith(f"not reached (0 of 0 tests): {ONE} replace") for fault in missed.faults)

"""The checklist is complete: every number is carried by a test that says what is expected."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
ITEMS = set(range(1, 70))
DEFECTS = set(range(1, 26))


def all_tests() -> Iterator[ast.FunctionDef]:
    """Every test of this folder."""
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield node


def carried(pattern: str) -> set[int]:
    """The numbers that names of tests carry."""
    return {int(number) for node in all_tests() for number in re.findall(pattern, node.name)}


def test_every_item_of_the_checklist_has_a_test() -> None:
    """F1 to F69 are each carried by the name of a test, and there are no others."""
    numbers = carried(r"_f(\d+)(?=_)")
    assert (sorted(ITEMS - numbers), sorted(numbers - ITEMS)) == ([], [])


def test_every_defect_of_the_seed_has_a_test() -> None:
    """So is each of the 25 defects of the older flow.js server for Python."""
    numbers = carried(r"_seed_defect_(\d+)(?=_)")
    assert (sorted(DEFECTS - numbers), sorted(numbers - DEFECTS)) == ([], [])


def test_every_test_says_what_is_expected() -> None:
    """Each has a docstring."""
    assert [node.name for node in all_tests() if not ast.get_docstring(node)] == []

"""The checklist is complete: every number is carried by a test that says what is expected."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent.parent
ITEMS = set(range(1, 104))


def checklist_tests() -> Iterator[tuple[str, set[int], str | None]]:
    """Every test that carries numbers: its place, the numbers, its docstring."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                numbers = {int(number) for number in re.findall(r"_t(\d+)(?=_)", node.name)}
                if numbers:
                    yield f"{path.relative_to(TESTS)}::{node.name}", numbers, ast.get_docstring(node)


def test_every_item_of_the_checklist_has_a_test() -> None:
    """T1 to T103 are each carried by the name of a test, and there are no others."""
    carried = set[int]().union(*(numbers for _, numbers, _ in checklist_tests()))
    assert sorted(ITEMS - carried) == []
    assert sorted(carried - ITEMS) == []


def test_every_item_says_what_is_expected() -> None:
    """Each of those tests has a docstring."""
    assert [place for place, _, docstring in checklist_tests() if not docstring] == []

"""What holds for the tests themselves."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent


def test_every_test_says_what_is_expected() -> None:
    """Each has a docstring, also those that a contract gives to others."""
    silent = []
    for path in sorted((*TESTS.rglob("test_*.py"), *(TESTS.parent / "flask_resumable" / "testing").glob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(TESTS.parent)}:{node.lineno} {node.name}")
    assert silent == []

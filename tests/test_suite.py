"""What holds for the tests themselves."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

from tests.sampling import sample

TESTS = Path(__file__).parent


def test_every_test_says_what_is_expected() -> None:
    """Each has a docstring, also those that a contract gives to others."""
    silent = []
    for path in sorted((*TESTS.rglob("test_*.py"), *(TESTS.parent / "flask_resumable" / "testing").glob("*.py"))):
        module = ast.parse(path.read_text())
        classes = [node.body for node in module.body if isinstance(node, ast.ClassDef)]
        for node in itertools.chain(module.body, *classes):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(TESTS.parent)}:{node.lineno} {node.name}")
    assert silent == []


def test_each_case_is_run_in_some_place_and_each_place_has_a_case() -> None:
    """Without ``--thorough``, cases are dealt out to the places."""
    contents, servers, versions = ["a", "b", "c", "d", "e"], ["gthread", "gevent"], [3, 4, 5]
    cases = [
        {"content": content, "server": server, "version": version}
        for content, server, version in itertools.product(contents, servers, versions)
    ]
    kept = [cases[at] for at in sample(cases, frozenset({"server", "version"}))]
    assert [case["content"] for case in kept] == contents
    assert {case["server"] for case in kept} == {*servers}
    assert {case["version"] for case in kept} == {*versions}


def test_each_place_has_a_case_if_there_are_more_places() -> None:
    """With two contents on five servers, five cases are run."""
    cases = [{"content": content, "server": server} for content in "ab" for server in "vwxyz"]
    kept = [cases[at] for at in sample(cases, frozenset({"server"}))]
    assert len(kept) == 5
    assert {case["content"] for case in kept} == {*"ab"}
    assert {case["server"] for case in kept} == {*"vwxyz"}


def test_places_that_belong_to_their_cases_are_no_places() -> None:
    """If a server is only combined with one content, all cases are run."""
    cases = [{"content": "a", "server": "v"}, {"content": "a", "server": "w"}, {"content": "b", "server": "x"}]
    assert sample(cases, frozenset({"server"})) == [0, 1, 2]

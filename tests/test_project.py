"""The files around the code: valid, and true."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOW = ROOT / ".github" / "workflows" / "tests.yml"
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
SCHEMAS = {
    ".github/workflows/tests.yml": "vendor.github-workflows",
    ".github/workflows/release.yml": "vendor.github-workflows",
    ".github/workflows/links.yml": "vendor.github-workflows",
    ".github/dependabot.yml": "vendor.dependabot",
    ".github/ISSUE_TEMPLATE/config.yml": "vendor.github-issue-config",
}


@pytest.mark.parametrize("path", SCHEMAS)
def test_the_hosts_files_follow_their_schemas(path: str) -> None:
    """Workflows, dependabot and issue settings are what the host reads."""
    subprocess.run([BIN / "check-jsonschema", "--builtin-schema", SCHEMAS[path], ROOT / path], check=True)


def test_a_release_tries_each_extra() -> None:
    """Those that users install; what it imports exists."""
    jobs = yaml.safe_load(RELEASE.read_text())["jobs"]
    tried = {item["extra"]: item["imports"] for item in jobs["extras"]["strategy"]["matrix"]["include"]}
    for_developers = {"bench", "demo", "docs", "mutation", "test"}
    assert set(tried) == set(PROJECT["project"]["optional-dependencies"]) - for_developers
    for modules in tried.values():
        for module in modules.split(", "):
            assert importlib.util.find_spec(module) is not None
    assert set(jobs) - {"upload"} == set(jobs["upload"]["needs"])


def test_issue_forms_follow_their_schema() -> None:
    """So does every form."""
    forms = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    subprocess.run([BIN / "check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *forms], check=True)


def test_each_python_that_is_claimed_is_tested() -> None:
    """Classifiers and the workflow name the same versions, from the oldest that is supported on."""
    claimed = [item.rpartition(" ")[2] for item in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", item)]
    tested = yaml.safe_load(WORKFLOW.read_text())["jobs"]["fast"]["strategy"]["matrix"]["python"]
    assert claimed == tested
    assert PROJECT["project"]["requires-python"] == f">={claimed[0]}"
    assert PROJECT["tool"]["mypy"]["python_version"] == claimed[0]


def test_the_hooks_run_what_make_lint_runs() -> None:
    """Every hook's command is a program of the tests' own environment; none is fetched from elsewhere."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    commands = [hook["entry"].split() for hook in repository["hooks"]]
    assert all((BIN / Path(command[0]).name).exists() for command in commands)
    lint = MAKEFILE.split("\nlint:")[1].split("\n\n")[0]
    assert all(Path(command[0]).name in lint for command in commands)

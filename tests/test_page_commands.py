"""The commands of the pages that a reader types against a running app, and what the pages show of their output."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask

from flask_resumable import FlaskResumable
from tests.consoles import Console
from tests.prerequisites import require_program
from tests.prerequisites import ROOT
from tests.test_documentation import served

pytestmark = pytest.mark.slow

# Where each page has commands for a running app, and which of its blocks they are.
PAGES = [
    ("README.md", "curl"),
    ("docs/quickstart.md", "curl"),
    ("docs/ietf.md", "curl"),
    ("docs/repeated-requests.md", "curl"),
    ("docs/scripts.md", "curl"),
    ("docs/errors.md", "curl"),
]
SETUP = re.compile(r"^\$ (python3 |pip |gunicorn |npm |mkdir |\. ).*\n", re.MULTILINE)  # other tests do this


def blocks(page: str, mark: str) -> list[str]:
    """The blocks of commands with this word, without those that set up what the test has already."""
    found = re.findall(r"^ *```console\n(.*?)^ *```", (ROOT / page).read_text(), re.M | re.S)
    return [SETUP.sub("", code) for code in found if mark in code]


@contextmanager
def console(tmp_path: Path) -> Iterator[tuple[Console, Flask]]:
    """A terminal in a folder with a film, and an app."""
    require_program("curl", "apt-get install curl")
    app = Flask("app", instance_path=str(tmp_path / "instance"))
    FlaskResumable(app)
    (tmp_path / "movie.mp4").write_bytes(os.urandom(100_000))
    with served(app) as port:
        yield Console(tmp_path, f"http://127.0.0.1:{port}"), app
    app.extensions["resumable"].repository.dispose()


@pytest.mark.parametrize(("page", "mark"), PAGES)
def test_the_commands_say_what_the_page_shows(page: str, mark: str, tmp_path: Path) -> None:
    """All of a page's, in order, in one terminal."""
    found = blocks(page, mark)
    assert found
    with console(tmp_path) as (terminal, _):
        for code in found:
            terminal.type(code)

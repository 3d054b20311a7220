"""An app of a user's passes the type checkers in their strict modes, and its mistakes are found."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = Path(__file__).parent / "apps"

# Each line with a comment is a mistake that both checkers must find; there is no other.
WRONG = """
from flask import Flask
from flask_resumable import FlaskResumable, Upload
from flask_resumable.models import SQLAlchemyMixin
from sqlalchemy.orm import DeclarativeBase, Mapped

class Base(DeclarativeBase):
    pass

class MyUpload(SQLAlchemyMixin, Base):
    __tablename__ = "upload"
    caption: Mapped[str]

class Uploads(FlaskResumable[MyUpload]):
    def on_create(self, upload: MyUpload) -> None:
        print(upload.nonsense)  # no such column
        print(upload.length + 1)  # may be None
        upload.caption = 7  # a str

class Others(FlaskResumable):
    def on_complete(self, upload: Upload) -> None:
        print(upload.filename.upper())  # may be None
        print(upload.caption)  # of another model
        upload.owner = "me"  # not to be written

app = Flask(__name__)
resumable = Uploads(app, model=MyUpload)
resumable.get(7)  # ids are str
print(resumable.get("a").caption)  # may be None
resumable.uploads(limit="7")  # an int
for upload in resumable.uploads():
    print(upload.caption + 1)  # a str
"""

Checker = Callable[[Iterable[Path]], list[tuple[str, int, str]]]


@pytest.fixture(params=["mypy", "pyright"])
def check(request: pytest.FixtureRequest, tmp_path: Path) -> Checker:
    """A type checker: what it finds in files, as name, line and message."""
    return {"mypy": _mypy, "pyright": _pyright(tmp_path)}[request.param]


def _mypy(files: Iterable[Path]) -> list[tuple[str, int, str]]:
    cache = ROOT / ".mypy_cache" / "apps"
    options = ["--strict", "--config-file=", f"--cache-dir={cache}", "--show-absolute-path"]
    environ = {**os.environ, "MYPYPATH": str(ROOT)}
    command = [sys.executable, "-m", "mypy", *options, *map(str, files)]
    done = subprocess.run(command, env=environ, cwd=APPS, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = re.findall(r"^(.+?):(\d+): error: (.+)$", done.stdout, re.M)
    # Of installed packages mypy would say nothing; this one has errors of libraries without types.
    package = f"{ROOT / 'flask_resumable'}{os.sep}"
    return [(Path(path).name, int(line), message) for path, line, message in found if not path.startswith(package)]


def _pyright(folder: Path) -> Checker:
    def check(files: Iterable[Path]) -> list[tuple[str, int, str]]:
        program = shutil.which("basedpyright", path=str(Path(sys.executable).parent))  # pyright, and node with it
        if program is None:
            _give_up("basedpyright is missing: pip install basedpyright")
        # "strict" is pyright's own strict mode; basedpyright's default is another one.
        settings = {"include": [*map(str, files)], "extraPaths": [str(ROOT)], "typeCheckingMode": "strict"}
        config = folder / "pyrightconfig.json"
        config.write_text(json.dumps(settings))
        command = [program, "--outputjson", "--pythonpath", sys.executable, "--project", str(config)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            _give_up(f"basedpyright does not run: {(done.stdout + done.stderr)[:500]}")
        report = json.loads(done.stdout)
        assert report["summary"]["filesAnalyzed"] == len(settings["include"])
        return [
            (Path(item["file"]).name, item["range"]["start"]["line"] + 1, item["message"])
            for item in report["generalDiagnostics"]
        ]

    return check


def _give_up(message: str) -> NoReturn:
    """Without the checker the test is skipped; on a CI machine, which can install it, it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def test_the_apps_pass(check: Checker) -> None:
    """Hooks, views, models and storages, annotated as the docs say, are right to the strictest."""
    assert check(sorted(APPS.glob("*.py"))) == []


def test_mistakes_are_found(check: Checker, tmp_path: Path) -> None:
    """What the types are for: each slip is reported at its line, and nothing else is."""
    (tmp_path / "wrong.py").write_text(WRONG)
    marked = {number for number, line in enumerate(WRONG.splitlines(), 1) if "  # " in line}
    assert {line for _, line, _ in check([tmp_path / "wrong.py"])} == marked

"""The examples in ``docs/models.md`` work as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mongoengine
import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import close_all_sessions

from .servers import DatabaseServer

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "models.md").read_text()
FENCED = re.compile(r"^## (?P<title>.+?)$|^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S)


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Each block of code, by the heading that it is under."""
    title = ""
    for match in FENCED.finditer(PAGE):
        title = match["title"] or title
        if match["language"] == language:
            yield title, match["code"]


APPS = [pytest.param(code, id=title) for title, code in blocks("python") if "import Flask" in code]
TESTS = [pytest.param(code, id=code.split()[1]) for _, code in blocks("python") if code.startswith("# test_")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, as a reader of the page would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def execute(code: str, home: Path) -> dict[str, Any]:
    """Run a block as the module ``app.py``."""
    (home / "app.py").write_text(code)
    namespace: dict[str, Any] = {"__name__": f"app_{abs(hash(code))}", "__file__": str(home / "app.py")}
    module = type(sys)(namespace["__name__"])
    module.__dict__.update(namespace)
    sys.modules[module.__name__] = module
    exec(compile(code, str(home / "app.py"), "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def upload(app: Flask) -> None:
    """Upload a file to an app."""
    client = app.test_client()
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Upload-Metadata": "filename YS50eHQ=,report Nw=="}
    created = client.post("/files/", headers=headers)
    assert created.status_code == 201, created.text
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
    }
    assert client.patch(f"/files/{created.headers['Location']}", data=b"hello", headers=headers).status_code == 204
    if "finished" in app.view_functions:
        assert client.get("/finished").json == ["a.txt"]


@pytest.mark.xdist_group("mongo")
@pytest.mark.parametrize("code", APPS)
def test_the_examples_take_uploads(code: str, home: Path, request: pytest.FixtureRequest) -> None:
    """Each app of the page starts, and takes an upload."""
    if "Migrate(" in code:
        pytest.importorskip("flask_migrate")
    if "ongoengine" in code:
        mongo: DatabaseServer = request.getfixturevalue("mongo")
        request.getfixturevalue("monkeypatch").setenv("MONGODB_URI", mongo.uri)
        mongoengine.connect(host=mongo.uri).drop_database("test")
        mongoengine.disconnect_all()
    namespace = execute(code, home)
    app: Flask = namespace["app"]
    try:
        if "Migrate(" in code:
            ((_, commands),) = blocks("sh")
            migrate(commands, home)
        upload(app)
        if "caption" in code:
            with app.app_context():
                (row,) = namespace["db"].session.scalars(select(namespace["Upload"]))
                assert row.caption == "a.txt, 5 bytes"
        if "rating" in code:
            assert namespace["Upload"].objects.get().tags == ["new"]
    finally:
        close_all_sessions()
        if "db" in namespace:
            with app.app_context():
                for engine in namespace["db"].engines.values():
                    engine.dispose()
        elif hasattr(app.extensions["resumable"].repository, "dispose"):
            app.extensions["resumable"].repository.dispose()
        mongoengine.disconnect_all()


def migrate(commands: str, home: Path) -> None:
    """Run the page's commands; afterwards there is nothing left to migrate."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "FLASK_APP": "app.py"}
    done = subprocess.run(
        ["sh", "-ec", commands + "flask db check\n"], cwd=home, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No new upgrade operations detected" in done.stdout + done.stderr


@pytest.mark.parametrize("code", TESTS)
def test_the_contract_runs_as_shown(code: str, home: Path) -> None:
    """Each suite of the page finds its repository in order."""
    (home / "test_example.py").write_text(code)
    # Not once more what test_contract.py has run with four processes.
    few = ["-k", "one_winner or kept"] if "Shared" in code else []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_example.py", *few]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= (5 if few else 30)

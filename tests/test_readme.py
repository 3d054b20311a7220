"""What the README says, done."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable import UploadRejected
from flask_resumable.models import SQLAlchemyModel
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import Tus

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "flow.md").read_text()
APPS = [
    next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Flask(__name__)" in block)
    for page in (README, GUIDE)
]

# Run in a process and a folder of its own, as a reader would; what it prints is compared below.
CHECK = """
import io
from app import app
client = app.test_client()
tus = {"Tus-Resumable": "1.0.0"}
created = client.post("/files/", headers={**tus, "Upload-Length": "11"})
headers = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
patched = client.patch("/files/" + created.headers["Location"], data=b"hello world", headers=headers)
print(created.status, patched.status, patched.headers["Upload-Offset"])
form = {"flowIdentifier": "a", "flowFilename": "a.txt", "flowTotalSize": "5", "flowTotalChunks": "1",
        "flowChunkNumber": "1", "flowChunkSize": "5", "file": (io.BytesIO(b"hello"), "a.txt")}
print(client.post("/flow/", data=form).json["complete"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", APPS, ids=["tus", "flow"])
def test_the_apps_of_the_readme_run(code: str, tmp_path: Path) -> None:
    """Each whole app in the README takes an upload, and leaves the bytes where the README says."""
    (tmp_path / "app.py").write_text(code)
    (tmp_path / "check.py").write_text(CHECK)
    done = subprocess.run(
        [sys.executable, "check.py"], cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.stdout == "201 CREATED 204 NO CONTENT 11\nTrue\n", done.stderr
    contents = sorted(path.read_bytes() for path in (tmp_path / "instance" / "uploads").glob("?" * 32))
    assert contents == [b"hello", b"hello world"]


def test_the_hooks_of_the_readme_work(tmp_path: Path) -> None:
    """They refuse, move the file, and write down where it is."""
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "class MyUploads" in block)
    app = Flask("app", instance_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///app.sqlite"
    db = SQLAlchemy(app)

    class Document(db.Model):  # type: ignore[name-defined, misc]
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String(255))
        path = db.Column(db.String(4096))
        size = db.Column(db.Integer)

    names = {"app": app, "db": db, "Document": Document, "FlaskResumable": FlaskResumable}
    known = {"current_user": SimpleNamespace(get_id=lambda: "7"), "SQLAlchemyModel": SQLAlchemyModel}
    exec(code, {**names, **known, "UploadRejected": UploadRejected})
    tus = Tus(app.test_client())
    with app.app_context():
        db.create_all()
    for name, status in (("a.txt", 415), ("a.csv", 201)):
        headers = {"Upload-Length": "5", "Upload-Metadata": metadata(filename=name)}
        answer = tus.request("POST", headers=headers)
        assert answer.status_code == status
    assert tus.patch(answer.headers["Location"], 0, b"1;2;3").status_code == 204
    with app.app_context():
        (document,) = db.session.scalars(db.select(Document))
        assert (document.name, document.size) == ("a.csv", 5)
        path = Path(document.path)
    assert path.parent == tmp_path / "uploads" / "csv"
    assert path.read_bytes() == b"1;2;3"
    assert app.test_cli_runner().invoke(args=["tus", "verify"]).exit_code == 0


def test_the_flow_app_is_short() -> None:
    """A page and an app together, in under 30 lines."""
    assert len(APPS[1].splitlines()) < 30


def test_the_two_commands_come_first() -> None:
    """The README's first screen has the demo and the tests, and the Makefile has both."""
    screen = "\n".join(io.StringIO(README).read().splitlines()[:20])
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target} " in screen
        assert f"\n{target}:" in makefile


def test_every_page_that_is_named_is_there() -> None:
    """No link of the README or of the docs leads nowhere."""
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_tus_js_client_gets_a_full_url() -> None:
    """It resolves Location against the endpoint, and does that wrongly if the endpoint is only a path."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert not re.findall(r"endpoint: *[\"'`]/", page.read_text()), page.name


VISITS = """
import io
from concurrent.futures import ThreadPoolExecutor
from app import app

def send(cookie, number):
    client = app.test_client()
    if cookie:
        client.set_cookie("session", cookie)
    form = {"flowIdentifier": "a", "flowFilename": "a.txt", "flowTotalSize": "30", "flowTotalChunks": "3",
            "flowChunkNumber": str(number), "flowChunkSize": "10", "file": (io.BytesIO(b"0123456789"), "a.txt")}
    return client.post("/flow/", data=form)

def visit():
    client = app.test_client()
    assert client.get("/").status_code == 200
    cookie = client.get_cookie("session").value
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda number: send(cookie, number), (1, 2, 3)))
    assert any(answer.json["complete"] for answer in answers), [answer.json for answer in answers]
    (found,) = {answer.json["id"] for answer in answers}
    return found

print(len({visit(), visit()}), send(None, 1).status_code)
"""


@pytest.mark.slow
def test_the_guides_strangers_have_a_number_at_their_first_visit(tmp_path: Path) -> None:
    """The guide's app with the number in the session: the first three chunks of a first visit come at once and are one
    upload; another visitor has another one, and who has not seen the page gets 401.
    """
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "session" in block)
    (tmp_path / "app.py").write_text(code)
    (tmp_path / "check.py").write_text(VISITS)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "upload.html").write_text("<!doctype html>")
    environ = {"PYTHONPATH": str(ROOT), "FLASK_SECRET_KEY": "test"}
    done = subprocess.run([sys.executable, "check.py"], cwd=tmp_path, capture_output=True, text=True, env=environ)
    assert done.stdout == "2 401\n", done.stderr
    assert [path.read_bytes() for path in (tmp_path / "instance" / "uploads").glob("?" * 32)] == [b"0123456789" * 3] * 2


def test_the_hooks_of_the_readme_hold_for_every_client() -> None:
    """Clients need not tell a name: the example refuses such files, and does not fail."""
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if ".csv" in block)
    names: dict[str, Any] = {"FlaskResumable": FlaskResumable, "UploadRejected": UploadRejected}
    exec(code.partition("\nMyUploads(")[0], names)
    uploads = names["MyUploads"]()
    uploads.on_create(SimpleNamespace(filename="table.csv"))
    for name in (None, "", "image.png"):
        with pytest.raises(UploadRejected):
            uploads.on_create(SimpleNamespace(filename=name))

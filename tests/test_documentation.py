"""The pages of the documentation: their examples, and what they list."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from werkzeug.serving import make_server

from flask_resumable import errors
from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyModel
from flask_resumable.protocols.flow import errors as flow_errors
from flask_resumable.protocols.ietf import errors as ietf_errors
from flask_resumable.protocols.tus import errors as tus_errors

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = {page.name: page.read_text() for page in PAGES}

# A page's whole app takes a file with tus and with flow.js.
CHECK = """
from app import app
from flask_resumable.testing import UploadClient
client = app.test_client()
for protocol in ("tus", "flow", "ietf"):
    sent = UploadClient(client, protocol=protocol).upload(b"hello world", filename="a.csv", filetype="text/csv")
    assert sent.status_code < 300, sent.response.text
"""
# The same with tus alone, where there is no pytest.
CHECK_TUS = """
from app import app
client = app.test_client()
tus = {"Tus-Resumable": "1.0.0", "Upload-Metadata": "filename YS5jc3Y="}
created = client.post("/files/", headers={**tus, "Upload-Length": "11"})
headers = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
patched = client.patch("/files/" + created.headers["Location"], data=b"hello world", headers=headers)
assert patched.status_code == 204, patched.text
"""
WHOLE = ["quickstart.md"]  # the first Python example is a whole app.py


def blocks(page: str, language: str) -> list[str]:
    """The examples of a page in one language."""
    return [textwrap.dedent(code) for code in re.findall(rf"^ *```{language}\n(.*?)^ *```", TEXTS[page], re.M | re.S)]


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_examples_are_python(page: str) -> None:
    """Each example can be parsed, and imports what the package has."""
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flask_resumable"):
                module = importlib.import_module(node.module or "")
                for name in node.names:
                    assert hasattr(module, name.name), f"{node.module} has no {name.name}"


@pytest.mark.parametrize("page", sorted(set(TEXTS) - {"glossary.md"}))
def test_each_page_has_an_example(page: str) -> None:
    """Something to copy, or the docstrings of what it describes, which have examples."""
    assert re.search(r"^ *```(\w|\{eval-rst\})", TEXTS[page], re.M)


@pytest.mark.slow
@pytest.mark.parametrize("page", WHOLE)
def test_whole_apps_take_uploads(page: str, tmp_path: Path) -> None:
    """They run in a folder of their own, as a reader would run them."""
    (tmp_path / "app.py").write_text(blocks(page, "python")[0])
    (tmp_path / "check.py").write_text(CHECK)
    done = subprocess.run(
        [sys.executable, "check.py"], cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr


PROVEN = ("promises.md", "security.md")  # pages that name tests


def test_the_tests_that_prove_promises_exist() -> None:
    """The pages name files and tests, which may be renamed."""
    pages = [re.findall(r"`((?:[a-z0-9]+/)?test_\w+\.py)(?:::(\w+))?`", TEXTS[page]) for page in PROVEN]
    assert all(len(named) > 10 for named in pages)
    for path, name in [test for named in pages for test in named]:
        text = (ROOT / "tests" / path).read_text()
        assert not name or f"\ndef {name}(" in text, f"{path} has no {name}"


@contextmanager
def served(app: Flask) -> Iterator[int]:
    """The app on a port of its own."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["tuspy", "standard library", "curl"])
def test_the_scripts_upload(way: str, tmp_path: Path) -> None:
    """Each script sends a file to a server. That of the standard library continues what has begun."""
    app = Flask(__name__, instance_path=str(tmp_path / "instance"))
    resumable = FlaskResumable(app)
    content = bytes(range(256)) * 8192
    (tmp_path / "movie.mp4").write_bytes(content)
    with served(app) as port:
        if way == "curl":
            curls = [code for code in blocks("scripts.md", "console") if "-T movie.mp4" in code]
            command = curls[0].removeprefix("$ ").replace("https://example.org", f"http://127.0.0.1:{port}")
            subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True)
        else:
            tuspy, plain = blocks("scripts.md", "python")
            code = tuspy if way == "tuspy" else plain
            (tmp_path / "script.py").write_text(code.replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
            subprocess.run([sys.executable, "script.py"], cwd=tmp_path, check=True)
    with app.app_context():
        (upload,) = resumable.uploads(status="complete")
        with upload.open() as stream:
            assert stream.read() == content


def test_the_page_of_errors_has_the_statuses_of_the_protocols() -> None:
    """Each error is there, with the status that each protocol gives it, unless it does not occur there."""
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \| (\S+) \|", TEXTS["errors.md"], re.M)
    tables = (tus_errors.STATUS, flow_errors.STATUS, ietf_errors.STATUS)
    for name, *shown in rows:
        kind = getattr(errors, name)
        for status, table in zip(shown, tables, strict=True):
            known = next((table[base] for base in kind.__mro__ if base in table), None)
            assert status in ("–", str(known)) or known is None, name
    listed = {name for name, *_ in rows}
    for table in tables:
        missing = {kind.__name__ for kind in table} - listed
        assert missing <= {"UploadCompleted", "BeyondLength"}, missing


def test_the_page_about_http_has_the_statuses_of_the_protocols() -> None:
    """The table below each protocol's requests has each status that one of its errors can become."""
    sections = TEXTS["http.md"].split("\n## ")[1:]
    for section, table in zip(sections, (tus_errors.STATUS, flow_errors.STATUS, ietf_errors.STATUS), strict=True):
        listed = re.findall(r"^\| ([0-9, ]+) \|", section, re.M)
        statuses = {int(status) for cell in listed for status in cell.split(", ")}
        assert set(table.values()) <= statuses, section.partition("\n")[0]


@pytest.mark.slow
def test_the_tutorial_works(tmp_path: Path) -> None:
    """All of its files in one folder, and its own tests."""
    for language, name in (("python", r"# (\S+)"), ("html", r"<!-- (\S+) -->")):
        for code in blocks("tutorial.md", language):
            path = tmp_path / re.findall(name, code)[0]
            path.parent.mkdir(exist_ok=True)
            path.write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_the_page_of_the_record_has_every_column() -> None:
    """Of the ready-made model, and no other."""
    table = TEXTS["record.md"].partition("Ids, owners")[0]
    listed = {name for row in re.findall(r"^\| (`[^|]*) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)}
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    model = FlaskResumable(model=SQLAlchemyModel, db=SQLAlchemy(app)).model
    assert listed == {column.name for column in model.__table__.columns}

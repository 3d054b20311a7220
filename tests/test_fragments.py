"""The examples of the pages, as a reader copies them: they import what they use, and run."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyModel
from flask_resumable.testing import UploadClient
from tests.prerequisites import require_program
from tests.prerequisites import require_script
from tests.prerequisites import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
# What a fragment may use without an import, because it is the reader's own.
OWN = {"app", "db", "resumable", "admin", "current_user", "Upload", "MyUpload", "Document", "BLOCKED", "UploadAdmin"}
# The pages whose whole apps no other test runs, and what a client must send there.
WHOLE = {
    "hooks.md": {},
    "introduction.md": {},
    "index.md": {},
    "migrating.md": {},
    "phones.md": {"Authorization": "Bearer t0ken"},
    "storage.md": {},
}
# Fragments that no other test runs.
RUN = ["faq.md", "flow.md", "hooks.md", "phones.md", "storage.md", "security.md"]

# The app takes a file with each protocol.
CHECK = """
import json, sys
from app import app
from flask_resumable.testing import UploadClient
client = app.test_client()
for protocol in ("tus", "flow", "ietf"):
    client_of_protocol = UploadClient(client, protocol=protocol, headers=json.loads(sys.argv[1]))
    sent = client_of_protocol.upload(b"hello world", filename="a.csv", filetype="text/csv")
    assert sent.status_code < 300, sent.response.text
"""


@cache
def examples(page: Path) -> list[str]:
    """A page's examples in Python."""
    found = re.findall(r"^ *```python\n(.*?)^ *```", page.read_text(), re.M | re.S)
    return [textwrap.dedent(code) for code in found]


def is_whole(code: str) -> bool:
    """Whether an example is a whole app or module, rather than a part of one."""
    return "import Flask" in code and "= Flask(" in code


def names(code: str) -> Iterator[str]:
    """What an example defines, for those that follow it on its page."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((name.asname or name.name).partition(".")[0] for name in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_import_what_they_use(page: Path) -> None:
    """A whole app imports everything. A part of one may use what the page has shown above it, and the reader's own."""
    ruff = require_script("ruff", "pip install ruff")
    known = set(OWN)
    for code in examples(page):
        builtins = json.dumps(sorted(known & {"UploadAdmin"} if is_whole(code) else known))
        command = [ruff, "check", "--isolated", "--select=F821", "--config", f"builtins={builtins}", "-"]
        done = subprocess.run(command, input=code, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        known |= set(names(code))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scripts_can_be_parsed(page: Path, tmp_path: Path) -> None:
    """Each example in JavaScript, in a page that has chosen a file and has a token."""
    node = require_program("node", "apt-get install nodejs")
    scripts = re.findall(r"^ *```js\n(.*?)^ *```", page.read_text(), re.M | re.S)
    path = tmp_path / "script.mjs"
    path.write_text("\n".join(f"async () => {{\n{textwrap.dedent(code)}\n}}" for code in scripts))
    done = subprocess.run([node, "--check", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


APPS = [
    pytest.param(code, headers, id=f"{name}-{number}")
    for name, headers in WHOLE.items()
    for number, code in enumerate(filter(is_whole, examples(ROOT / "docs" / name)))
]


@pytest.mark.slow
@pytest.mark.parametrize(("code", "headers"), APPS)
def test_whole_apps_take_uploads(code: str, headers: dict[str, str], tmp_path: Path) -> None:
    """They run in a folder of their own, as a reader would run them."""
    (tmp_path / "app.py").write_text(code.replace('"/data', f'"{tmp_path}/data').replace('"/archive', f'"{tmp_path}/a'))
    (tmp_path / "check.py").write_text(CHECK)
    command = [sys.executable, "check.py", json.dumps(headers)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr


FRAGMENTS = [
    pytest.param(page, number, id=f"{page}-{number}")
    for page in RUN
    for number, code in enumerate(examples(ROOT / "docs" / page))
    if not is_whole(code) and '"s3"' not in code
]


@pytest.mark.parametrize(("page", "number"), FRAGMENTS)
def test_fragments_run(page: str, number: int, tmp_path: Path) -> None:
    """In an app as the page describes it, which then starts and answers clients of each protocol."""
    app = Flask("app", instance_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/app.sqlite"
    db = SQLAlchemy(app)
    app.add_url_rule("/photos/<photo_id>", "photo")
    own: dict[str, Any] = {"app": app, "db": db, "BLOCKED": {"eve"}, "MyUpload": SQLAlchemyModel}
    own |= {"current_user": SimpleNamespace(get_id=lambda: None), "__name__": "app"}
    shown = examples(ROOT / "docs" / page)
    imports = [ast.unparse(node) for code in shown[:number] for node in ast.parse(code).body if "Import" in str(node)]
    code = "\n".join([*(line for line in imports if "flask_login" not in line), shown[number]])
    exec(compile(code, page, "exec", dont_inherit=True), own)
    kinds = [kind for kind in own.values() if isinstance(kind, type) and issubclass(kind, FlaskResumable)]
    own["resumable"] = kinds[-1](app, model=SQLAlchemyModel, db=db) if kinds else FlaskResumable(app)
    for protocol in ("tus", "flow", "ietf"):
        content = zlib.compress(b"hello world")  # an example expands chunks
        sent = UploadClient(app.test_client(), protocol=protocol).upload(content, filename="a.csv")
        assert sent.status_code < 500, sent.response.text
    for url in ("/documents",) if "/documents" in code else ():
        assert app.test_client().get(url).status_code == 200

"""What docs/api.md says is public, is there and works."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest

import flask_resumable
from flask_resumable import FlaskResumable
from flask_resumable import Upload

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "api.md").read_text()

CHECK = """
from app import app
client = app.test_client()
tus = {"Tus-Resumable": "1.0.0", "X-User": "ann"}
named = {"Upload-Length": "5", "Upload-Metadata": "filename YS50eHQ="}
assert client.post("/files/", headers={**tus, "Upload-Length": "5"}).status_code == 400
created = client.post("/files/", headers={**tus, **named})
patch = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
assert client.patch("/files/" + created.headers["Location"], data=b"hello", headers=patch).status_code == 204
(found,) = client.get("/mine", headers=tus).json
print(found["name"], client.get(found["url"], headers=tus).text)
assert client.get("/mine?after=" + found["id"], headers=tus).json == client.get("/mine").json == []
url = "/mine/" + found["id"]
print(client.get(url, headers=tus).json["sha256"][:8], client.get(url).status_code)
print(client.delete(url).status_code, client.delete(url, headers=tus).status_code)
print(client.get("/mine", headers=tus).json)
"""


def _table(title: str) -> list[tuple[str, str]]:
    """The first two cells of each row below a heading."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|", section, re.M)
    return [(first, second) for first, second in rows]


@pytest.mark.slow
def test_the_app_of_the_page_works(tmp_path: Path) -> None:
    """It lists, shows and deletes the uploads of who asks, and nobody else's."""
    (code,) = re.findall(r"```python\n(from.*?)```", PAGE, re.DOTALL)
    (tmp_path / "app.py").write_text(code)
    (tmp_path / "check.py").write_text(CHECK)
    done = subprocess.run(
        [sys.executable, "check.py"], cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.stdout == "a.txt hello\n2cf24dba 404\n404 204\n[]\n", done.stderr


def test_the_names_can_be_imported() -> None:
    """Each name of the page is where the page says, and ``__all__`` has no other."""
    for module_cell, names in _table("Names to import"):
        module = importlib.import_module(module_cell.strip("`"))
        listed = {name for name in re.findall(r"`(\w+)`", names.partition(":")[0])}
        assert all(hasattr(module, name) for name in listed), module
        if hasattr(module, "__all__"):
            assert set(module.__all__) == listed, module


def test_each_name_is_described() -> None:
    """The pages that are made from docstrings have each public name, at the place from which it is imported."""
    described = set()
    for page in ("python.md", "interfaces.md"):
        module = ""
        for directive, name in re.findall(r"^\.\. (\w+):: (\S+)$", (ROOT / "docs" / page).read_text(), re.MULTILINE):
            module = name if directive.endswith("module") else module
            described.add(f"{module}.{name}")
    described |= {f"flask_resumable.{name}" for name in ("ConfigurationError", "ResumableError", "UploadRejected")}
    public = {
        f"{module.strip('`')}.{name}"
        for module, names in _table("Names to import")
        for name in re.findall(r"`(\w+)`", names.partition(":")[0])
    }
    assert "flask_resumable.errors.flask_resumable.errors" in described  # all of them
    assert public - described == set()


def test_every_public_method_and_attribute_is_on_the_page() -> None:
    """Neither the extension nor an upload has anything public that is not listed, or the other way round."""
    own = {name for name in vars(FlaskResumable) if not name.startswith("_")}
    section = PAGE.split("\n## `FlaskResumable`\n")[1].split("\n## ")[0]
    assert own - set(re.findall(r"`(\w+)", section)) == set()
    listed = {name for cell, _ in _table("`Upload`") for name in re.findall(r"`(\w+)", cell)}
    assert listed == {name for name in vars(Upload) if not name.startswith("_")}


def test_the_errors_are_there() -> None:
    """Each error of the page exists, and is caught by the base class."""
    for cell, _ in _table("Errors"):
        error = getattr(flask_resumable.errors, re.findall(r"\w+", cell)[0])
        assert issubclass(error, flask_resumable.ResumableError)


def test_arguments_are_as_shown() -> None:
    """The signatures on the page are those of the code."""
    for name in ("get", "uploads", "delete", "url_for"):
        shown = re.findall(rf"`{name}\((.*?)\)`", PAGE)[0]
        named = [part.split("=")[0].strip("* ") for part in shown.split(", ")]
        assert [part for part in ["self", *named] if part] == [*signature(getattr(FlaskResumable, name)).parameters]


DEMO_APART = {"__main__.py", "counting.py", "gunicorn_config.py", "relay.py"}  # which know nothing of uploads


def test_the_demo_uses_nothing_else() -> None:
    """It imports only what the page lists, and does not reach into the extension."""
    listed = {
        f"{module.strip('`')}.{name}"
        for module, names in _table("Names to import")
        for name in re.findall(r"`(\w+)`", names.partition(":")[0])
    }
    for path in (ROOT / "demo").glob("*.py"):
        source = path.read_text()
        used = {
            f"{node.module}.{alias.name}"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flask_resumable")
            for alias in node.names
        }
        assert used <= listed and (used or path.name in DEMO_APART), path
        assert ".extensions" not in source and not re.search(r"(?<!self)\._(?!_)", source), path

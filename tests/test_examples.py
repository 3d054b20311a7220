"""The examples in the README, the docs and the docstrings hold for every client, not only for those that say a lot."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask import url_for
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy

import flask_resumable
from flask_resumable import FlaskResumable
from flask_resumable import UploadRejected
from flask_resumable.models import SQLAlchemyModel

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = sorted(Path(flask_resumable.__file__).parent.rglob("*.py"))
MAY_LACK_LENGTH = (
    "on_create",
    "pre_save",
    "post_save",
    "choose_id",
    "choose_storage",
    "choose_folder",
    "pre_delete",
    "post_delete",
)


def examples() -> Iterator[tuple[str, str]]:
    """Each example in Python that mentions an upload, with its place."""
    for page in PAGES:
        for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)):
            yield f"{page.name}-{number}", code
    for module in MODULES:
        source = module.read_text()
        if "::\n\n" not in source:
            continue  # parsing all modules takes seconds, whenever tests are collected
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
                text = ast.get_docstring(node) or ""
                for number, code in enumerate(re.findall(r"::\n\n((?: {4}.*\n?|\n)+)", text)):
                    yield f"{module.stem}-{getattr(node, 'name', '')}-{number}", textwrap.dedent(code)


def parsed(code: str) -> ast.Module | None:
    """The example, if it is Python that can be parsed on its own."""
    try:
        return ast.parse(code)
    except SyntaxError:
        return None


EXAMPLES = [pytest.param(tree, id=place) for place, code in examples() if "upload." in code and (tree := parsed(code))]


def is_of_upload(node: ast.AST, name: str) -> bool:
    """Whether this is ``upload.<name>``."""
    return isinstance(node, ast.Attribute) and node.attr == name and ast.unparse(node.value) == "upload"


def fragile(tree: ast.AST) -> Iterator[str]:
    """What fails if an upload has no name, no metadata or no length."""
    for node in ast.walk(tree):
        parts: list[ast.expr] = []
        if isinstance(node, ast.Attribute | ast.Subscript):
            parts = [node.value]
        elif isinstance(node, ast.BinOp):
            parts = [node.left, node.right] if not isinstance(node.op, ast.Mod) else [node.left]
        elif isinstance(node, ast.Compare):
            parts = [*node.comparators] if isinstance(node.ops[0], ast.In | ast.NotIn) else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("Path", "splitext", "len"):
            parts = [*node.args]
        if any(is_of_upload(part, "filename") for part in parts):
            yield ast.unparse(node)
        if isinstance(node, ast.Subscript) and is_of_upload(node.value, "metadata"):
            yield ast.unparse(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in MAY_LACK_LENGTH:
            for inner in ast.walk(node):
                operands = [inner.left, *inner.comparators] if isinstance(inner, ast.Compare) else []
                operands += [inner.left, inner.right] if isinstance(inner, ast.BinOp) else []
                if any(is_of_upload(operand, "length") for operand in operands):
                    yield ast.unparse(inner)


@pytest.mark.parametrize("tree", EXAMPLES)
def test_examples_expect_no_name_and_no_length(tree: ast.Module) -> None:
    """A client may leave out the name, all metadata and, at first, the length; no example fails then."""
    assert list(fragile(tree)) == []


FRAGILE = ["upload.filename.endswith", "Path(upload.filename)", "'.' in upload.filename", "upload.metadata['a']"]


@pytest.mark.parametrize("code", FRAGILE)
def test_fragile_examples_are_recognized(code: str) -> None:
    """Otherwise the test above would find nothing."""
    assert list(fragile(ast.parse(code))) == [code]


# --- the hooks of the README, run ---


def tus(client: FlaskClient) -> int:
    """A file without a name, whose length is known only at its end; the last status."""
    headers = {"Tus-Resumable": "1.0.0", "Upload-Defer-Length": "1"}
    created = client.post("/files/", headers=headers)
    if created.status_code != 201:
        return created.status_code
    content = {"Upload-Length": "5", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    url = f"/files/{created.headers['Location']}"
    return client.patch(url, data=b"hello", headers={"Tus-Resumable": "1.0.0", **content}).status_code


def ietf(client: FlaskClient) -> int:
    """The same with the draft, which has no metadata."""
    created = client.post("/files/", headers={"Upload-Complete": "?0"})
    if created.status_code != 201:
        return created.status_code
    headers = {"Upload-Complete": "?1", "Upload-Offset": "0", "Content-Type": "application/partial-upload"}
    return client.patch(f"/files/{created.headers['Location']}", data=b"hello", headers=headers).status_code


def flow(client: FlaskClient) -> int:
    """A chunk of a file without a name."""
    query = {"flowIdentifier": "a", "flowTotalSize": "5", "flowTotalChunks": "1", "flowChunkNumber": "1"}
    return client.post("/flow/", query_string={**query, "flowChunkSize": "5"}, data=b"hello").status_code


def set_up(name: str, app: Flask, db: Any, document: Any) -> None:
    """The class of this name from the README, with what it needs around it."""
    text = "\n".join((ROOT / page).read_text() for page in ("README.md", "docs/hooks.md"))
    code = next(block for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S) if name in block)
    known = {
        "app": app,
        "db": db,
        "Document": document,
        "FlaskResumable": FlaskResumable,
        "UploadRejected": UploadRejected,
    }
    known |= {
        "url_for": url_for,
        "current_user": SimpleNamespace(get_id=lambda: "7"),
        "SQLAlchemyModel": SQLAlchemyModel,
    }
    exec(code, known)
    if "Uploads" in known:
        known["Uploads"](app, model=SQLAlchemyModel, db=db)


@pytest.mark.parametrize("send", [tus, ietf, flow])
@pytest.mark.parametrize("name", ["class MyUploads", 'url_for("photo"'])
def test_the_hooks_of_the_readme_meet_clients_that_say_little(tmp_path: Path, name: str, send: Any) -> None:
    """They complete the upload or refuse it with a reason, and never fail."""
    app = Flask("app", instance_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///app.sqlite"
    db = SQLAlchemy(app)

    class Document(db.Model):  # type: ignore[name-defined, misc]
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String(255))
        path = db.Column(db.String(4096))
        size = db.Column(db.Integer)

    app.add_url_rule("/photos/<photo_id>", "photo")
    set_up(name, app, db, Document)
    with app.app_context():
        db.create_all()
    status = send(app.test_client())
    assert status in ((415,) if name == "class MyUploads" else (200, 201, 204))

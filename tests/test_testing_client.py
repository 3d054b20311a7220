"""``flask_resumable.testing``: what apps use in their own tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable.testing import ManualClock
from flask_resumable.testing import UploadClient

ROOT = Path(__file__).parents[1]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def resumable() -> FlaskResumable:
    return FlaskResumable()


@pytest.fixture
def app(tmp_path: Path, resumable: FlaskResumable, clock: ManualClock) -> Flask:
    app = Flask(__name__, instance_path=str(tmp_path))
    resumable.init_app(app, now=clock)
    return app


@pytest.mark.parametrize("protocol", ["tus", "flow", "ietf"])
@pytest.mark.parametrize(("content", "chunk_size"), [(b"", None), (b"hello", None), (b"hello world", 3), (b"abc", 9)])
def test_a_file_arrives(
    app: Flask, resumable: FlaskResumable, protocol: str, content: bytes, chunk_size: int | None
) -> None:
    """In one piece or in several, with its name and what else is said about it."""
    client = UploadClient(app.test_client(), protocol=protocol)
    sent = client.upload(content, filename="grüße.txt", chunk_size=chunk_size, album="sea, and sand")
    assert sent.status_code < 300, sent.response.text
    with app.app_context():
        upload = resumable.get(sent.id)
        assert upload is not None and upload.complete
        assert (upload.filename, upload.metadata["album"]) == ("grüße.txt", "sea, and sand")
        with upload.open() as stream:
            assert stream.read() == content


def test_a_protocol_that_is_not_served_is_named(app: Flask) -> None:
    """A typo in a test must not look like a refused upload."""
    with pytest.raises(ValueError, match="tus, ietf, flow"):
        UploadClient(app.test_client(), protocol="tos")


@pytest.mark.parametrize("call", ["create", "append", "offset"])
def test_flow_has_no_uploads_without_content(app: Flask, call: str) -> None:
    """A method that its client does not have says what to use, instead of sending what the app cannot understand."""
    client = UploadClient(app.test_client(), protocol="flow")
    calls: dict[str, Callable[[], object]] = {
        "create": lambda: client.create(5),
        "append": lambda: client.append("/flow/x", b"hello", offset=0),
        "offset": lambda: client.offset("/flow/x"),
    }
    with pytest.raises(ValueError, match=rf"{call}\(\) is for tus and the IETF draft.*upload\(\)"):
        calls[call]()


@pytest.mark.parametrize("protocol", ["tus", "ietf"])
def test_an_offset_that_nobody_gets_is_explained(app: Flask, protocol: str) -> None:
    """By the status of the response."""
    with pytest.raises(ValueError, match="404 NOT FOUND"):
        UploadClient(app.test_client(), protocol=protocol).offset(f"/files/{'0' * 32}")


def test_each_app_has_its_own_clock(tmp_path: Path, resumable: FlaskResumable, app: Flask, clock: ManualClock) -> None:
    """One object can serve the app of a test and another one."""
    other = Flask("other", instance_path=str(tmp_path / "other"))
    resumable.init_app(other)
    clock.advance(days=-30)
    created = []
    for client in (app.test_client(), other.test_client()):
        sent = UploadClient(client).create(5)
        with client.application.app_context():
            upload = resumable.get(sent.id)
            assert upload is not None
            created.append(upload.created_at)
    assert (created[1] - created[0]).days in (29, 30)


def test_large_forms_leave_no_open_file(app: Flask) -> None:
    """Werkzeug keeps them in a temporary file, and a test that treats warnings as errors would fail."""
    sent = UploadClient(app.test_client(), protocol="flow").upload(bytes(600_000))
    assert sent.status_code == 200
    assert sent.response.request.input_stream.closed


def test_the_examples_of_the_page_pass(tmp_path: Path) -> None:
    """All files on the page about tests, run as they are."""
    page = (ROOT / "docs" / "testing.md").read_text()
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "6 passed" in done.stdout, done.stdout + done.stderr

"""An upload has what is promised of it, whatever keeps its state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable import Upload
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import Tus

from .kinds import MONGO
from .kinds import SQL
from .kinds import VIEWS
from .kinds import wiring

ROOT = Path(__file__).parents[2]
PROMISED = sorted(name for name in vars(Upload) if not name.startswith("_"))
CALLED = {"digest": ("sha1",), "move_to": ("moved.txt",), "open": ()}
KINDS = [*VIEWS, *SQL, *(pytest.param(kind, marks=pytest.mark.xdist_group("mongo")) for kind in MONGO)]
HEADERS = {"Upload-Length": "5", "Upload-Metadata": metadata(filename="a.txt", filetype="text/plain")}
# Columns of the examples' own models, and what an ORM has besides.
OF_TUS_JS_CLIENT = {"findPreviousUploads", "resumeFromPreviousUpload", "start"}  # in pages that an app returns
EXAMPLES = {"caption", "documents", "project", "save", "tags", "title", *OF_TUS_JS_CLIENT}


class Looking(FlaskResumable):
    """Keeps all that ``on_complete`` can find out."""

    def __init__(self, **wiring: Any) -> None:
        self.found: dict[str, Any] = {}
        super().__init__(**wiring)

    def current_owner(self) -> Any:
        return 7

    def on_complete(self, upload: Upload) -> None:
        for name in PROMISED:
            value = getattr(upload, name)
            self.found[name] = value(*CALLED[name]) if name in CALLED else value
        with self.found["open"] as stream:
            self.found["open"] = stream.read()


@pytest.fixture(params=KINDS)
def wired(request: pytest.FixtureRequest, app: Flask, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What makes an app keep its state in each way."""
    uri = request.getfixturevalue("mongo").uri if request.param in MONGO else None
    with wiring(request.param, app, tmp_path, uri) as arguments:
        yield arguments


def test_a_hook_finds_all_that_is_promised(app: Flask, wired: dict[str, Any]) -> None:
    """Every attribute and method of ``Upload`` is there in a hook, and says the same on every kind of state."""
    uploads = Looking(**wired)
    uploads.init_app(app)
    tus = Tus(app.test_client())
    url = tus.request("POST", headers=HEADERS).headers["Location"]
    assert tus.patch(url, 0, b"hello").status_code == 204
    found = uploads.found
    assert found.pop("id") == url.rpartition("/")[2]
    assert dict(found.pop("metadata")) == {"filename": "a.txt", "filetype": "text/plain"}
    times = [found.pop(name) for name in ("created_at", "created_on", "updated_at", "expires_at")]
    assert all(isinstance(time, datetime) and time.utcoffset() == timedelta(0) for time in times)
    assert times[0] == times[1] <= times[2] < times[3]
    assert isinstance(found.pop("is_busy"), bool)
    folder = Path(app.instance_path, "uploads")
    assert found == {
        "complete": True,
        "digest": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
        "filename": "a.txt",
        "is_final": False,
        "is_partial": False,
        "length": 5,
        "max_size": None,
        "md5": "5d41402abc4b2a76b9719d911017c592",
        "move_to": folder / "moved.txt",
        "offset": 5,
        "open": b"hello",
        "owner": "7",
        "path": folder / "moved.txt",
        "processing_reason": None,
        "processing_state": None,
        "raw_metadata": HEADERS["Upload-Metadata"],
        "received": 5,
        "status": "complete",
    }


def test_the_pages_promise_nothing_else() -> None:
    """Whatever ``upload.something`` a page of the documentation has is in ``Upload``, or in a model on that page."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = re.sub(r"[\w-]+\.html|```(?:js|html|sh|console|nginx)\n.*?```", "", page.read_text(), flags=re.DOTALL)
        named = set(re.findall(r"(?<![\w./])upload\.([a-z]\w*)", text))
        assert named <= {*PROMISED, *EXAMPLES}, page.name

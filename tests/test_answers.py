"""What ``on_complete`` answers: kept with the upload, told in each protocol's way, and told again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import Answer
from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyModel
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample

CONTENT = b"0123456789"
ANSWER = Answer("processed", {"X-File": "7", "Upload-Offset": "0"})


@pytest.fixture(params=["embedded", "flask_sqlalchemy", "flask_sqlalchemy, commits"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Flask:
    """An app whose hook answers, with the embedded database or its own; there, the hook may commit by itself."""
    app = Flask("app", instance_path=str(tmp_path))
    db = SQLAlchemy()

    class Uploads(FlaskResumable):
        def on_complete(self, upload: Any) -> Any:
            if "commits" in request.param:
                db.session.commit()
            return ANSWER if upload.length == len(CONTENT) else "whatever"

    if request.param == "embedded":
        Uploads(app)
    else:
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.sqlite'}"
        db.init_app(app)
        Uploads(app, model=SQLAlchemyModel, db=db)
    return app


def test_tus_adds_its_header_fields(app: Flask) -> None:
    """The answer to the last content carries them, and so does that to a client that asks once more."""
    tus = Tus(app.test_client())
    url = tus.new(len(CONTENT))
    assert "X-File" not in tus.patch(url, 0, CONTENT[:4]).headers
    for offset, content in ((4, CONTENT[4:]), (len(CONTENT), b"")):
        answer = tus.patch(url, offset, content)
        assert (answer.status_code, answer.headers["X-File"]) == (204, "7")
        assert answer.headers["Upload-Offset"] == str(len(CONTENT))


def test_flow_tells_its_body(app: Flask) -> None:
    """With the last chunk, and to tests afterwards."""
    flow = Flow(app.test_client())
    file = Sample(CONTENT, 4)
    assert "answer" not in (flow.octet(file, 1).json or {})
    assert (flow.octet(file, 2).json or {})["answer"] == "processed"
    assert (flow.test(file, 1).json or {})["answer"] == "processed"


def test_other_results_of_hooks_do_not_count(app: Flask) -> None:
    """Only an ``Answer`` is one."""
    tus = Tus(app.test_client())
    url = tus.new(3)
    assert tus.patch(url, 0, b"abc").status_code == 204
    assert app.extensions["resumable"].repository.get(url.rpartition("/")[2]).answer is None

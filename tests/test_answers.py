"""What ``on_complete`` answers: kept with the upload, sent in each protocol's way, and sent again."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask import jsonify
from flask import make_response
from flask import Response
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import Answer
from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyModel
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample

CONTENT = b"0123456789"
HEADERS = {"X-File": "7", "Upload-Offset": "0", "Location": "/elsewhere"}
TEXT = "text/plain; charset=utf-8"


class Site:
    """An app whose ``on_complete`` returns what the test wants."""

    def __init__(self, home: Path, kind: str = "embedded") -> None:
        self.app = Flask("app", instance_path=str(home))
        self.answer: Callable[[], Any] = lambda: Answer("processed", HEADERS)
        db = SQLAlchemy()
        site = self

        class Uploads(FlaskResumable):
            def on_complete(self, upload: Any) -> Any:
                if "commits" in kind:
                    db.session.commit()
                return site.answer()

        if kind == "embedded":
            Uploads(self.app)
        else:
            self.app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{home / 'app.sqlite'}"
            db.init_app(self.app)
            Uploads(self.app, model=SQLAlchemyModel, db=db)
        self.tus = Tus(self.app.test_client())
        self.flow = Flow(self.app.test_client())


@pytest.fixture(params=["embedded", "flask_sqlalchemy", "flask_sqlalchemy, commits"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """With the embedded database or its own; there, the hook may commit by itself."""
    return Site(tmp_path, request.param)


def test_tus_clients_get_all_of_it(site: Site) -> None:
    """With the last content, and again if they ask; what is the protocol's own is not replaced."""
    url = site.tus.new(len(CONTENT))
    first = site.tus.patch(url, 0, CONTENT[:4])
    assert (first.status_code, first.data) == (204, b"") and "X-File" not in first.headers
    for offset, content in ((4, CONTENT[4:]), (len(CONTENT), b"")):
        answer = site.tus.patch(url, offset, content)
        assert (answer.status_code, answer.data, answer.headers["X-File"]) == (200, b"processed", "7")
        assert answer.headers["Upload-Offset"] == str(len(CONTENT))
        assert "Location" not in answer.headers
    head = site.tus.head(url)
    assert (head.status_code, head.headers["X-File"]) == (200, "7")
    assert head.headers["Upload-Offset"] == str(len(CONTENT))


def test_tus_clients_get_it_with_a_creation(site: Site) -> None:
    """A creation is a 201 with the upload's own URL; a repeated one has the same answer."""
    site.answer = lambda: ({"id": 7}, 202)
    urls = set()
    for _ in range(2):
        answer = site.tus.create_with(CONTENT, len(CONTENT), {"Idempotency-Key": "a"})
        assert (answer.status_code, answer.json) == (201, {"id": 7})
        urls.add(answer.headers["Location"])
    assert len(urls) == 1


def test_an_answer_without_a_body_leaves_the_status_to_the_protocol(site: Site) -> None:
    """Only its headers are added, without those that describe a body."""
    site.answer = lambda: Answer("", {"X-File": "7", "Content-Type": "text/css"}, 201)
    answer = site.tus.patch(site.tus.new(3), 0, b"abc")
    assert (answer.status_code, answer.headers["X-File"], answer.headers.get("Content-Type")) == (204, "7", None)


def test_flow_clients_get_it_in_each_response(site: Site) -> None:
    """With the last chunk, a repeated one, a test, and in what is told of the upload."""
    site.answer = lambda: ({"url": "/photos/7"}, 201, {"X-File": "7"})
    file = Sample(CONTENT, 4)
    assert "answer" not in (site.flow.octet(file, 1).json or {})
    site.flow.octet(file, 3)
    for response in (site.flow.octet(file, 2), site.flow.octet(file, 1), site.flow.test(file, 1)):
        assert (response.status_code, response.headers["X-File"]) == (201, "7")
        assert response.json is not None and response.json["answer"] == {"url": "/photos/7"}
        assert response.content_type == "application/json"
    shown = site.app.test_client().get(f"/flow/{(response.json or {})['id']}")
    assert shown.json is not None and shown.json["answer"] == {"url": "/photos/7"}


def test_parts_have_no_answer_but_the_whole_has(site: Site) -> None:
    """The hook is not called for a part."""
    part = site.tus.new(3, {"Upload-Concat": "partial"})
    assert site.tus.patch(part, 0, b"abc").status_code == 204
    final = site.tus.create(headers={"Upload-Concat": f"final;{part}"})
    assert (final.status_code, final.data) == (201, b"processed")


@pytest.mark.parametrize(
    ("returned", "status", "content_type", "body"),
    [
        (lambda: "Grüße", 200, TEXT, "Grüße".encode()),
        (lambda: b"\xff\x00", 200, TEXT, b"\xff\x00"),
        (lambda: {"at": datetime.date(2026, 1, 2)}, 200, "application/json", None),
        (lambda: ["a", 1], 200, "application/json", b'["a", 1]'),
        (lambda: ("done", 202), 202, TEXT, b"done"),
        (lambda: ({"a": 1}, 201, {"content-type": "application/problem+json"}), 201, "application/problem+json", None),
        (lambda: ("<b>", [("Content-Type", "text/html")]), 200, "text/html", b"<b>"),
        (lambda: Response("x", 202, content_type="text/csv"), 202, "text/csv", b"x"),
        (lambda: ("x", HTTPStatus.ACCEPTED, {"X-Count": 7, "X-Tag": ["a", "b"]}), 202, TEXT, b"x"),
        (lambda: jsonify(a=1), 200, "application/json", None),
        (lambda: (make_response("x"), 201), 201, "text/html; charset=utf-8", b"x"),
        (lambda: None, 204, None, b""),
    ],
)
def test_it_may_be_what_a_view_may_return(
    tmp_path: Path, returned: Callable[[], Any], status: int, content_type: str | None, body: bytes | None
) -> None:
    """It becomes the same response as from a view, apart from text, which is not HTML."""
    site = Site(tmp_path)
    site.answer = returned
    answer = site.tus.patch(site.tus.new(3), 0, b"abc")
    assert (answer.status_code, answer.headers.get("Content-Type")) == (status, content_type)
    if body is None:
        assert answer.json
    else:
        assert answer.data == body


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (lambda: ("", 204), "200, 201 or 202, not 204"),
        (lambda: ("", 302), "Raise UploadRejected"),
        (lambda: Response(status=404), "not 404"),
        (lambda: "x" * 16_385, "at most 16384 bytes"),
        (lambda: ("", {"X-Long": "x" * 4096}), "at most 4096 bytes"),
        (lambda: ("", {"Set-Cookie": "a=b"}), "Set-Cookie"),
        (lambda: ("", {"Access-Control-Allow-Origin": "*"}), "after_this_request"),
        (lambda: Response("x", headers={"Content-Encoding": "gzip"}), "Content-Encoding"),
        (lambda: Answer("", {"X-A": "b\r\nX-C: d"}), "not a valid value"),
        (lambda: ("", {"X-A": "b\r\nX-C: d"}), "newline"),
        (lambda: ("", {"X A": "b"}), "not a valid name"),
        (lambda: Response(iter(["a"])), "streams"),
        (lambda: 7, "returned int"),
        (lambda: (object(), 200), "returned object"),
        (lambda: ("", "201 CREATED"), "as a status"),
        (lambda: ("", True), "as a status"),
    ],
)
def test_what_clients_would_stumble_over_is_refused_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, returned: Callable[[], Any], problem: str
) -> None:
    """The developer finds the reason in the log, and the upload can be completed once the hook is mended."""
    site = Site(tmp_path)
    site.answer = returned
    url = site.tus.new(3)
    assert site.tus.patch(url, 0, b"abc").status_code == 500
    assert problem in caplog.text
    site.answer = lambda: "mended"
    assert site.tus.patch(url, 3, b"").data == b"mended"


def test_a_hook_may_be_async(tmp_path: Path) -> None:
    """What it returns counts, too."""
    app = Flask("app", instance_path=str(tmp_path))

    class Uploads(FlaskResumable):
        async def on_complete(self, upload: Any) -> Any:
            return {"id": upload.id}, 201

    Uploads(app)
    tus = Tus(app.test_client())
    url = tus.new(3, {"Upload-Metadata": metadata(filename="a")})
    answer = tus.patch(url, 0, b"abc")
    assert (answer.status_code, json.loads(answer.data)) == (201, {"id": url.rpartition("/")[2]})

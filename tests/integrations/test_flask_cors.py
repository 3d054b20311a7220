"""Flask-CORS, and the guide's apps for pages of other origins."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask_cors import CORS

from flask_resumable import FlaskResumable

from .guide import running
from .visitor import is_refused
from .visitor import PROTOCOLS
from .visitor import Visitor

GUIDE = "flask_cors"
PAGE = "https://www.example.org"
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@every_protocol
def test_it_can_serve_the_rest_of_the_app(guide: ModuleType, protocol: str) -> None:
    """Each of the two answers for its own URLs."""
    page = Visitor(guide.app, Origin=PAGE)
    page.upload(protocol)
    answers = (page.create(protocol), page.client.get("/api/me", headers={"Origin": PAGE}))
    for answer in (*answers, page.preflight(protocol, Origin=PAGE)):
        assert answer.headers.getlist("Access-Control-Allow-Origin") == [PAGE]


@every_protocol
@pytest.mark.parametrize("origin", [PAGE, "https://pr-7.preview.example.org"])
def test_the_guides_page_sends_and_reads_headers_of_its_own(tmp_path: Path, protocol: str, origin: str) -> None:
    """The guide's app without Flask-CORS."""
    with running("", tmp_path) as guide:
        page = Visitor(guide.app, Origin=origin, X_API_Key="k3y")
        asked = page.preflight(protocol, Origin=origin, Access_Control_Request_Headers="traceparent,x-api-key")
        assert asked.status_code == 204
        assert {"X-API-Key", "traceparent"} <= {*asked.headers["Access-Control-Allow-Headers"].split(", ")}
        page.upload(protocol)
        assert "X-Document" in page.create(protocol).headers["Access-Control-Expose-Headers"]
        refused = Visitor(guide.app, Origin=origin).create(protocol)
        assert is_refused(refused, protocol, 401)
        assert refused.headers["Access-Control-Allow-Origin"] == origin
        other = Visitor(guide.app).preflight(protocol, Origin="https://example.org")
        assert "Access-Control-Allow-Origin" not in other.headers


@every_protocol
@pytest.mark.parametrize("is_first", [True, False])
def test_it_can_serve_uploads_alone(tmp_path: Path, protocol: str, is_first: bool) -> None:
    """Without CORS_ORIGINS, it decides everything, whichever extension is set up first."""
    app = Flask("app", instance_path=str(tmp_path))
    settings: dict[str, Any] = {
        "origins": [PAGE],
        "expose_headers": ["Location", "Upload-Offset"],
        "supports_credentials": True,
    }
    if is_first:
        CORS(app, **settings)
    FlaskResumable(app)
    if not is_first:
        CORS(app, **settings)
    page = Visitor(app, Origin=PAGE)
    page.upload(protocol)
    for answer in (page.create(protocol), page.head(), page.preflight(protocol, Origin=PAGE)):
        assert answer.headers.getlist("Access-Control-Allow-Origin") == [PAGE]
        assert answer.headers.getlist("Access-Control-Allow-Credentials") == ["true"]
        assert answer.headers.getlist("Access-Control-Expose-Headers") == ["Location, Upload-Offset"]
    assert "Access-Control-Allow-Origin" not in Visitor(app, Origin="https://evil.example").create(protocol).headers

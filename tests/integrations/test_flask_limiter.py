"""Flask-Limiter: limits for pages and limits for uploads."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask import Response
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from flask_resumable import FlaskResumable

from .visitor import CONTENT
from .visitor import is_refused
from .visitor import PROTOCOLS
from .visitor import Visitor

GUIDE = "flask_limiter"
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@every_protocol
def test_creations_are_limited_and_nothing_else(guide: ModuleType, protocol: str) -> None:
    """Twenty files, and as many requests as they take."""
    client = Visitor(guide.app)
    ids = [client.upload(protocol) for _ in range(20)]
    for upload_id in ids * 11:
        assert client.head(upload_id).status_code == 200
    for other in PROTOCOLS:
        refused = client.create(other)
        assert is_refused(refused, other, 429)
        assert "20 per 1 hour" in refused.text
    with guide.app.app_context():
        assert len([*guide.uploads.uploads()]) == 20


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """An app without limits."""
    app = Flask("app", instance_path=str(tmp_path))
    app.config["RESUMABLE_CORS_ORIGINS"] = ["https://app.example"]
    app.config["RATELIMIT_STORAGE_URI"] = "memory://"
    return app


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("has_headers", [True, False])
def test_a_limit_does_not_cost_an_upload(app: Flask, is_first: bool, has_headers: bool) -> None:
    """A HEAD over the limit gets a 423 with Retry-After, so tus-js-client keeps the upload; the rest gets the 429."""
    limits: dict[str, Any] = {"default_limits": ["3 per hour"], "headers_enabled": has_headers}
    if is_first:
        Limiter(get_remote_address, app=app, **limits)
    FlaskResumable(app)
    if not is_first:
        Limiter(get_remote_address, app=app, **limits)
    client = Visitor(app, Origin="https://app.example")
    upload_id = client.create().headers["Location"]
    assert [client.head(upload_id).status_code for _ in range(4)] == [200, 200, 200, 423]
    for response in (client.head(upload_id), client.patch(upload_id)):
        (seconds,) = response.headers.getlist("Retry-After") or ("0",)
        assert int(seconds) > 1 or not has_headers
        assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert client.head(upload_id).headers["Retry-After"]
    assert is_refused(client.patch(upload_id), "tus", 429)
    assert client.preflight("tus", Origin="https://app.example").status_code == 204


@every_protocol
def test_a_limit_of_the_app_is_told_in_the_protocol(app: Flask, protocol: str) -> None:
    """In all of them, and whatever response the limiter has made."""

    def show_page(limit: object) -> Response:
        return Response("<h1>Too many</h1>", 429, {"Retry-After": "60"})

    Limiter(get_remote_address, app=app, default_limits=["1 per hour"], on_breach=show_page)
    FlaskResumable(app)
    client = Visitor(app)
    assert client.create(protocol).status_code in (200, 201)
    refused = client.create(protocol)
    assert is_refused(refused, protocol, 429)
    assert refused.headers["Retry-After"] == "60"


@every_protocol
@pytest.mark.parametrize("is_first", [True, False])
def test_uploads_can_be_exempt(app: Flask, protocol: str, is_first: bool) -> None:
    """From limits of the app and of the extension."""
    limiter = Limiter(get_remote_address, default_limits=["1 per hour"], application_limits=["1 per hour"])
    if is_first:
        limiter.init_app(app)
    uploads = FlaskResumable(app)
    if not is_first:
        limiter.init_app(app)
    for blueprint in uploads.blueprints(app).values():
        limiter.exempt(blueprint)
    app.add_url_rule("/", view_func=lambda: "page")
    client = Visitor(app)
    for _ in range(3):
        client.upload(protocol)
    assert [client.client.get("/").status_code for _ in range(2)] == [200, 429]


def test_a_blueprint_can_have_limits_of_its_own(app: Flask) -> None:
    """Such as one for methods that send content."""
    limiter = Limiter(get_remote_address, app=app)
    uploads = FlaskResumable(app)
    limiter.limit("2 per hour", methods=["PATCH"])(uploads.blueprints(app)["tus"])
    client = Visitor(app)
    assert [client.patch(client.create().headers["Location"]).status_code for _ in range(3)] == [204, 204, 429]
    assert len(CONTENT) == 5

"""Flask-WTF: CSRF tokens."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from flask import Flask
from flask import render_template_string
from flask_wtf.csrf import CSRFProtect

from flask_resumable import FlaskResumable

from .visitor import is_refused
from .visitor import PROTOCOLS
from .visitor import Visitor

GUIDE = "flask_wtf"
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


def open_page(visitor: Visitor) -> Visitor:
    """Open the page and take the token from it, as its script does."""
    found = re.search(r'name="csrf-token" content="([^"]+)"', visitor.client.get("/").text)
    assert found is not None
    visitor.headers["X-CSRFToken"] = found[1]
    return visitor


@every_protocol
def test_pages_send_the_token(guide: ModuleType, protocol: str) -> None:
    """In a header, with every request."""
    page = open_page(Visitor(guide.app))
    upload_id = page.upload(protocol)
    assert page.head(upload_id).status_code == 200


@every_protocol
@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_pages_of_other_sites_do_not_have_it(guide: ModuleType, protocol: str, token: str | None) -> None:
    """The cookie alone is refused, as an error of the protocol."""
    page = open_page(Visitor(guide.app))
    page.headers = {} if token is None else {"X-CSRFToken": token}
    refused = page.create(protocol)
    assert is_refused(refused, protocol, 400)
    assert "CSRF" in refused.text
    with guide.app.app_context():
        assert [*guide.uploads.uploads()] == []


@every_protocol
def test_scripts_need_no_token(guide: ModuleType, protocol: str) -> None:
    """They have a key instead of a cookie."""
    Visitor(guide.app, X_API_Key="k3y").upload(protocol)
    assert is_refused(Visitor(guide.app, X_API_Key="wrong").create(protocol), protocol, 401)
    assert Visitor(guide.app).head().status_code == 401


# --- without exemptions ---


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """An app whose own pages upload, with Flask-WTF as it is."""
    app = Flask("app", instance_path=str(tmp_path))
    app.secret_key = "a-key-for-tests"
    app.config["RESUMABLE_CORS_ORIGINS"] = ["https://app.example"]
    app.add_url_rule(
        "/", view_func=lambda: render_template_string('<meta name="csrf-token" content="{{ csrf_token() }}">')
    )
    return app


@every_protocol
@pytest.mark.parametrize("is_first", [True, False])
def test_the_protection_can_stay_on(app: Flask, protocol: str, is_first: bool) -> None:
    """Whichever extension is set up first, pages that send the token upload, and others get an error."""
    if is_first:
        CSRFProtect(app)
    FlaskResumable(app)
    if not is_first:
        CSRFProtect(app)
    open_page(Visitor(app)).upload(protocol)
    refused = Visitor(app, Origin="https://app.example").create(protocol)
    assert is_refused(refused, protocol, 400)
    assert "CSRF" in refused.text
    assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example"


@every_protocol
def test_uploads_can_be_exempt(app: Flask, protocol: str) -> None:
    """As the README says."""
    csrf = CSRFProtect(app)
    uploads = FlaskResumable(app)
    csrf.exempt(uploads.blueprints(app)[protocol])
    Visitor(app).upload(protocol)
    for other in PROTOCOLS:
        is_exempt = uploads.blueprints(app)[other] is uploads.blueprints(app)[protocol]
        assert (Visitor(app).create(other).status_code == 400) == (not is_exempt)


@every_protocol
def test_preflights_are_not_checked(app: Flask, protocol: str) -> None:
    """Even by a setup that checks every method."""
    app.config["WTF_CSRF_METHODS"] = ["OPTIONS", "POST"]
    CSRFProtect(app)
    FlaskResumable(app)
    origin = "https://app.example"
    asked = Visitor(app).preflight(protocol, Origin=origin, Access_Control_Request_Headers="x-csrftoken,x-csrf-token")
    assert asked.status_code == 204
    assert {"X-CSRFToken", "X-CSRF-Token"} <= {*asked.headers["Access-Control-Allow-Headers"].split(", ")}

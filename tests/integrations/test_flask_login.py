"""Flask-Login: users with a session."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask import request
from flask_login import current_user
from flask_login import login_user
from flask_login import LoginManager
from flask_login import UserMixin
from werkzeug.exceptions import Unauthorized

from flask_resumable import FlaskResumable

from .visitor import CONTENT
from .visitor import is_refused
from .visitor import PROTOCOLS
from .visitor import Visitor

GUIDE = "flask_login"
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


def signed_in(guide: ModuleType, name: str) -> Visitor:
    visitor = Visitor(guide.app)
    answer = visitor.client.post("/login", data={"name": name, "password": guide.PASSWORDS[name]})
    assert (answer.status_code, answer.location) == (302, "/")
    return visitor


@every_protocol
def test_signed_in_users_upload(guide: ModuleType, protocol: str) -> None:
    """The page is theirs, and so are their uploads, which nobody else can see."""
    anna, ben = signed_in(guide, "anna"), signed_in(guide, "ben")
    assert b"tus.Upload" in anna.client.get("/").data
    upload_id = anna.upload(protocol)
    with guide.app.app_context():
        (upload,) = guide.Uploads().uploads()
        assert (upload.id, upload.owner) == (upload_id, "anna")
        with upload.open() as stream:
            assert stream.read() == CONTENT
    assert anna.head(upload_id).status_code == 200
    assert ben.head(upload_id).status_code == 404
    assert is_refused(ben.patch(upload_id), "tus", 404)


@every_protocol
def test_strangers_are_refused_without_a_redirect(guide: ModuleType, protocol: str) -> None:
    """Pages send them to the login, uploads say so in the protocol."""
    stranger = Visitor(guide.app)
    assert stranger.client.get("/").location.startswith("/login")
    assert is_refused(stranger.create(protocol), protocol, 401)
    assert stranger.head().status_code == 401
    assert is_refused(stranger.test(), "flow", 401)


def test_a_login_that_ends_does_not_end_the_upload(guide: ModuleType) -> None:
    """Whoever signs in again goes on."""
    anna = signed_in(guide, "anna")
    upload_id = anna.create().headers["Location"]
    anna.client.get("/logout")
    assert is_refused(anna.patch(upload_id), "tus", 401)
    assert signed_in(guide, "anna").patch(upload_id).status_code == 204


def test_users_who_are_removed_are_strangers(guide: ModuleType) -> None:
    """Their session is still valid, but ``user_loader`` does not find them."""
    anna = signed_in(guide, "anna")
    guide.PASSWORDS.pop("anna")
    assert anna.create().status_code == 401


# --- other ways to use Flask-Login ---


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """An app with users, by a session or by a header."""
    app = Flask("app", instance_path=str(tmp_path))
    app.secret_key = "a-key-for-tests"
    app.config["RESUMABLE_CORS_ORIGINS"] = ["https://app.example"]
    manager = LoginManager(app)

    class User(UserMixin):  # type: ignore[misc]
        id = "anna"

    @manager.user_loader  # type: ignore[untyped-decorator]
    def load(name: str) -> Any:
        return User()

    @manager.request_loader  # type: ignore[untyped-decorator]
    def load_by_header(request: Any) -> Any:
        return User() if request.headers.get("Authorization") == "Bearer t0ken" else None

    @app.get("/in")
    def sign_in() -> str:
        return str(login_user(User(), remember=True))

    app.extensions["manager"] = manager
    return app


class Uploads(FlaskResumable):
    def current_owner(self) -> str | None:
        owner: str | None = current_user.get_id()
        return owner


@every_protocol
@pytest.mark.parametrize("view", [None, "sign_in"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_guard_for_the_whole_app(app: Flask, protocol: str, view: str | None, is_first: bool) -> None:
    """A function that asks for a login in every request, with or without a page to redirect to."""

    def guard() -> Any:
        if not current_user.is_authenticated and request.endpoint != "sign_in":
            return app.extensions["manager"].unauthorized()
        return None

    app.extensions["manager"].login_view = view
    if is_first:
        app.before_request(guard)
    Uploads(app)
    if not is_first:
        app.before_request(guard)
    stranger = Visitor(app)
    assert is_refused(stranger.create(protocol), protocol, 401)
    assert stranger.head().status_code == 401
    page = Visitor(app, Origin="https://app.example")
    asked = page.preflight(protocol, Origin="https://app.example", Access_Control_Request_Headers="authorization")
    assert asked.status_code == 204
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    refused = page.create(protocol)
    assert is_refused(refused, protocol, 401)
    assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example"
    Visitor(app, Authorization="Bearer t0ken").upload(protocol)
    assert stranger.client.get("/in").text == "True"
    stranger.upload(protocol)


@every_protocol
@pytest.mark.parametrize("answer", [("<p>Sign in</p>", 401), ("<p>Sign in</p>", 200)], ids=str)
def test_a_page_for_strangers_is_not_taken_for_success(app: Flask, protocol: str, answer: Any) -> None:
    """An ``unauthorized_handler`` or an error handler may show a page, even with a 200."""
    app.extensions["manager"].unauthorized_handler(lambda: answer)
    app.register_error_handler(Unauthorized, lambda error: answer)
    Uploads(app)

    @app.before_request
    def guard() -> Any:
        return None if current_user.is_authenticated else app.extensions["manager"].unauthorized()

    assert is_refused(Visitor(app).create(protocol), protocol, 401)
    assert Visitor(app).head().status_code == 401
    Visitor(app, Authorization="Bearer t0ken").upload(protocol)

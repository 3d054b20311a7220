"""Flask-Security: users with a session or a token."""

from __future__ import annotations

from functools import cache
from types import ModuleType

import pytest
from flask.testing import FlaskClient
from flask_security import hash_password

from .visitor import is_refused
from .visitor import PROTOCOLS
from .visitor import Visitor

GUIDE = "flask_security"
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@cache
def hashed(password: str) -> str:
    """A password as Flask-Security keeps it. This takes a second, on purpose."""
    return str(hash_password(password))


@pytest.fixture
def guide(guide: ModuleType) -> ModuleType:
    """The guide's app with two users."""
    with guide.app.app_context():
        for name in ("anna", "ben"):
            user = {"email": f"{name}@example.org", "password": hashed("correct horse")}
            guide.app.security.datastore.create_user(**user)
        guide.db.session.commit()
    return guide


def token_of(guide: ModuleType, name: str) -> str:
    with guide.app.app_context():
        return str(guide.app.security.datastore.find_user(email=f"{name}@example.org").get_auth_token())


def sign_in(client: FlaskClient, name: str) -> None:
    """Fill in the form of Flask-Security, with its CSRF token."""
    client.application.config["WTF_CSRF_ENABLED"] = False  # for the form, which is not what is tested here
    answer = client.post("/login", data={"email": f"{name}@example.org", "password": "correct horse"})
    assert answer.status_code == 302


@every_protocol
def test_a_token_says_who_uploads(guide: ModuleType, protocol: str) -> None:
    """Neither a cookie nor a page is needed."""
    anna = Visitor(guide.app, Authentication_Token=token_of(guide, "anna"))
    ben = Visitor(guide.app, Authentication_Token=token_of(guide, "ben"))
    upload_id = anna.upload(protocol)
    assert anna.head(upload_id).status_code == 200
    assert ben.head(upload_id).status_code == 404
    with guide.app.app_context():
        assert {upload.owner for upload in guide.Uploads().uploads()} == {"1"}


@every_protocol
def test_a_session_does_so_too(guide: ModuleType, protocol: str) -> None:
    """The same user has the same uploads, whichever way they signed in."""
    page = Visitor(guide.app)
    sign_in(page.client, "anna")
    upload_id = page.upload(protocol)
    assert Visitor(guide.app, Authentication_Token=token_of(guide, "anna")).head(upload_id).status_code == 200


@every_protocol
@pytest.mark.parametrize("token", [None, "wrong"])
def test_strangers_are_refused_without_a_redirect(guide: ModuleType, protocol: str, token: str | None) -> None:
    """Flask-Security redirects pages to its login; uploads get a 401."""
    stranger = Visitor(guide.app, **{} if token is None else {"Authentication_Token": token})
    assert is_refused(stranger.create(protocol), protocol, 401)
    assert stranger.head().status_code == 401


def test_a_new_password_keeps_the_uploads(guide: ModuleType) -> None:
    """It ends all tokens and sessions, but the owner is the same."""
    old = token_of(guide, "anna")
    upload_id = Visitor(guide.app, Authentication_Token=old).create().headers["Location"]
    with guide.app.app_context():
        datastore = guide.app.security.datastore
        user = datastore.find_user(email="anna@example.org")
        user.password = hashed("battery staple")
        datastore.set_uniquifier(user)
        datastore.commit()
    assert is_refused(Visitor(guide.app, Authentication_Token=old).patch(upload_id), "tus", 401)
    again = Visitor(guide.app, Authentication_Token=token_of(guide, "anna"))
    assert again.patch(upload_id).status_code == 204


@every_protocol
def test_its_decorator_can_guard_the_app(guide: ModuleType, protocol: str) -> None:
    """``auth_required`` around a function for all requests redirects those who do not ask for JSON."""
    from flask_security import auth_required

    guard = auth_required("token", "session")(lambda: None)
    guide.app.before_request(guard)
    assert is_refused(Visitor(guide.app).create(protocol), protocol, 401)
    Visitor(guide.app, Authentication_Token=token_of(guide, "anna")).upload(protocol)

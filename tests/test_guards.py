"""Functions of the app that refuse requests before the extension sees them: clients get a status that they understand,
in their own dialect, and no page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import abort
from flask import Flask
from flask import redirect
from flask import request
from werkzeug.exceptions import BadRequest
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import TooManyRequests
from werkzeug.test import TestResponse

from flask_resumable import FlaskResumable

URL = "/files/" + "0" * 32
TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}
IETF = {"Upload-Draft-Interop-Version": "8", "Upload-Complete": "?0"}
FLOW = {
    "flowIdentifier": "a",
    "flowFilename": "a.txt",
    "flowTotalSize": "5",
    "flowTotalChunks": "1",
    "flowChunkNumber": "1",
    "flowChunkSize": "5",
}
CREATIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "tus": ("/files/", {"headers": TUS}, "text/plain"),
    "ietf": ("/files/", {"headers": IETF}, "application/problem+json"),
    "flow": ("/flow/", {"query_string": FLOW, "data": b"hello"}, "application/json"),
}
every_protocol = pytest.mark.parametrize("protocol", CREATIONS)


class OwnError(BadRequest):
    """As extensions define them, such as Flask-WTF's CSRFError."""


class Failure(Exception):
    """A bug."""


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """An app that serves uploads."""
    app = Flask("app", instance_path=str(tmp_path))
    FlaskResumable(app)
    return app


def create(app: Flask, protocol: str) -> TestResponse:
    url, arguments, _ = CREATIONS[protocol]
    return app.test_client().post(url, **arguments)


@pytest.mark.parametrize(
    ("status", "is_raised"),
    [(425, False), *((status, how) for status in (408, 429, 500, 502, 503) for how in (True, False))],
)
def test_a_head_request_is_repeated_after_what_will_pass(app: Flask, status: int, is_raised: bool) -> None:
    """tus-js-client forgets the upload after any 4xx but 423, and sends everything again."""

    @app.before_request
    def guard() -> Any:
        return abort(status) if is_raised else ("<html>", status, {"Retry-After": "9"})

    response = app.test_client().head(URL, headers=TUS)
    assert response.status_code == 423
    assert response.headers["Retry-After"] == ("1" if is_raised else "9")
    overridden = app.test_client().post(URL, headers={**TUS, "X-HTTP-Method-Override": "HEAD"})
    assert overridden.status_code == 423
    assert app.test_client().head(URL, headers=IETF).status_code == (status if status >= 500 else 503)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_head_request_is_not_repeated_after_what_will_not(app: Flask, status: int) -> None:
    """The client needs to know that it must sign in, or that the upload is gone."""
    app.before_request(lambda: abort(status))
    assert app.test_client().head(URL, headers=TUS).status_code == status
    assert app.test_client().head(URL, headers=IETF).status_code == status


@every_protocol
def test_too_many_requests_stay_what_they_are(app: Flask, protocol: str) -> None:
    """With every other method, and the client is told when to come back."""

    @app.before_request
    def guard() -> None:
        raise TooManyRequests(retry_after=7)

    url, arguments, media_type = CREATIONS[protocol]
    for method in ("POST", "PATCH", "DELETE", "OPTIONS"):
        response = app.test_client().open(url, method=method, **arguments)
        assert (response.status_code, response.headers["Retry-After"]) == (429, "7")
        assert response.mimetype == media_type or (protocol == "ietf" and method == "OPTIONS")


def test_a_test_of_flow_js_stays_what_it_is(app: Flask) -> None:
    """flow.js sends the chunk after any status but a few, so nothing is lost."""
    app.before_request(lambda: abort(429))
    for method in ("GET", "HEAD"):
        assert app.test_client().open("/flow/", method=method, query_string=FLOW).status_code == 429


@every_protocol
@pytest.mark.parametrize("kind", [400, BadRequest, OwnError, HTTPException, Exception], ids=str)
def test_error_handlers_of_the_app_do_not_answer_clients(app: Flask, protocol: str, kind: Any) -> None:
    """They make pages for people, with whatever status."""

    @app.before_request
    def guard() -> None:
        if request.blueprint is not None:
            raise OwnError("The CSRF token is missing.")

    @app.get("/else")
    def elsewhere() -> str:
        raise OwnError("Something else.")

    app.register_error_handler(kind, lambda error: ("<html>Oops</html>", 200))
    response = create(app, protocol)
    assert (response.status_code, response.mimetype) == (400, CREATIONS[protocol][2])
    assert "The CSRF token is missing." in response.text
    assert app.test_client().get("/else").text == "<html>Oops</html>"


@every_protocol
@pytest.mark.parametrize("kind", [500, HTTPException, Failure, Exception], ids=str)
def test_nor_do_they_hide_failures(app: Flask, protocol: str, kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a hook or in a function of the app is logged, and the client tries again."""

    @app.before_request
    def guard() -> None:
        raise Failure("a secret")

    app.register_error_handler(kind, lambda error: ("<html>Oops</html>", 200))
    response = create(app, protocol)
    assert response.status_code == (503 if protocol == "flow" else 500)
    assert response.mimetype == CREATIONS[protocol][2]
    assert "a secret" not in response.text
    assert "a secret" in caplog.text


PAGES: list[tuple[Any, int]] = [
    (("<html>Sign in</html>", 200), 401),
    ({"maintenance": True}, 401),
    (redirect("/login"), 401),
    (("<html>Sign in</html>", 403), 403),
    (("<html>Back soon</html>", 503, {"Retry-After": "60", "Set-Cookie": "a=b"}), 503),
    (("<html>Too many</html>", 429, {"Retry-After": "60"}), 429),
]


@every_protocol
@pytest.mark.parametrize("is_aborted", [True, False])
@pytest.mark.parametrize(("page", "status"), PAGES, ids=str)
def test_pages_become_errors(app: Flask, protocol: str, page: Any, status: int, is_aborted: bool) -> None:
    """A function of the app may return a page or pass one to ``abort``: clients cannot see it, and flow.js would take a
    200 for success. Headers such as cookies are kept.
    """

    @app.before_request
    def guard() -> Any:
        return abort(app.make_response(page)) if is_aborted else page

    response = create(app, protocol)
    assert (response.status_code, response.mimetype) == (status, CREATIONS[protocol][2])
    assert "<html>" not in response.text
    assert "Location" not in response.headers
    if "Set-Cookie" in str(page):
        assert (response.headers["Set-Cookie"], response.headers["Retry-After"]) == ("a=b", "60")
    assert app.test_client().head(URL, headers=TUS).status_code == (423 if status in (429, 503) else status)


@every_protocol
def test_preflights_may_be_answered_by_the_app(app: Flask, protocol: str) -> None:
    """Some apps do so in a function for all requests."""
    app.before_request(lambda: ("", 200, {"X-Mine": "1"}) if request.method == "OPTIONS" else None)
    response = app.test_client().options(CREATIONS[protocol][0])
    assert (response.status_code, response.headers["X-Mine"]) == (200, "1")


def test_failures_reach_the_debugger(app: Flask) -> None:
    """While an app is developed or tested, exceptions are raised as always."""
    app.testing = True

    @app.before_request
    def guard() -> None:
        raise Failure

    with pytest.raises(Failure):
        create(app, "tus")


def test_the_blueprints_can_be_reached(app: Flask, tmp_path: Path) -> None:
    """By protocol, within an app context or with the app."""
    uploads = FlaskResumable()
    apps = [Flask(name, instance_path=str(tmp_path / name)) for name in ("one", "two")]
    apps[1].config["TUS_UPLOAD_URL"] = "/up/"
    for one in apps:
        uploads.init_app(one)
        found = uploads.blueprints(one)
        assert {*found} == {"tus", "flow", "ietf"}
        assert found["tus"] is found["ietf"] is not found["flow"]
        assert {blueprint.name for blueprint in found.values()} == {*one.blueprints}
        with one.app_context():
            assert uploads.blueprints() == found
    with pytest.raises(RuntimeError, match="not set up for 'bare'"):
        uploads.blueprints(Flask("bare"))
    with pytest.raises(RuntimeError, match="context"):
        uploads.blueprints()

"""Living inside an app: below a prefix, behind a proxy, beside the app's own limits and guards."""

from __future__ import annotations

from urllib.parse import urljoin
from urllib.parse import urlsplit

import pytest
from flask import abort
from flask import request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.exceptions import TooManyRequests
from werkzeug.exceptions import Unauthorized
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response

from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import final
from .tus_client import OCTETS
from .tus_client import refused
from .tus_client import Tus

SPELLINGS = ["/files/", "/files"]


def walk(server: Server, tus: Tus, endpoint: str) -> TestResponse:
    """Upload a file as a client does that knows only the endpoint; the answer to its POST."""
    asked = urljoin(tus.endpoint, endpoint)
    created = tus.request("POST", asked, headers={"Upload-Length": "6"})
    assert created.status_code == 201
    url = urljoin(asked, created.headers["Location"])
    assert tus.patch(url, 0, b"abcdef").status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"
    assert tus.head(url).headers["Upload-Offset"] == "6"
    return created


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("asked", SPELLINGS)
@pytest.mark.parametrize("configured", SPELLINGS)
def test_location_resolves_with_and_without_the_slash(
    serve: Serve, configured: str, asked: str, absolute: bool
) -> None:
    """However the endpoint is configured and asked, Location leads to the upload."""
    server = serve(UPLOAD_URL=configured, ABSOLUTE_LOCATION=absolute)
    location = walk(server, server.tus, asked).headers["Location"]
    assert location.startswith("http://localhost/files/") == absolute
    if not absolute:
        assert location.startswith("files/") == (asked == "/files")


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("slash", ["", "/"])
def test_location_below_a_url_prefix(serve: Serve, slash: str, absolute: bool) -> None:
    """The endpoint may lie deep in the app's URLs."""
    server = serve(UPLOAD_URL="/api/v1/uploads/", ABSOLUTE_LOCATION=absolute)
    created = walk(server, server.tus, "/api/v1/uploads" + slash)
    resolved = urljoin("http://localhost/api/v1/uploads" + slash, created.headers["Location"])
    assert urlsplit(resolved).path.startswith("/api/v1/uploads/")


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("asked", SPELLINGS)
def test_location_below_a_script_name(serve: Serve, asked: str, absolute: bool) -> None:
    """An app that is mounted below a path of the server, as by DispatcherMiddleware, keeps that path."""
    server = serve(ABSOLUTE_LOCATION=absolute)
    server.app.wsgi_app = DispatcherMiddleware(Response("other", 404), {"/mounted": server.app.wsgi_app})  # type: ignore[method-assign]
    tus = Tus(server.app.test_client(), path="/mounted/files/")
    created = walk(server, tus, "/mounted" + asked)
    assert urljoin("http://localhost/mounted" + asked, created.headers["Location"]).startswith(
        "http://localhost/mounted/files/"
    )


@pytest.mark.parametrize("asked", SPELLINGS)
def test_location_with_the_servers_own_script_name(serve: Serve, asked: str) -> None:
    """The same where the WSGI server sets SCRIPT_NAME."""
    server = serve(ABSOLUTE_LOCATION=True)
    tus = Tus(server.app.test_client(), root="http://localhost/mounted")
    assert walk(server, tus, "/mounted" + asked).headers["Location"].startswith("http://localhost/mounted/files/")


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("asked", SPELLINGS)
def test_location_behind_a_proxy(serve: Serve, asked: str, absolute: bool) -> None:
    """With ProxyFix the address is the one that the proxy's client knows: scheme, host and prefix."""
    server = serve(ABSOLUTE_LOCATION=absolute)
    server.app.wsgi_app = ProxyFix(server.app.wsgi_app, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "upload.example", "X-Forwarded-Prefix": "/up"}
    tus = Tus(
        server.app.test_client(),
        root="https://upload.example/up",
        base_url="http://127.0.0.1:8000",
        headers={"Tus-Resumable": "1.0.0", **forwarded},
    )
    created = walk(server, tus, "/up" + asked)
    assert created.headers["Location"].startswith("https://upload.example/up/files/") == absolute


@pytest.mark.parametrize("absolute", [False, True])
def test_forwarded_headers_are_not_believed_unasked(serve: Serve, absolute: bool) -> None:
    """Without ProxyFix a client cannot put its own host into Location."""
    server = serve(ABSOLUTE_LOCATION=absolute)
    forged = {
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "host=evil.example",
        "X-Forwarded-Prefix": "/evil",
        "X-Original-URL": "/evil",
    }
    response = server.tus.create(3, forged)
    assert "evil" not in response.headers["Location"]


def test_parts_below_a_prefix_can_be_joined(serve: Serve) -> None:
    """Upload-Concat takes the URLs that the client knows, prefix included."""
    server = serve()
    tus = Tus(server.app.test_client(), root="https://upload.example/up", base_url="http://127.0.0.1:8000/inner")
    url = tus.part(b"abc")
    whole = tus.new(headers=final(url, urlsplit(url).path))
    assert server.finished(whole).read_bytes() == b"abcabc"


def test_a_doubled_slash_never_leads_into_the_void(server: Server) -> None:
    """A POST to ``/files//`` is either not found, or its Location can be used."""
    asked = urljoin(server.tus.endpoint, "/files//")
    response = server.tus.request("POST", asked, headers={"Upload-Length": "3"})
    assert response.status_code in {201, 404}
    if response.status_code == 201:
        assert server.tus.patch(urljoin(asked, response.headers["Location"]), 0, b"abc").status_code == 204


def test_a_query_changes_nothing(serve: Serve) -> None:
    """A query on the endpoint, as some apps route by, neither breaks the creation nor the Location."""
    server = serve()
    walk(server, server.tus, "/files/?album=7")


@pytest.mark.parametrize("chunked", [False, True])
def test_the_apps_body_limit_does_not_hold_for_uploads(server: Server, chunked: bool) -> None:
    """MAX_CONTENT_LENGTH guards the app's forms; uploads have MAX_SIZE."""
    server.app.config["MAX_CONTENT_LENGTH"] = 16
    server.app.config["MAX_FORM_MEMORY_SIZE"] = 16
    tus = server.tus
    url = tus.new(400)
    assert tus.patch(url, 0, b"a" * 200, chunked=chunked).status_code == 204
    assert tus.patch(url, 200, b"b" * 200, chunked=chunked).status_code == 204
    assert server.finished(url).read_bytes() == b"a" * 200 + b"b" * 200
    response = tus.create_with(b"c" * 300, 300, chunked=chunked)
    assert response.status_code == 201
    assert server.finished(response.headers["Location"]).read_bytes() == b"c" * 300


def test_the_apps_body_limit_still_holds_for_the_app(server: Server) -> None:
    """Nothing of the app's own limits is switched off for its own pages."""
    server.app.config["MAX_CONTENT_LENGTH"] = 16

    @server.app.post("/form")
    def form() -> str:
        return str(len(request.get_data()))

    client = server.app.test_client()
    assert client.post("/form", data=b"x" * 16).text == "16"
    assert client.post("/form", data=b"x" * 17).status_code == 413


def test_the_apps_error_pages_do_not_replace_answers(server: Server) -> None:
    """An app's own error handlers are for people; clients still get one line of text."""
    for status in (400, 404, 405, 409, 413, 500):
        server.app.register_error_handler(status, lambda error: ("<html>Oops</html>", 200))
    for response in (
        server.tus.head("0" * 32),
        server.tus.create(),
        server.tus.patch("0" * 32, 0),
        server.tus.request("PUT"),
    ):
        assert 400 <= response.status_code < 500
        assert "<html>" not in response.text


def test_a_guard_of_the_app_comes_before_the_body(server: Server) -> None:
    """before_request of the app may refuse: not a byte is read, nothing changes."""

    @server.app.before_request
    def guard() -> None:
        if request.method == "PATCH":
            abort(401)

    url = server.tus.new(6)
    body = Body(b"abc")
    with server.unchanged(url):
        assert server.tus.patch(url, 0, body, announced=3).status_code == 401
    assert body.reads == 0


@pytest.mark.parametrize(
    ("refusal", "name", "value"),
    [
        (
            Unauthorized(www_authenticate=WWWAuthenticate("basic", {"realm": "app"})),
            "WWW-Authenticate",
            "Basic realm=app",
        ),
        (TooManyRequests(retry_after=7), "Retry-After", "7"),
        (ServiceUnavailable(retry_after=7), "Retry-After", "7"),
    ],
)
def test_the_headers_of_a_guards_refusal_are_kept(
    server: Server, refusal: HTTPException, name: str, value: str
) -> None:
    """What a status needs beside it, as 401 its WWW-Authenticate, still comes with it."""

    @server.app.before_request
    def guard() -> None:
        raise refusal

    response = server.tus.create(3)
    refused(response, refusal.code or 0)
    assert response.headers[name] == value


def test_the_blueprint_can_be_reached(server: Server) -> None:
    """What an app needs for csrf.exempt and for limits is in app.extensions."""
    state = server.app.extensions["resumable"]
    assert state.blueprints["tus"].name in server.app.blueprints


@pytest.mark.parametrize("media_type", [OCTETS, "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_no_form_is_ever_parsed(server: Server, media_type: str) -> None:
    """Whatever a POST says its body is, nothing but upload content is read."""
    body = Body(b"a=b")
    response = server.tus.create(3, {"Content-Type": media_type}, body=body, announced=3)
    assert response.status_code == 201
    assert body.taken == (3 if media_type == OCTETS else 0)

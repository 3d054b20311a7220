"""CORS beside the app's own headers, functions and extensions, for every protocol."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import abort
from flask import after_this_request
from flask import Flask
from flask import redirect
from flask import Response
from flask_cors import CORS
from werkzeug.test import TestResponse

from flask_resumable import FlaskResumable

PAGE = "https://app.example"
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
PROTOCOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "tus": ("/files/", {"headers": {**TUS, "Origin": PAGE}}),
    "ietf": ("/files/", {"headers": {**IETF, "Origin": PAGE}}),
    "flow": ("/flow/", {"headers": {"Origin": PAGE}, "query_string": FLOW, "data": b"hello"}),
}
OWN = ["X-API-Key", "X-CSRF-Token", "Authentication-Token", "traceparent", "baggage", "X-Upload-Token"]
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Flask]:
    """Create an app with settings of the extension; ``before`` gets it before the extension is set up."""

    def make(before: Callable[[Flask], object] | None = None, **settings: Any) -> Flask:
        app = Flask("app", instance_path=str(tmp_path / "instance"))
        app.config.update({f"RESUMABLE_{name}": value for name, value in settings.items()})
        if before is not None:
            before(app)
        FlaskResumable(app)
        return app

    return make


def preflight(app: Flask, protocol: str = "tus", *, origin: str = PAGE, asked: str = "content-type") -> TestResponse:
    """What a browser asks before it sends."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    return app.test_client().options(PROTOCOLS[protocol][0], headers=headers)


def post(app: Flask, protocol: str = "tus") -> TestResponse:
    """Create an upload as a page of another origin does."""
    url, arguments = PROTOCOLS[protocol]
    return app.test_client().post(url, **arguments)


def names(response: TestResponse, header: str) -> list[str]:
    """The names that a header lists, in lower case; the header must be there once."""
    (value,) = response.headers.getlist(header)
    return [name.strip().lower() for name in value.split(",")]


def cors(response: TestResponse) -> dict[str, str]:
    """The headers for CORS; none of them may be there twice."""
    found = [name for name, _ in response.headers if name.lower().startswith("access-control-")]
    assert len(found) == len({*found})
    return {name: response.headers[name] for name in found}


# --- headers of the app ---


@every_protocol
@pytest.mark.parametrize("sent", [*([name] for name in OWN), OWN, [name.upper() for name in OWN]], ids=str)
def test_pages_may_send_the_headers_that_are_listed(make: Callable[..., Flask], protocol: str, sent: list[str]) -> None:
    """Alone and together, in any case; and those of the protocol all the same."""
    app = make(CORS_ORIGINS=[PAGE], CORS_HEADERS=OWN)
    response = preflight(app, protocol, asked=",".join(sent))
    assert response.status_code == 204
    allowed = names(response, "Access-Control-Allow-Headers")
    assert {*map(str.lower, sent)} <= {*allowed}
    assert {"content-type", "authorization"} <= {*allowed}
    assert len(allowed) == len({*allowed})


@every_protocol
def test_headers_that_are_not_listed_are_not_allowed(make: Callable[..., Flask], protocol: str) -> None:
    """What a page asks for makes no difference."""
    response = preflight(make(CORS_ORIGINS=[PAGE]), protocol, asked="x-api-key")
    assert "x-api-key" not in names(response, "Access-Control-Allow-Headers")


@every_protocol
@pytest.mark.parametrize("wildcard", ["*", ["*"], ["X-API-Key", "*"]], ids=str)
def test_any_header_may_be_sent(make: Callable[..., Flask], protocol: str, wildcard: object) -> None:
    """The names themselves are sent back, because browsers take "*" literally in requests with cookies."""
    app = make(CORS_ORIGINS=[PAGE], CORS_CREDENTIALS=True, CORS_HEADERS=wildcard)
    response = preflight(app, protocol, asked="authorization, X-API-KEY ,baggage,,x bad,é")
    allowed = names(response, "Access-Control-Allow-Headers")
    assert {"authorization", "x-api-key", "baggage", "content-type"} <= {*allowed}
    assert not {"*", "", "x bad", "é"} & {*allowed}
    assert "access-control-request-headers" in response.vary
    assert preflight(app, protocol, asked="").status_code == 204


@every_protocol
def test_pages_may_read_the_headers_that_are_listed(make: Callable[..., Flask], protocol: str) -> None:
    """CORS_EXPOSE_HEADERS joins the headers of the protocol."""
    app = make(CORS_ORIGINS=[PAGE], CORS_EXPOSE_HEADERS=["X-Document", "retry-after"])
    response = post(app, protocol)
    exposed = names(response, "Access-Control-Expose-Headers")
    assert {"x-document", "retry-after"} <= {*exposed}
    assert len(exposed) == len({*exposed})


@pytest.mark.parametrize("has_credentials", [True, False])
def test_pages_may_read_every_header(make: Callable[..., Flask], has_credentials: bool) -> None:
    """Those that the response has are named, which works in requests with cookies, too."""

    def mark(app: Flask) -> None:
        @app.after_request
        def add(response: Response) -> Response:
            response.headers["X-Mine"] = "1"
            response.set_cookie("a", "b")
            return response

    app = make(mark, CORS_ORIGINS=[PAGE], CORS_CREDENTIALS=has_credentials, CORS_EXPOSE_HEADERS="*")
    exposed = names(post(app), "Access-Control-Expose-Headers")
    assert {"x-mine", "location"} <= {*exposed}
    assert not {"set-cookie", "*"} & {*exposed}


@every_protocol
@pytest.mark.parametrize("is_first", [True, False])
def test_headers_of_the_app_are_kept(make: Callable[..., Flask], protocol: str, is_first: bool) -> None:
    """Functions for after the request may set the same headers, whether they were registered before or after."""

    def register(app: Flask) -> None:
        @app.after_request
        def add(response: Response) -> Response:
            response.headers["Access-Control-Expose-Headers"] = "X-Mine, x-other"
            response.headers["Access-Control-Allow-Headers"] = "X-My-Key"
            response.headers["Access-Control-Max-Age"] = "5"
            response.headers["Vary"] = "Cookie"
            return response

    app = make(register if is_first else None, CORS_ORIGINS=[PAGE])
    if not is_first:
        register(app)
    response = post(app, protocol)
    assert {"x-mine", "x-other", "retry-after"} <= {*names(response, "Access-Control-Expose-Headers")}
    assert {"cookie", "origin"} <= {*names(response, "Vary")}
    response = preflight(app, protocol)
    assert {"x-my-key", "content-type"} <= {*names(response, "Access-Control-Allow-Headers")}
    assert {"cookie", "origin"} <= {*names(response, "Vary")}
    assert cors(response)["Access-Control-Max-Age"] == "5"


def test_headers_of_a_hook_are_kept(tmp_path: Path) -> None:
    """A hook can change the response with ``after_this_request``, and expose what it added."""

    class Uploads(FlaskResumable):
        def on_create(self, upload: object) -> None:
            @after_this_request
            def add(response: Response) -> Response:
                response.headers["X-Ticket"] = "7"
                response.headers.add("Access-Control-Expose-Headers", "X-Ticket")
                response.headers.add("Access-Control-Expose-Headers", "X-More")
                response.vary.add("Cookie")
                return response

    app = Flask("app", instance_path=str(tmp_path))
    app.config["RESUMABLE_CORS_ORIGINS"] = [PAGE]
    Uploads(app)
    for protocol in PROTOCOLS:
        response = post(app, protocol)
        assert {"x-ticket", "x-more", "retry-after"} <= {*names(response, "Access-Control-Expose-Headers")}
        assert {"cookie", "origin"} <= {*names(response, "Vary")}


# --- others that answer CORS ---


@every_protocol
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("settings", [{}, {"CORS_ORIGINS": ["https://other.example"]}], ids=str)
def test_flask_cors_is_left_alone(
    make: Callable[..., Flask], protocol: str, is_first: bool, settings: dict[str, Any]
) -> None:
    """What it says to a page that the extension's settings do not mention is not changed."""

    def register(app: Flask) -> None:
        CORS(app, origins=[PAGE], expose_headers=["X-Mine"], allow_headers=["X-Key"], max_age=5)

    app = make(register if is_first else None, **settings)
    if not is_first:
        register(app)
    expected = {"Access-Control-Allow-Origin": PAGE, "Access-Control-Expose-Headers": "X-Mine"}
    assert cors(post(app, protocol)) == expected
    answered = cors(preflight(app, protocol, asked="X-Key"))
    assert answered.items() >= {**expected, "Access-Control-Max-Age": "5"}.items()
    assert answered["Access-Control-Allow-Headers"] == "X-Key"


@every_protocol
@pytest.mark.parametrize("is_first", [True, False])
def test_flask_cors_and_the_settings_add_up(make: Callable[..., Flask], protocol: str, is_first: bool) -> None:
    """If both allow the page, no header is doubled, and neither takes away what the other one allows."""

    def register(app: Flask) -> None:
        CORS(app, expose_headers=["X-Mine"], allow_headers=["X-Key"])

    app = make(register if is_first else None, CORS_ORIGINS=[PAGE], CORS_CREDENTIALS=True, CORS_HEADERS=["X-Other"])
    if not is_first:
        register(app)
    response = post(app, protocol)
    assert cors(response)["Access-Control-Allow-Origin"] == PAGE
    assert cors(response)["Access-Control-Allow-Credentials"] == "true"
    assert {"x-mine", "retry-after"} <= {*names(response, "Access-Control-Expose-Headers")}
    response = preflight(app, protocol, asked="X-Key")
    assert {"x-key", "x-other", "content-type"} <= {*names(response, "Access-Control-Allow-Headers")}
    assert cors(response)["Access-Control-Allow-Origin"] == PAGE


@pytest.mark.parametrize("present", ["*", "https://site.example"])
def test_what_would_keep_an_allowed_page_out_is_replaced(make: Callable[..., Flask], present: str) -> None:
    """A wildcard does not work with cookies, and another origin not at all."""
    app = make(CORS_ORIGINS=[PAGE], CORS_CREDENTIALS=True)

    @app.after_request
    def allow(response: Response) -> Response:
        response.headers["Access-Control-Allow-Origin"] = present
        return response

    assert cors(post(app))["Access-Control-Allow-Origin"] == PAGE
    foreign = app.test_client().post("/files/", headers={**TUS, "Origin": "https://evil.example"})
    assert cors(foreign) == {"Access-Control-Allow-Origin": present}


# --- preflights ---

Stop = Callable[[], object]
STOPS: dict[str, Stop] = {
    "abort": lambda: abort(401),
    "return": lambda: ("Down for maintenance", 503),
    "redirect": lambda: redirect("/login"),
    "fail": lambda: 1 / 0,
}


@every_protocol
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("stop", STOPS)
def test_preflights_come_before_the_apps_functions(
    make: Callable[..., Flask], protocol: str, is_first: bool, stop: str
) -> None:
    """Browsers send them without cookies and tokens, so whatever asks for these must not get to see them."""

    def register(app: Flask) -> None:
        app.before_request(STOPS[stop])  # type: ignore[type-var]

    app = make(register if is_first else None, CORS_ORIGINS=[PAGE])
    if not is_first:
        register(app)
    response = preflight(app, protocol)
    assert response.status_code == 204
    assert not response.data
    assert cors(response)["Access-Control-Allow-Origin"] == PAGE
    if stop != "fail":
        answer = post(app, protocol)
        assert answer.status_code == (503 if stop == "return" else 401)
        assert cors(answer)["Access-Control-Allow-Origin"] == PAGE  # a page can read why


@every_protocol
@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({}, {"Origin": PAGE, "Access-Control-Request-Method": "POST"}),
        ({"CORS_ORIGINS": [PAGE]}, {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}),
        ({"CORS_ORIGINS": [PAGE]}, {"Origin": PAGE}),
        ({"CORS_ORIGINS": [PAGE]}, {"Access-Control-Request-Method": "POST"}),
        ({"CORS_ORIGINS": [PAGE]}, {}),
    ],
    ids=str,
)
def test_other_requests_do_not(
    make: Callable[..., Flask], protocol: str, settings: dict[str, Any], headers: dict[str, str]
) -> None:
    """Without an allowed origin, and for plain OPTIONS requests, the app's functions come first."""
    app = make(**settings)
    app.before_request(lambda: abort(403))
    response = app.test_client().options(PROTOCOLS[protocol][0], headers=headers)
    assert response.status_code == 403
    assert "Access-Control-Allow-Origin" not in response.headers or "Access-Control-Request-Method" not in headers


def test_only_preflights_of_uploads_come_first(make: Callable[..., Flask]) -> None:
    """The app's other URLs are none of our business."""
    app = make(CORS_ORIGINS=[PAGE])
    app.before_request(lambda: abort(403))
    app.add_url_rule("/else", view_func=lambda: "here")
    headers = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
    response = app.test_client().options("/else", headers=headers)
    assert response.status_code == 403
    assert cors(response) == {}


def test_a_wrapped_view_does_not_see_preflights(make: Callable[..., Flask]) -> None:
    """Some apps replace the views of extensions with ones that require a login."""
    app = make(CORS_ORIGINS=[PAGE])
    for endpoint in app.view_functions:
        app.view_functions[endpoint] = lambda **arguments: abort(401)
    assert preflight(app).status_code == 204
    assert post(app).status_code == 401


def test_a_plain_options_request_says_what_tus_supports(make: Callable[..., Flask]) -> None:
    """With CORS or without, and so does a preflight."""
    for settings in ({}, {"CORS_ORIGINS": [PAGE]}):
        app = make(**settings)
        response = app.test_client().options("/files/")
        assert response.status_code == 204
        assert "creation" in response.headers["Tus-Extension"]
        assert cors(response) == {}
    assert "creation" in preflight(app).headers["Tus-Extension"]


# --- caches ---


@every_protocol
@pytest.mark.parametrize("origin", [PAGE, "https://evil.example", None])
@pytest.mark.parametrize("allowed", [PAGE, "https://*.example", "null", re.compile("https://app.example")], ids=str)
def test_caches_know_what_a_response_depends_on(
    make: Callable[..., Flask], protocol: str, origin: str | None, allowed: Any
) -> None:
    """Responses vary with the origin, for pages that are allowed, pages that are not, and without a page."""
    url, arguments = PROTOCOLS[protocol]
    headers = {**arguments["headers"], "Origin": origin} if origin else {**arguments["headers"]}
    headers = {name: value for name, value in headers.items() if origin or name != "Origin"}
    response = make(CORS_ORIGINS=allowed).test_client().post(url, **{**arguments, "headers": headers})
    assert names(response, "Vary") == ["origin"]


@every_protocol
def test_responses_for_all_origins_do_not_vary(make: Callable[..., Flask], protocol: str) -> None:
    """They have the same header with and without an origin, so a cache may keep either."""
    url, arguments = PROTOCOLS[protocol]
    client = make(CORS_ORIGINS="*").test_client()
    headers = {name: value for name, value in arguments["headers"].items() if name != "Origin"}
    for sent in (headers, {**headers, "Origin": PAGE}, {**headers, "Origin": "null"}):
        response = client.post(url, **{**arguments, "headers": sent})
        assert cors(response)["Access-Control-Allow-Origin"] == "*"
        assert "Vary" not in response.headers


def test_protocols_at_one_url_keep_their_own_origins(make: Callable[..., Flask]) -> None:
    """What tus allows, the IETF draft does not, and the other way round."""
    one, two = "https://one.example", "https://two.example"

    def configure(app: Flask) -> None:
        app.config.update(TUS_CORS_ORIGINS=[one], IETF_CORS_ORIGINS=[two], FLOW_ENABLED=False)

    app = make(configure)
    client = app.test_client()
    for own, origins in ((TUS, [one]), (IETF, [two])):
        for origin in (one, two):
            response = client.post("/files/", headers={**own, "Origin": origin})
            assert ("Access-Control-Allow-Origin" in response.headers) == (origin in origins)
    of_tus, of_ietf = "tus-resumable", "upload-complete"
    for origin, allowed, other in ((one, of_tus, of_ietf), (two, of_ietf, of_tus)):
        response = preflight(app, origin=origin)
        assert cors(response)["Access-Control-Allow-Origin"] == origin
        assert allowed in names(response, "Access-Control-Allow-Headers")
        assert other not in names(response, "Access-Control-Allow-Headers")

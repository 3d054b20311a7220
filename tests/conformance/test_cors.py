"""CORS: scripts of the listed origins may upload, all others get nothing."""

from __future__ import annotations

from urllib.parse import urljoin

import pytest
from werkzeug.test import TestResponse

from flask_resumable import ConfigurationError

from .server import Serve
from .server import Server
from .tus_client import Tus
from .tus_client import UNKNOWN
from .tus_client import words

APP = "https://app.example"
OTHER = "http://localhost:5173"
METHODS = {"POST", "GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}
REQUEST_HEADERS = {
    "Content-Type",
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Metadata",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Checksum",
    "X-HTTP-Method-Override",
    "X-Requested-With",
    "X-Request-ID",
    "Authorization",
}
EXPOSED = {
    "Location",
    "Tus-Resumable",
    "Tus-Version",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Checksum-Algorithm",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Expires",
}
STRANGERS = [
    "https://evil.example",
    "http://app.example",
    "https://app.example.evil.example",
    "https://evilapp.example",
    "https://sub.app.example",
    "https://app.example:8443",
    "https://app.example/",
    "null",
    "",
    "*",
    "https://app.example https://evil.example",
]


def lower(names: set[str] | list[str]) -> set[str]:
    return {name.lower() for name in names}


def preflight(
    tus: Tus, origin: str, url: str = "", method: str = "PATCH", headers: str = "upload-offset,tus-resumable"
) -> TestResponse:
    """What a browser asks before it sends."""
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return tus.options(url, asked)


def granted(response: TestResponse) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("Access-Control-")}


def every_answer(tus: Tus, origin: str) -> list[TestResponse]:
    """Answers of every verb to a request of ``origin``, good and bad."""
    there = tus.with_headers(Origin=origin)
    created = there.create(3)
    url = urljoin(tus.endpoint, created.headers["Location"])
    return [
        created,
        there.head(url),
        there.patch(url, 1, b"abc"),
        there.patch(url, 0, b"abc"),
        there.get(url),
        there.delete(url),
        there.options(url),
        there.head(UNKNOWN),
        there.create(),
        there.create(3, {"Tus-Resumable": "0.2.2"}),
        there.request("PUT"),
    ]


def test_cors_is_off_by_default(tus: Tus) -> None:
    """Without CORS_ORIGINS no answer carries a CORS header, preflights included."""
    for response in [*every_answer(tus, APP), preflight(tus, APP), preflight(tus, APP, UNKNOWN)]:
        assert granted(response) == {}


@pytest.mark.parametrize("url", ["", UNKNOWN])
@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("origin", [APP, OTHER])
def test_a_preflight_of_a_listed_origin_is_granted(serve: Serve, origin: str, method: str, url: str) -> None:
    """OPTIONS with the browser's questions answers 204 with origin, methods, headers and how long that holds."""
    response = preflight(serve(CORS_ORIGINS=[APP, OTHER]).tus, origin, url, method)
    assert response.status_code == 204
    answer = granted(response)
    assert answer["Access-Control-Allow-Origin"] == origin
    assert METHODS <= set(words(answer["Access-Control-Allow-Methods"]))
    assert lower(REQUEST_HEADERS) <= lower(words(answer["Access-Control-Allow-Headers"]))
    assert answer["Access-Control-Max-Age"] == "86400"
    assert "Access-Control-Allow-Credentials" not in answer
    assert "origin" in lower(words(response.headers["Vary"]))


def test_a_preflight_holds_as_long_as_configured(serve: Serve) -> None:
    """CORS_MAX_AGE is passed on."""
    tus = serve(CORS_ORIGINS=[APP], CORS_MAX_AGE=60).tus
    assert granted(preflight(tus, APP))["Access-Control-Max-Age"] == "60"


def test_a_preflight_needs_no_version_and_no_owner(serve: Serve) -> None:
    """Browsers send preflights bare: neither Tus-Resumable nor credentials."""
    server = serve(CORS_ORIGINS=[APP], STRICT_HEAD=True)
    url = server.tus.with_headers(X_User="alice").new(3)
    assert preflight(server.tus, APP, url).status_code == 204


def test_every_answer_to_a_listed_origin_can_be_read(serve: Serve) -> None:
    """Success and failure alike name the origin and expose every header of the protocol."""
    for response in every_answer(serve(CORS_ORIGINS=[APP]).tus, APP):
        answer = granted(response)
        assert answer["Access-Control-Allow-Origin"] == APP, response.status
        assert lower(EXPOSED) <= lower(words(answer["Access-Control-Expose-Headers"]))
        assert "origin" in lower(words(response.headers["Vary"]))


def test_a_broken_hook_can_be_read_too(serve: Serve) -> None:
    """A 500 without CORS headers would look like a network error to a script."""

    def fail(upload: object) -> None:
        raise RuntimeError

    server = serve(CORS_ORIGINS=[APP])
    server.hooks.during["on_complete"] = fail
    response = server.tus.with_headers(Origin=APP).create(0)
    assert response.status_code == 500
    assert granted(response)["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize("origin", STRANGERS)
def test_other_origins_get_nothing(serve: Serve, origin: str) -> None:
    """Whatever resembles a listed origin is not it: no CORS header, and caches are told that it depends."""
    tus = serve(CORS_ORIGINS=[APP, OTHER], CORS_CREDENTIALS=True).tus
    for response in [*every_answer(tus, origin), preflight(tus, origin), preflight(tus, origin, UNKNOWN)]:
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert "origin" in lower(words(response.headers["Vary"]))


def test_requests_without_an_origin_are_served(serve: Serve) -> None:
    """Scripts and phones send none; they need no permission."""
    tus = serve(CORS_ORIGINS=[APP]).tus
    assert tus.patch(tus.new(3), 0, b"abc").status_code == 204
    assert "Access-Control-Allow-Origin" not in tus.options().headers


def test_credentials_only_with_a_named_origin(serve: Serve) -> None:
    """CORS_CREDENTIALS lets scripts of the listed origins send cookies."""
    tus = serve(CORS_ORIGINS=[APP], CORS_CREDENTIALS=True).tus
    for response in [*every_answer(tus, APP), preflight(tus, APP)]:
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        assert response.headers["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize("origins", ["*", ["*"]])
def test_every_origin_may_be_allowed(serve: Serve, origins: object) -> None:
    """'*' allows all origins, without credentials."""
    tus = serve(CORS_ORIGINS=origins).tus
    for response in [*every_answer(tus, "https://anywhere.example"), preflight(tus, "https://anywhere.example")]:
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in response.headers


def test_every_origin_with_credentials_is_refused_at_start(serve: Serve) -> None:
    """Letting every page act with the visitor's cookies is a mistake, and is named."""
    with pytest.raises(ConfigurationError, match="CORS"):
        serve(CORS_ORIGINS="*", CORS_CREDENTIALS=True)


def test_the_method_override_needs_no_other_grant(serve: Serve) -> None:
    """A POST that is a PATCH by override is readable like the PATCH."""
    server: Server = serve(CORS_ORIGINS=[APP])
    tus = server.tus.with_headers(Origin=APP)
    url = tus.new(3)
    response = tus.request(
        "POST",
        url,
        headers={
            "X-HTTP-Method-Override": "PATCH",
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": "0",
        },
        body=b"abc",
    )
    assert response.status_code == 204
    assert granted(response)["Access-Control-Allow-Origin"] == APP

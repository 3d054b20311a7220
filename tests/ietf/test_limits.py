"""Limits, how clients learn them, and pages of other origins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import abort
from flask import Flask
from flask import redirect

from flask_resumable import FlaskResumable
from tests.conformance.tus_client import Body
from tests.conformance.tus_client import Tus
from tests.conformance.tus_client import UNKNOWN
from tests.conformance.tus_client import words

from .client import ALL
from .client import Ietf
from .client import limits
from .client import refused
from .client import VERSION
from .conftest import Serve
from .conftest import Speak

ORIGIN = "https://app.example"
EVERYTHING = {"MAX_SIZE": 100, "MIN_SIZE": 2, "MAX_APPEND_SIZE": 8, "MIN_APPEND_SIZE": 3}
NAMED = {"max-size": 100, "min-size": 2, "max-append-size": 8, "min-append-size": 3}
LIVES = {"max-age": 86400}


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("url", ["/files/", "/files", UNKNOWN])
def test_options_tells_the_limits(serve: Serve, version: int | None, url: str) -> None:
    """With or without a version, so that a client can find out whether uploads can be resumed here."""
    response = Ietf(serve(**EVERYTHING).app.test_client(), version).request("OPTIONS", url)
    assert response.status_code == (204 if version is None else 200)
    assert limits(response) == {**NAMED, **LIVES}


@pytest.mark.parametrize("version", ALL)
def test_no_limits_are_told_as_such(serve: Serve, version: int | None) -> None:
    """The field is never empty."""
    client = Ietf(serve(EXPIRATION=None).app.test_client(), version)
    url = client.new(6)
    for response in (client.request("OPTIONS"), client.create(), client.head(url)):
        assert response.headers["Upload-Limit"] == "min-size=0"


@pytest.mark.parametrize("version", ALL)
def test_each_answer_about_an_upload_tells_its_limits(serve: Serve, version: int | None) -> None:
    """The lifetime is what is left of it, under the name that this version has for it."""
    server = serve(**EVERYTHING, SLIDING_EXPIRATION=False)
    client = Ietf(server.app.test_client(), version)
    url = client.new(20)
    server.clock.advance(hours=1)
    lifetime = 82800
    lives = {3: {}, 4: {}, 5: {}, 6: {"expires": lifetime, "max-age": lifetime}}.get(
        version or 0, {"max-age": lifetime}
    )
    for response in (client.append(url, 0, b"abc"), client.head(url)):
        assert limits(response) == {**NAMED, **lives}


def test_tus_clients_are_told_the_limits_of_tus(serve: Serve) -> None:
    """Their answers to OPTIONS have both."""
    response = serve(**EVERYTHING).tus.options()
    assert response.headers["Tus-Max-Size"] == "100"
    assert limits(response) == {**NAMED, **LIVES}
    assert response.headers["Tus-Resumable"] == "1.0.0"


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("complete", [False, True])
def test_an_upload_that_is_too_large_is_refused(serve: Serve, version: int | None, complete: bool) -> None:
    """Before anything is created, if its length is known; the answer has the limit."""
    server = serve(MAX_SIZE=5)
    client = Ietf(server.app.test_client(), version)
    with server.unchanged():
        for response in (client.create(length=6), client.create(b"abcdef", complete=complete)):
            refused(client, response, 413)
            assert limits(response)["max-size"] == 5


@pytest.mark.parametrize("version", ALL)
def test_an_upload_that_grows_too_large_is_refused(serve: Serve, version: int | None) -> None:
    """What fits is kept, and nothing is complete."""
    server = serve(MAX_SIZE=5)
    client = Ietf(server.app.test_client(), version)
    url = client.new(None, b"abc")
    refused(client, client.append(url, 3, b"def", complete=True), 413)
    assert client.offset(url) == 3
    refused(client, client.append(url, 3, Body(b"def"), complete=True, chunked=True), 413)
    assert client.offset(url) == 5
    assert server.hooks.count("on_complete") == 0
    refused(client, client.append(url, 5, headers={"Upload-Length": "6"}), 413)


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("complete", [False, True])
def test_a_request_that_is_too_large_is_refused(serve: Serve, version: int | None, complete: bool) -> None:
    """Each append, and since version 9 each creation. If its size is not announced, it is cut there."""
    server = serve(MAX_APPEND_SIZE=4)
    client = Ietf(server.app.test_client(), version)
    creation = client.create(b"abcde", complete=complete)
    if version in (9, 10, None):
        refused(client, creation, 413)
        assert limits(creation)["max-append-size"] == 4
    else:
        assert creation.status_code == 201
    url = client.new(9)
    with server.unchanged(url):
        refused(client, client.append(url, 0, b"abcde", complete=complete), 413)
    refused(client, client.append(url, 0, Body(b"abcde"), complete=False, chunked=True), 413)
    assert client.offset(url) == 4
    assert client.append(url, 4, b"efgh").status_code in (201, 204)


@pytest.mark.parametrize("version", ALL)
def test_a_request_that_is_too_small_is_refused(serve: Serve, version: int | None) -> None:
    """But for empty creations, and for the last one of an upload."""
    client = Ietf(serve(MIN_APPEND_SIZE=4).app.test_client(), version)
    url = client.new(7)
    refused(client, client.append(url, 0, b"abc"), 400)
    assert client.append(url, 0, b"abcd").status_code in (201, 204)
    assert client.is_complete(client.append(url, 4, b"efg", complete=True))
    small = client.create(b"abc")
    if version in (9, 10, None):
        refused(client, small, 400)
    else:
        assert small.status_code == 201


@pytest.mark.parametrize("version", ALL)
def test_small_uploads_are_accepted_whatever_can_be_resumed(serve: Serve, version: int | None) -> None:
    """``min-size`` says only what need not be resumable."""
    client = Ietf(serve(MIN_SIZE=100).app.test_client(), version)
    assert client.is_complete(client.create(b"abc", complete=True))


def test_expiry_can_slide(serve: Serve) -> None:
    """Then the end of an upload's life moves with its content, as for tus."""
    for slides, left in ((True, 3600), (False, 1800)):
        server = serve(EXPIRATION=timedelta(hours=1), SLIDING_EXPIRATION=slides)
        client = Ietf(server.app.test_client(), 10)
        url = client.new(9)
        server.clock.advance(minutes=30)
        assert limits(client.head(url))["max-age"] == 1800
        assert limits(client.append(url, 0, b"abc"))["max-age"] == left


def test_an_upload_does_not_expire_while_content_arrives(serve: Serve) -> None:
    """A request may take longer than EXPIRATION, whoever looks at the upload or cleans up in the meantime."""
    server = serve(EXPIRATION=timedelta(seconds=10))
    client = Ietf(server.app.test_client(), 10)
    url = client.new(9)
    seen = []

    def later() -> None:
        server.clock.advance(seconds=7)
        server.cli("tus", "delete_expired")
        seen.append(client.head(url).status_code)

    answer = client.append(url, 0, Body(later, b"abc", later, later, b"d", later, b"ef"), announced=6)
    assert (answer.status_code, seen) == (204, [204] * 4)
    assert limits(answer)["max-age"] == limits(client.head(url))["max-age"] == 10


# --- pages of other origins ---


def test_a_preflight_is_granted_for_both_protocols(serve: Serve) -> None:
    """A browser does not say which one it is about."""
    tus = serve(CORS_ORIGINS=[ORIGIN]).tus
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "PATCH"}
    for url in ("", UNKNOWN):
        headers = tus.options(url, asked).headers
        allowed = words(headers["Access-Control-Allow-Headers"])
        assert len({name.lower() for name in allowed}) == len(allowed)
        assert {"Tus-Resumable", "Upload-Complete", "Upload-Incomplete", VERSION, "Content-Disposition"} <= {*allowed}
        assert "Upload-Length" in allowed and "Authorization" in allowed
        assert headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize("version", ALL)
def test_pages_may_read_what_they_need(serve: Serve, version: int | None) -> None:
    """From every answer, refusals included."""
    client = Ietf(serve(CORS_ORIGINS=[ORIGIN]).app.test_client(), version).with_headers(Origin=ORIGIN)
    created = client.create(length=6)
    url = client.url_of(created)
    for response in (
        created,
        client.head(url),
        client.append(url, 0, b"abc"),
        client.append(url, 9),
        client.head(UNKNOWN),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        exposed = {*words(response.headers["Access-Control-Expose-Headers"])}
        if response.request.method != "HEAD" or version is not None or response.status_code < 400:
            assert {"Upload-Offset", "Upload-Complete", "Upload-Limit", "Upload-Length", "Location"} <= exposed


def test_other_pages_get_nothing(serve: Serve) -> None:
    """Without a setting, no answer has a CORS field."""
    client = Ietf(serve().app.test_client(), 6).with_headers(Origin=ORIGIN)
    for response in (
        client.create(),
        client.request("OPTIONS"),
        Tus(client.wire.client).options("", {"Origin": ORIGIN}),
    ):
        assert not [name for name in response.headers.keys() if name.startswith("Access-Control-")]


# --- telling the protocols apart ---


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_who_says_nothing_is_told_in_both_protocols(speak: Speak, method: str) -> None:
    """Clients of the RFC have nothing in such requests that would say what they speak."""
    client = speak()
    url = client.new(6, b"abc")
    response = client.request(method, url)
    assert response.headers["Tus-Resumable"] == "1.0.0"
    assert "Upload-Limit" in response.headers
    if method == "HEAD":
        assert response.headers["Upload-Offset"] == "3"
        assert response.headers["Upload-Complete"] == "?0"


@pytest.mark.parametrize("version", ALL)
def test_tus_wins_where_both_are_named(speak: Speak, version: int | None) -> None:
    """A tus client may run on a system whose requests carry this protocol's fields, too."""
    client = speak(version).with_headers(Tus_Resumable="1.0.0")
    response = client.create(complete=True, headers={"Upload-Length": "3"})
    assert response.headers["Tus-Resumable"] == "1.0.0"
    assert VERSION not in response.headers and "Upload-Complete" not in response.headers


@pytest.mark.parametrize("version", ALL)
def test_answers_of_the_apps_own_guards(serve: Serve, version: int | None) -> None:
    """An abort in a before_request becomes a problem; a redirect to a page, which no client could use, a 401."""
    server = serve()
    answers: list[Callable[[], Any]] = [lambda: abort(403, "No."), lambda: redirect("/login"), lambda: abort(503)]
    server.app.before_request(lambda: answers[0]())
    client = Ietf(server.app.test_client(), version)
    for status in (403, 401, 503):
        response = client.create(b"abc", complete=True)
        assert response.status_code == status
        assert response.headers["Content-Type"] == "application/problem+json"
        answers.pop(0)


def test_it_follows_the_url_of_tus(tmp_path: Path) -> None:
    """Unless it has one of its own; each protocol can be switched off."""

    def status(path: str, **config: object) -> int:
        app = Flask("app", instance_path=str(tmp_path))
        app.config.update(config)
        FlaskResumable(app)
        headers = {"Upload-Complete": "?1"}
        return app.test_client().post(path, data=b"abc", headers=headers).status_code

    assert status("/files/") == 201
    assert status("/up/", TUS_UPLOAD_URL="/up") == 201
    assert status("/ietf/", TUS_UPLOAD_URL="/up", IETF_UPLOAD_URL="/ietf") == 201
    assert status("/up/", TUS_UPLOAD_URL="/up", IETF_UPLOAD_URL="/ietf") == 412
    assert status("/files/", IETF_ENABLED=False) == 412
    assert status("/files/", TUS_ENABLED=False) == 201

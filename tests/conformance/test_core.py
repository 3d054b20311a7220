"""tus 1.0, Core Protocol: versions. The rest of it has files of its own."""

from __future__ import annotations

import pytest
from flask import abort
from flask import Response

from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import OCTETS
from .tus_client import refused
from .tus_client import Tus
from .tus_client import UNKNOWN

WRONG_VERSIONS = ["0.2.2", "1.0", "2.0.0", "1.0.1", "1.0.0,0.2.2", "v1.0.0", "abc", ""]


def test_every_success_names_the_version(serve: Serve) -> None:
    """Tus-Resumable: 1.0.0 is on the answers to OPTIONS, POST, HEAD, PATCH, GET and DELETE."""
    tus = serve(DOWNLOADS=True).tus
    url = tus.new(3)
    answers = [
        (tus.options(), 204),
        (tus.create(3), 201),
        (tus.head(url), 200),
        (tus.patch(url, 0, b"abc"), 204),
        (tus.get(url), 200),
        (tus.delete(url), 204),
    ]
    assert [response.status_code for response, _ in answers] == [status for _, status in answers]
    assert {response.headers["Tus-Resumable"] for response, _ in answers} == {"1.0.0"}


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("HEAD", UNKNOWN, 404),
        ("PATCH", UNKNOWN, 404),
        ("DELETE", UNKNOWN, 404),
        ("HEAD", "/files/nonsense", 404),
        ("PATCH", "/files/nonsense", 404),
        ("HEAD", "/files/a/b/c", 404),
        ("GET", "/files/a/b/c", 404),
        ("PUT", "/files/", 405),
        ("DELETE", "/files/", 405),
        ("PATCH", "/files/", 405),
        ("GET", "/files/", 405),
        ("PUT", UNKNOWN, 405),
        ("POST", UNKNOWN, 405),
        ("GET", UNKNOWN, 405),
    ],
)
def test_errors_of_routing_name_the_version(tus: Tus, method: str, url: str, status: int) -> None:
    """Where there is nothing, or not with that method, the answer is still a tus answer."""
    headers = {"Content-Type": OCTETS, "Upload-Offset": "0"} if method == "PATCH" else {}
    response = tus.request(method, url, headers=headers)
    refused(response, status)
    assert ("Allow" in response.headers) == (status == 405)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "url", ["/files//" + "0" * 32, "/files///" + "0" * 32, "/files/" + "0" * 32 + "//x", "/files//%0ax"]
)
def test_a_doubled_slash_is_no_redirect(serve: Serve, method: str, url: str) -> None:
    """A slip in the URL is told as such: clients do not follow a redirect with a body."""
    server = serve(DOWNLOADS=True)
    headers = {"Content-Type": OCTETS, "Upload-Offset": "0", "Upload-Length": "3"}
    with server.unchanged():
        refused(server.tus.request(method, url, headers=headers, body=b"abc"), 404)


def test_a_failing_hook_is_a_versioned_500(server: Server) -> None:
    """An exception that no rule foresees answers 500, with the version and without its text."""

    def fail(upload: object) -> None:
        raise RuntimeError("secret of the app")

    url = server.tus.new(3)
    server.hooks.during["on_complete"] = fail
    response = server.tus.patch(url, 0, b"abc")
    refused(response, 500)
    assert "secret" not in response.text


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_answers_of_the_apps_own_guards_name_the_version(server: Server, status: int) -> None:
    """When the app's before_request answers instead, clients can still tell the answer for a tus one."""

    @server.app.before_request
    def guard() -> None:
        abort(status)

    to_head = 423 if status == 429 or status >= 500 else status  # what clients try again
    for response, expected in (
        (server.tus.create(3), status),
        (server.tus.head(UNKNOWN), to_head),
        (server.tus.patch(UNKNOWN, 0), status),
    ):
        assert response.status_code == expected
        assert response.headers["Tus-Resumable"] == "1.0.0"


def test_a_crash_before_the_view_names_the_version(server: Server) -> None:
    """Flask's own 500 carries the version too."""

    @server.app.before_request
    def crash() -> None:
        raise RuntimeError

    response = server.tus.create(3)
    assert response.status_code == 500
    assert response.headers["Tus-Resumable"] == "1.0.0"


def test_other_routes_of_the_app_are_left_alone(server: Server) -> None:
    """The app's own pages do not become tus answers, found or not."""
    server.app.add_url_rule("/page", view_func=lambda: Response("hello"), endpoint="page")
    for path in ("/page", "/no-page"):
        response = server.app.test_client().get(path)
        assert not [name for name in response.headers.keys() if name.startswith(("Tus-", "Upload-"))]


@pytest.mark.parametrize("version", WRONG_VERSIONS)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "HEAD"])
def test_other_versions_are_refused_unprocessed(server: Server, method: str, version: str) -> None:
    """Another version answers 412 with the versions spoken here; no row, no file, no hook, no byte read."""
    url = server.tus.new(10)
    body = Body(b"0123456789")
    headers = {"Tus-Resumable": version, "Content-Type": OCTETS}
    headers |= {"Upload-Length": "10"} if method == "POST" else {"Upload-Offset": "0"}
    with server.unchanged(url):
        response = server.tus.request(
            method, "/files/" if method == "POST" else url, headers=headers, body=body, announced=10
        )
    refused(response, 412)
    assert response.headers["Tus-Version"] == "1.0.0"
    assert "Upload-Offset" not in response.headers
    assert body.reads == 0


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_the_version_is_judged_before_the_upload_is_looked_up(tus: Tus, method: str) -> None:
    """A client of another version learns that, not whether an upload exists."""
    refused(tus.request(method, UNKNOWN, headers={"Tus-Resumable": "0.2.2"}), 412)


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_writing_without_a_version_is_refused(server: Server, method: str) -> None:
    """Without Tus-Resumable a request that would change something answers 412 and changes nothing."""
    url = server.tus.new(3)
    headers = {"Tus-Resumable": None, "Content-Type": OCTETS}
    headers |= {"Upload-Length": "3"} if method == "POST" else {"Upload-Offset": "0"}
    with server.unchanged(url):
        response = server.tus.request(method, "/files/" if method == "POST" else url, headers=headers, body=b"abc")
    refused(response, 412)
    assert response.headers["Tus-Version"] == "1.0.0"


def test_reading_without_a_version_is_tolerated(serve: Serve) -> None:
    """curl and browsers may HEAD and GET without knowing tus."""
    tus = serve(DOWNLOADS=True).tus
    url = tus.upload(b"abc")
    assert tus.head(url, {"Tus-Resumable": None}).status_code == 200
    assert tus.get(url).data == b"abc"


def test_strict_asks_head_for_the_version(serve: Serve) -> None:
    """With STRICT a HEAD without Tus-Resumable answers 412; GET stays free."""
    tus = serve(STRICT_HEAD=True, DOWNLOADS=True).tus
    url = tus.upload(b"abc")
    response = tus.head(url, {"Tus-Resumable": None})
    refused(response, 412)
    assert response.headers["Tus-Version"] == "1.0.0"
    assert tus.head(url).status_code == 200
    assert tus.get(url).status_code == 200

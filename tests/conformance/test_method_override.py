"""tus 1.0, Core Protocol: X-HTTP-Method-Override."""

from __future__ import annotations

import pytest

from .server import Server
from .tus_client import OCTETS
from .tus_client import OVERRIDE
from .tus_client import refused
from .tus_client import Tus
from .tus_client import words


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_the_override_is_the_method(server: Server, method: str) -> None:
    """Whatever the real method, X-HTTP-Method-Override: PATCH is a PATCH."""
    url = server.tus.new(6)
    headers = {OVERRIDE: "PATCH", "Content-Type": OCTETS, "Upload-Offset": "0"}
    response = server.tus.request(method, url, headers=headers, body=b"abc")
    assert response.status_code == 204
    assert response.headers["Upload-Offset"] == "3"
    assert server.content(url) == b"abc"


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "PATCH"])
def test_delete_by_override(server: Server, method: str) -> None:
    """Where DELETE is blocked, the override removes the upload."""
    url = server.tus.new(6)
    assert server.tus.request(method, url, headers={OVERRIDE: "DELETE"}).status_code == 204
    assert server.tus.head(url).status_code == 404
    assert server.dump() == []


@pytest.mark.parametrize("method", ["POST", "GET", "PATCH", "DELETE"])
def test_head_by_override(server: Server, method: str) -> None:
    """An overriding HEAD answers as HEAD does, without a body, and nothing else happens."""
    url = server.tus.new(6)
    server.tus.patch(url, 0, b"abc")
    with server.unchanged(url):
        response = server.tus.request(method, url, headers={OVERRIDE: "HEAD", "Content-Type": OCTETS})
    assert response.status_code == 200
    assert response.data == b""
    assert response.headers["Upload-Offset"] == "3"
    assert response.headers["Upload-Length"] == "6"
    assert "no-store" in response.headers["Cache-Control"]


def test_post_and_options_by_override(tus: Tus) -> None:
    """The override also counts at the endpoint: creating and asking work by it."""
    created = tus.request("PUT", "", headers={OVERRIDE: "POST", "Upload-Length": "5"})
    assert created.status_code == 201
    asked = tus.request("POST", "", headers={OVERRIDE: "OPTIONS", "Tus-Resumable": None})
    assert asked.status_code == 204
    assert asked.headers["Tus-Version"] == "1.0.0"


def test_the_version_is_asked_of_the_override(server: Server) -> None:
    """A GET needs no version, but one that is a PATCH does."""
    url = server.tus.new(3)
    headers = {"Tus-Resumable": None, OVERRIDE: "PATCH", "Content-Type": OCTETS, "Upload-Offset": "0"}
    with server.unchanged(url):
        refused(server.tus.request("GET", url, headers=headers, body=b"abc"), 412)


@pytest.mark.parametrize("override", ["BREW", "PUT", "TRACE", "PATCH, DELETE", "../PATCH", "\xe9"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "HEAD", "GET"])
def test_an_unknown_override_is_refused(server: Server, method: str, override: str) -> None:
    """An override that means nothing here answers 405 and changes nothing: the real method is not a fallback."""
    url = server.tus.new(3)
    headers = {OVERRIDE: override, "Content-Type": OCTETS, "Upload-Offset": "0"}
    with server.unchanged(url):
        response = server.tus.request(method, url, headers=headers, body=b"abc")
    refused(response, 405)
    assert "PATCH" in words(response.headers["Allow"])


@pytest.mark.parametrize("override", ["PATCH", "DELETE"])
def test_an_upload_method_means_nothing_at_the_endpoint(server: Server, override: str) -> None:
    """The endpoint itself can be neither patched nor deleted; the POST under the override does not create."""
    with server.unchanged():
        response = server.tus.create(3, {OVERRIDE: override, "Content-Type": OCTETS, "Upload-Offset": "0"})
    refused(response, 405)

"""Queries whose bytes are not UTF-8, as no client sends them but WSGI servers let them through."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.server import Server
from tests.conformance.server import start_embedded
from tests.conformance.tus_client import OCTETS

# As a WSGI server hands them over: each byte is a character of Latin-1.
QUERIES = ("flowIdentifier=\xd4", "upload_token=\xff", "flowChunkNumber=1&upload_token=a&x=\xe9", "\xff")
TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "1", "Upload-Offset": "0", "Content-Type": OCTETS}
DRAFT = {"Upload-Complete": "?1"}
METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """An app with tokens."""
    return start_embedded(tmp_path, {"SECRET_KEY": "x" * 20})


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("path", ["/flow/", "/flow/status", "/files/", "upload"])
def test_no_query_is_too_strange(server: Server, path: str, query: str) -> None:
    """It is refused where it matters, and never fails."""
    client = server.app.test_client()
    if path == "upload":
        path = server.tus.new(5)
    for method in METHODS:
        for headers in (TUS, DRAFT, {}):
            response = client.open(
                path, method=method, headers=headers, data=b"x", environ_overrides={"QUERY_STRING": query}
            )
            assert response.status_code < 500, (method, headers, response.text)


def test_the_refusal_says_what_to_do(server: Server) -> None:
    """In the form of the protocol."""
    client = server.app.test_client()
    response = client.post("/flow/", data=b"x", environ_overrides={"QUERY_STRING": QUERIES[0]})
    assert response.status_code == 400
    assert "percent-encode" in response.get_json()["error"]
    response = client.post("/files/", headers=TUS, data=b"x", environ_overrides={"QUERY_STRING": QUERIES[1]})
    assert response.status_code == 400
    assert "percent-encode" in response.text

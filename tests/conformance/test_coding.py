"""Header fields that change what a body means: its bytes would not be those of the file, so they are not taken."""

from __future__ import annotations

import gzip

import pytest

from .server import Server

CODED = [
    ("Content-Encoding", "gzip"),
    ("Content-Encoding", "identity, br"),
    ("Content-Encoding", "aws-chunked"),
    ("Content-Encoding", "nonsense"),
    ("Transfer-Encoding", "gzip"),
    ("Transfer-Encoding", "gzip, chunked"),
    ("Content-Transfer-Encoding", "base64"),
]
PLAIN = [
    ("Content-Encoding", "identity"),
    ("Content-Encoding", "IDENTITY"),
    ("Content-Encoding", ""),
    ("Content-Transfer-Encoding", "binary"),
]


@pytest.mark.parametrize(("name", "value"), CODED)
def test_coded_content_is_refused(server: Server, name: str, value: str) -> None:
    """415 for a PATCH and for a POST with content, naming the field; nothing is stored, and no upload is made."""
    url = server.tus.new(100)
    content = gzip.compress(b"a" * 1000)[:100]
    response = server.tus.patch(url, 0, content, {name: value})
    assert response.status_code == 415
    assert name in response.text
    assert server.tus.offset(url) == 0
    created = server.hooks.count("on_create")
    assert server.tus.create_with(content, 100, {name: value}).status_code == 415
    assert server.hooks.count("on_create") == created


@pytest.mark.parametrize(("name", "value"), PLAIN)
def test_plain_content_that_says_so_is_taken(server: Server, name: str, value: str) -> None:
    """Values that mean nothing change nothing."""
    url = server.tus.new(3)
    assert server.tus.patch(url, 0, b"abc", {name: value}).status_code == 204
    assert server.finished(url).read_bytes() == b"abc"


@pytest.mark.parametrize("value", ["bytes 0-2/6", "bytes 3-5/6", "nonsense"])
def test_content_that_names_its_own_place_is_refused(server: Server, value: str) -> None:
    """400 for Content-Range: there is Upload-Offset, and which of the two is right nobody knows."""
    url = server.tus.new(6)
    response = server.tus.patch(url, 0, b"abc", {"Content-Range": value})
    assert response.status_code == 400
    assert "Content-Range" in response.text
    assert server.tus.offset(url) == 0
    assert server.tus.create_with(b"abc", 6, {"Content-Range": value}).status_code == 400


def test_requests_without_content_may_name_a_coding(server: Server) -> None:
    """There is nothing that could be coded."""
    assert server.tus.create(3, {"Content-Encoding": "gzip"}).status_code == 201

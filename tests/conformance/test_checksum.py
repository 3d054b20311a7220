"""tus 1.0, Checksum and checksum-trailer. Trailers as a real server hands them over are in tests/live."""

from __future__ import annotations

import base64
import hashlib

import pytest

from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import checksum
from .tus_client import DEFERRED
from .tus_client import interrupted
from .tus_client import refused
from .tus_client import words

ALGORITHMS = ["sha1", "md5", "sha256", "sha512", "crc32"]
MALFORMED = [
    "sha1",
    "sha1 ",
    "sha1 !!!!",
    "sha1 not base64 at all",
    "sha1 " + base64.b64encode(hashlib.sha1(b"abc").hexdigest().encode()).decode(),  # of the hex text
    "sha1 " + base64.b64encode(hashlib.sha1(b"abc").digest()[:19]).decode(),
    "sha1 " + base64.b64encode(hashlib.md5(b"abc").digest()).decode(),
    "sha1 " + hashlib.sha1(b"abc").hexdigest(),
    checksum(b"abc").rstrip("="),
    checksum(b"abc") + " more",
    checksum(b"abc").replace(" ", ":"),
    "",
    " ",
    "\xe9 AAAA",
    "sha1 \xe9",
]
UNKNOWN_ALGORITHMS = ["sha3", "SHA1", "sha-1", "crc32c", "sha224", "shake_128", "none", "__class__"]


def test_checksums_are_offered(server: Server) -> None:
    """checksum is listed, with lower-case ASCII algorithms, sha1 among them."""
    headers = server.tus.options().headers
    assert "checksum" in words(headers["Tus-Extension"])
    listed = words(headers["Tus-Checksum-Algorithm"])
    assert "sha1" in listed
    assert all(name.isascii() and name == name.lower() for name in listed)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_right_checksum_passes(server: Server, algorithm: str) -> None:
    """A body with its digest in base64 gets a 204, with every algorithm that is listed."""
    url = server.tus.new(6)
    response = server.tus.patch(url, 0, b"abc", {"Upload-Checksum": checksum(b"abc", algorithm)})
    assert response.status_code == 204
    assert response.headers["Upload-Offset"] == "3"
    assert server.content(url) == b"abc"


def test_the_example_of_the_specification_passes(server: Server) -> None:
    """'hello world' has the SHA-1 that the protocol's text prints."""
    url = server.tus.new(11)
    response = server.tus.patch(url, 0, b"hello world", {"Upload-Checksum": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="})
    assert response.status_code == 204
    assert server.finished(url).read_bytes() == b"hello world"


def test_a_chunked_body_is_verified_too(server: Server) -> None:
    """The digest is over the bytes, however they arrive."""
    url = server.tus.new(6)
    body = Body(b"a", b"bc", b"def")
    response = server.tus.patch(url, 0, body, {"Upload-Checksum": checksum(b"abcdef")}, chunked=True)
    assert response.status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"


def test_an_empty_body_has_a_checksum(server: Server) -> None:
    """An empty body has a digest, too, right or wrong."""
    url = server.tus.new(6)
    assert server.tus.patch(url, 0, b"", {"Upload-Checksum": checksum(b"")}).status_code == 204
    refused(server.tus.patch(url, 0, b"", {"Upload-Checksum": checksum(b"x")}), 460)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("content", [b"dEf", b"de", b"def"])
def test_a_wrong_checksum_discards_the_content(server: Server, algorithm: str, content: bytes) -> None:
    """A mismatch answers 460: offset, earlier bytes and completeness stay, and the content can be sent again."""
    tus = server.tus
    url = tus.new(6)
    tus.patch(url, 0, b"abc")
    before = server.state(url)
    refused(tus.patch(url, 3, content, {"Upload-Checksum": checksum(b"xyz", algorithm)}), 460)
    assert server.state(url) == before
    assert server.content(url) == b"abc"
    assert not server.finished(url).exists()
    assert server.hooks.names(url).count("post_save") == 1
    assert server.hooks.count("on_complete") == 0
    assert tus.patch(url, 3, b"def", {"Upload-Checksum": checksum(b"def", algorithm)}).status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"


def test_large_content_is_discarded_whole(server: Server) -> None:
    """However much was written before the mismatch showed, none of it counts, and shorter content replaces it."""
    tus = server.tus
    url = tus.new(2_000_000)
    refused(tus.patch(url, 0, b"x" * 1_500_000, {"Upload-Checksum": checksum(b"y")}), 460)
    assert tus.offset(url) == 0
    assert tus.patch(url, 0, b"abc").status_code == 204
    assert server.content(url) == b"abc"
    assert tus.patch(url, 3, b"d" * 1_999_997).status_code == 204
    assert server.finished(url).read_bytes() == b"abc" + b"d" * 1_999_997


def test_discarded_content_does_not_linger_behind_the_end(server: Server) -> None:
    """A deferred upload that ends below discarded content is exactly as long as declared."""
    tus = server.tus
    url = tus.new(headers=DEFERRED)
    refused(tus.patch(url, 0, b"x" * 100, {"Upload-Checksum": checksum(b"y")}), 460)
    assert tus.patch(url, 0, b"abc", {"Upload-Length": "3"}).status_code == 204
    assert server.finished(url).read_bytes() == b"abc"


def test_a_length_declared_beside_a_wrong_checksum_is_not_kept(server: Server) -> None:
    """'The upload MUST NOT be updated': a length that came with the discarded content goes with it."""
    url = server.tus.new(headers=DEFERRED)
    before = server.state(url)
    headers = {"Upload-Length": "3", "Upload-Checksum": checksum(b"abd")}
    refused(server.tus.patch(url, 0, b"abc", headers), 460)
    assert server.state(url) == before


@pytest.mark.parametrize("algorithm", UNKNOWN_ALGORITHMS)
def test_an_unknown_algorithm_is_refused_unread(server: Server, algorithm: str) -> None:
    """An algorithm that is not listed answers 400 before the body is read."""
    url = server.tus.new(6)
    body = Body(b"abc")
    value = f"{algorithm} {checksum(b'abc').split()[1]}"
    with server.unchanged(url):
        refused(server.tus.patch(url, 0, body, {"Upload-Checksum": value}, announced=3), 400)
    assert body.reads == 0


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_checksum_is_refused_unread(server: Server, value: str) -> None:
    """One word, bad base64 or a digest of the wrong size answers 400 before the body is read."""
    url = server.tus.new(6)
    body = Body(b"abc")
    with server.unchanged(url):
        refused(server.tus.patch(url, 0, body, {"Upload-Checksum": value}, announced=3), 400)
    assert body.reads == 0


def test_the_digest_is_of_this_request(server: Server) -> None:
    """A checksum covers the bytes of its own request, not the file so far."""
    tus = server.tus
    url = tus.new(9)
    tus.patch(url, 0, b"abc", {"Upload-Checksum": checksum(b"abc")})
    refused(tus.patch(url, 3, b"def", {"Upload-Checksum": checksum(b"abcdef")}), 460)
    assert tus.patch(url, 3, b"def", {"Upload-Checksum": checksum(b"def")}).status_code == 204
    refused(tus.patch(url, 6, b"ghi", {"Upload-Checksum": checksum(b"abcdefghi")}), 460)
    assert tus.patch(url, 6, b"ghi", {"Upload-Checksum": checksum(b"ghi", "md5")}).status_code == 204
    assert server.finished(url).read_bytes() == b"abcdefghi"


@pytest.mark.parametrize("announced", ["abc", "abcdef"])
@pytest.mark.parametrize("cut", [b"", ConnectionResetError(), TimeoutError()])
def test_cut_content_under_a_checksum_is_discarded(server: Server, cut: bytes | OSError, announced: str) -> None:
    """A body that cannot be verified because its end is missing is not kept, even if what arrived would match."""
    tus = server.tus
    url = tus.new(9)
    tus.patch(url, 0, b"123")
    before = server.state(url)
    headers = {"Upload-Checksum": checksum(announced.encode())}
    interrupted(tus.patch(url, 3, Body(b"abc", cut), headers, announced=6), 3)
    assert server.state(url) == before
    assert tus.patch(url, 3, b"abcdef", {"Upload-Checksum": checksum(b"abcdef")}).status_code == 204
    assert server.finished(url).read_bytes() == b"123abcdef"


def test_without_a_checksum_nothing_is_verified(server: Server) -> None:
    """Checksums are the client's choice by default, request by request."""
    url = server.tus.new(6)
    assert server.tus.patch(url, 0, b"abc", {"Upload-Checksum": checksum(b"abc")}).status_code == 204
    assert server.tus.patch(url, 3, b"def").status_code == 204


def test_a_checksum_can_be_required(serve: Serve) -> None:
    """With REQUIRE_CHECKSUM, bytes without one answer 400 unread, in PATCH and in POST; creating needs none."""
    server = serve(REQUIRE_CHECKSUM=True)
    tus = server.tus
    url = tus.new(6)
    body = Body(b"abc")
    with server.unchanged(url):
        refused(tus.patch(url, 0, body, announced=3), 400)
        refused(tus.create_with(body, 6, announced=3), 400)
    assert body.reads == 0
    assert tus.patch(url, 0, b"abc", {"Upload-Checksum": checksum(b"abc")}).status_code == 204
    assert tus.create_with(b"abc", 6, {"Upload-Checksum": checksum(b"abc")}).status_code == 201


def test_trailers_are_not_offered_where_they_would_be_lost(server: Server) -> None:
    """checksum-trailer is not listed on a WSGI server that drops trailers."""
    assert "checksum-trailer" not in words(server.tus.options().headers["Tus-Extension"])


@pytest.mark.parametrize("trailer", ["Upload-Checksum", "upload-checksum", "X-Other, Upload-Checksum"])
def test_where_trailers_are_lost_the_header_counts(server: Server, trailer: str) -> None:
    """An announced trailer that this server cannot deliver changes nothing about a checksum in the header."""
    url = server.tus.new(6)
    before = server.state(url)
    wrong = {"Upload-Checksum": checksum(b"abd"), "Trailer": trailer}
    refused(server.tus.patch(url, 0, b"abc", wrong, chunked=True), 460)
    assert server.state(url) == before
    right = {"Upload-Checksum": checksum(b"abc"), "Trailer": trailer}
    assert server.tus.patch(url, 0, b"abc", right, chunked=True).status_code == 204

"""tus 1.0, Creation With Upload."""

from __future__ import annotations

import pytest

from .server import EXPIRED
from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import checksum
from .tus_client import EndlessBody
from .tus_client import refused
from .tus_client import words


def test_it_is_offered_with_creation(server: Server) -> None:
    """creation-with-upload is listed beside creation."""
    assert {"creation", "creation-with-upload"} <= set(words(server.tus.options().headers["Tus-Extension"]))


def test_it_is_not_offered_without_creation(serve: Serve) -> None:
    """Without creation it disappears too."""
    tus = serve(DISABLED_EXTENSIONS=["creation"]).tus
    assert "creation-with-upload" not in words(tus.options().headers.get("Tus-Extension"))


def test_disabled_it_stores_no_bytes(serve: Serve) -> None:
    """Switched off, the bytes of a POST are not taken, and never silently lost: no offset claims them."""
    server = serve(DISABLED_EXTENSIONS=["creation-with-upload"])
    response = server.tus.create_with(b"abc", 6)
    assert response.status_code in {201, 400, 415}
    assert response.headers.get("Upload-Offset", "0") == "0"
    assert "pre_save" not in server.hooks.names()
    assert "on_complete" not in server.hooks.names()


@pytest.mark.parametrize("content", [b"", b"a", b"abcde"])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_first_bytes_come_with_the_creation(server: Server, content: bytes, chunked: bool) -> None:
    """POST with upload content answers 201, Location, and in Upload-Offset how much is kept, 0 included."""
    tus = server.tus
    response = tus.create_with(content, 6, chunked=chunked)
    assert response.status_code == 201
    assert response.headers["Upload-Offset"] == str(len(content))
    url = tus.endpoint + response.headers["Location"]
    assert tus.offset(url) == len(content)
    assert server.content(url) == content
    assert server.hooks.count("on_create") == 1
    assert server.hooks.count("on_complete") == 0
    assert tus.patch(url, len(content), b"abcdef"[len(content) :]).status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"


def test_the_length_may_be_deferred(server: Server) -> None:
    """The first bytes may come before the length is known."""
    tus = server.tus
    response = tus.create_with(b"abc", 0, {"Upload-Length": None, "Upload-Defer-Length": "1"})
    assert response.status_code == 201
    assert response.headers["Upload-Offset"] == "3"
    url = tus.endpoint + response.headers["Location"]
    assert tus.head(url).headers["Upload-Defer-Length"] == "1"
    assert tus.patch(url, 3, b"", {"Upload-Length": "3"}).status_code == 204
    assert server.finished(url).read_bytes() == b"abc"


@pytest.mark.parametrize("length", [0, 2])
def test_more_than_the_length_creates_nothing(server: Server, length: int) -> None:
    """A body beyond Upload-Length answers 413 before anything is created: no orphan, no hook, no byte read."""
    body = Body(b"abc")
    with server.unchanged():
        refused(server.tus.create_with(body, length, announced=3), 413)
    assert body.reads == 0


def test_more_than_the_maximum_creates_nothing(serve: Serve) -> None:
    """With a deferred length the maximum takes its place."""
    server = serve(MAX_SIZE=10)
    body = Body(b"x" * 11)
    with server.unchanged():
        headers = {"Upload-Length": None, "Upload-Defer-Length": "1"}
        refused(server.tus.create_with(body, 0, headers, announced=11), 413)
    assert body.reads == 0


def test_an_endless_creation_is_cut_off(server: Server) -> None:
    """A chunked body that passes the length answers 413, stores nothing beyond it and is not drained."""
    body = EndlessBody()
    refused(server.tus.create_with(body, 100_000, chunked=True), 413)
    assert body.taken < 100_000 + 1024 * 1024
    assert max(server.files().values(), default=0) <= 100_000


@pytest.mark.parametrize("cut", [b"", ConnectionResetError()])
def test_what_arrived_of_a_cut_creation_is_kept(server: Server, cut: bytes | ConnectionResetError) -> None:
    """When the body is cut the upload and its bytes stay; who still hears the 201 reads how much was kept."""
    tus = server.tus
    response = tus.create_with(Body(b"a" * 400, cut), 1000, announced=1000)
    assert response.status_code == 201
    assert response.headers["Upload-Offset"] == "400"
    url = tus.endpoint + response.headers["Location"]
    assert tus.offset(url) == 400
    assert server.content(url) == b"a" * 400
    assert tus.patch(url, 400, b"b" * 600).status_code == 204


def test_an_upload_that_nobody_knows_is_collected(server: Server) -> None:
    """The client may never have seen the URL: expiry removes such an upload, row and bytes."""
    before = server.kept()
    server.tus.create_with(Body(b"a" * 400), 1000, announced=1000)
    assert server.kept() != before
    server.clock.advance(**EXPIRED)
    server.cli("tus", "delete_expired")
    assert server.kept() == before


@pytest.mark.parametrize("chunked", [False, True])
def test_the_whole_file_may_come_with_the_creation(server: Server, chunked: bool) -> None:
    """A POST with every byte answers 201 with Upload-Offset = length; the upload is complete, once."""
    tus = server.tus
    response = tus.create_with(b"abcdef", 6, chunked=chunked)
    assert response.status_code == 201
    assert response.headers["Upload-Offset"] == "6"
    url = tus.endpoint + response.headers["Location"]
    assert server.finished(url).read_bytes() == b"abcdef"
    assert server.hooks.names(url) == ["on_create", "pre_save", "post_save", "on_complete"]
    assert tus.patch(url, 6).status_code == 204
    assert server.hooks.count("on_complete") == 1


@pytest.mark.parametrize("algorithm", ["sha1", "md5", "sha256", "sha512", "crc32"])
def test_a_checksum_on_a_creation_is_verified(server: Server, algorithm: str) -> None:
    """A right checksum lets the creation pass."""
    response = server.tus.create_with(b"abc", 6, {"Upload-Checksum": checksum(b"abc", algorithm)})
    assert response.status_code == 201
    assert response.headers["Upload-Offset"] == "3"


@pytest.mark.parametrize("length", [3, 6])
def test_a_wrong_checksum_leaves_no_upload(server: Server, length: int) -> None:
    """A wrong checksum answers 460; no upload is left, and nothing was completed."""
    before = server.kept()
    refused(server.tus.create_with(b"abc", length, {"Upload-Checksum": checksum(b"abd")}), 460)
    assert server.kept() == before
    assert server.hooks.count("on_complete") == 0


@pytest.mark.parametrize("value", ["sha3 AAAA", "sha1", "sha1 !!!!", "sha1 YWJj"])
def test_an_unusable_checksum_creates_nothing(server: Server, value: str) -> None:
    """An unknown algorithm or a malformed header answers 400 before anything is created."""
    body = Body(b"abc")
    with server.unchanged():
        refused(server.tus.create_with(body, 6, {"Upload-Checksum": value}, announced=3), 400)
    assert body.reads == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Upload-Length": "2"}, 413),
        ({"Upload-Length": "x"}, 400),
        ({"Upload-Metadata": "a !"}, 400),
        ({"Upload-Concat": "nonsense"}, 400),
    ],
)
def test_a_client_that_asks_first_is_refused_before_it_sends(
    server: Server, headers: dict[str, str | None], status: int
) -> None:
    """With Expect: 100-continue a refusal comes without a read, which is what would send the 100."""
    body = Body(b"abc")
    with server.unchanged():
        response = server.tus.create_with(body, 6, {"Expect": "100-continue", **headers}, announced=3)
    refused(response, status)
    assert body.reads == 0


def test_a_welcome_creation_is_read(server: Server) -> None:
    """Expect changes nothing else."""
    response = server.tus.create_with(b"abc", 6, {"Expect": "100-continue"})
    assert response.status_code == 201
    assert response.headers["Upload-Offset"] == "3"

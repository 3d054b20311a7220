"""tus 1.0, PATCH: offsets, sizes and media types. How a body may arrive is in test_bodies.py."""

from __future__ import annotations

import pytest

from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import EndlessBody
from .tus_client import OCTETS
from .tus_client import OVERRIDE
from .tus_client import refused
from .tus_client import UNKNOWN


def test_a_chunk_is_stored_and_acknowledged(server: Server) -> None:
    """A PATCH at the upload's offset answers 204 with the new offset and no body; the bytes are on disk."""
    tus = server.tus
    url = tus.new(6)
    response = tus.patch(url, 0, b"abc")
    assert response.status_code == 204
    assert response.data == b""
    assert response.headers["Upload-Offset"] == "3"
    assert server.content(url) == b"abc"
    assert not server.finished(url).exists()
    assert server.hooks.names(url) == ["on_create", "pre_save", "post_save"]


def test_the_last_chunk_completes(server: Server) -> None:
    """With the last byte the file is whole under its id, and on_complete is called once, after post_save."""
    tus = server.tus
    url = tus.new(6)
    tus.patch(url, 0, b"abc")
    response = tus.patch(url, 3, b"def")
    assert response.status_code == 204
    assert response.headers["Upload-Offset"] == "6"
    assert server.finished(url).read_bytes() == b"abcdef"
    assert server.files_of(url) == [server.finished(url).name]
    assert server.hooks.names(url) == ["on_create", *["pre_save", "post_save"] * 2, "on_complete"]
    done = server.hooks.calls[-1]
    assert (done.offset, done.length) == (6, 6)


def test_hooks_see_the_offset_of_their_moment(server: Server) -> None:
    """pre_save sees the offset before the chunk, post_save the one after it."""
    url = server.tus.new(6)
    server.tus.patch(url, 0, b"abc")
    server.tus.patch(url, 3, b"de")
    assert [(call.hook, call.offset) for call in server.hooks.calls] == [
        ("on_create", 0),
        ("pre_save", 0),
        ("post_save", 3),
        ("pre_save", 3),
        ("post_save", 5),
    ]


def test_many_small_chunks_add_up(server: Server) -> None:
    """A file sent byte by byte is that file."""
    content = bytes(range(40))
    url = server.tus.new(len(content))
    for offset in range(len(content)):
        response = server.tus.patch(url, offset, content[offset : offset + 1])
        assert response.headers["Upload-Offset"] == str(offset + 1)
    assert server.finished(url).read_bytes() == content
    assert server.hooks.count("on_complete") == 1


def test_a_chunk_larger_than_any_buffer(server: Server) -> None:
    """One PATCH of several megabytes is stored byte for byte."""
    content = bytes(range(256)) * 12_345 + b"end"
    url = server.tus.upload(content)
    assert server.finished(url).read_bytes() == content


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "application/octet-stream",
        "text/plain",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/offset+octet-streams",
        "application/offset",
        "text/plain; application/offset+octet-stream",
    ],
)
def test_another_content_type_is_refused(server: Server, media_type: str | None) -> None:
    """Without the upload content type a PATCH answers 415 unread and changes nothing."""
    url = server.tus.new(6)
    body = Body(b"abc")
    with server.unchanged(url):
        response = server.tus.patch(url, 0, body, {"Content-Type": media_type}, announced=3)
    refused(response, 415)
    assert body.reads == 0


@pytest.mark.parametrize("media_type", [f"{OCTETS}; charset=UTF-8", f"{OCTETS};x=y", OCTETS.title()])
def test_parameters_and_case_do_not_matter(server: Server, media_type: str) -> None:
    """Proxies and browsers add parameters to a media type; it is still the right one."""
    url = server.tus.new(3)
    assert server.tus.patch(url, 0, b"abc", {"Content-Type": media_type}).status_code == 204
    assert server.finished(url).read_bytes() == b"abc"


@pytest.mark.parametrize("offset", [0, 2, 4, 6, 2**63 - 1])
def test_stale_offset_is_refused(server: Server, offset: int) -> None:
    """A PATCH whose offset is not the upload's answers 409 with the right one, unread, and changes nothing."""
    url = server.tus.new(6)
    server.tus.patch(url, 0, b"abc")
    body = Body(b"x")
    with server.unchanged(url):
        response = server.tus.patch(url, offset, body, announced=1)
    refused(response, 409)
    assert response.headers["Upload-Offset"] == "3"
    assert body.reads == 0


@pytest.mark.parametrize("body", [b"", b"abc"])
@pytest.mark.parametrize("offset", [0, 2, 4])
def test_stale_offset_on_a_complete_upload_is_refused(server: Server, offset: int, body: bytes) -> None:
    """Completeness excuses no wrong offset: 409, and the file stays."""
    url = server.tus.upload(b"abc")
    with server.unchanged(url):
        response = server.tus.patch(url, offset, body)
    refused(response, 409)
    assert response.headers["Upload-Offset"] == "3"


def test_the_offset_is_checked_before_the_size(serve: Serve) -> None:
    """A client that lost count is told its offset, not that its body is too large."""
    server = serve(MAX_SIZE=6)
    url = server.tus.new(6)
    server.tus.patch(url, 0, b"abc")
    refused(server.tus.patch(url, 0, b"abcdefgh"), 409)


@pytest.mark.parametrize("offset", [None, "", "x", "-1", "+0", "0.0", "0,0"])
def test_an_offset_must_be_given(server: Server, offset: str | None) -> None:
    """A missing or unreadable Upload-Offset answers 400, unread."""
    url = server.tus.new(6)
    body = Body(b"abc")
    with server.unchanged(url):
        response = server.tus.patch(url, offset, body, announced=3)
    refused(response, 400)
    assert body.reads == 0


def test_an_unknown_upload_is_not_found(server: Server) -> None:
    """A PATCH of an upload that never existed or was terminated answers 404 and makes nothing."""
    tus = server.tus
    gone = tus.new(6)
    tus.delete(gone)
    for url in (UNKNOWN, "/files/nonsense", gone):
        body = Body(b"abc")
        with server.unchanged():
            refused(tus.patch(url, 0, body, announced=3), 404)
        assert body.reads == 0


@pytest.mark.parametrize(("sent", "body"), [(0, b"1234567"), (3, b"1234"), (5, b"12")])
def test_more_than_remains_is_refused_before_reading(server: Server, sent: int, body: bytes) -> None:
    """A Content-Length beyond the upload's length answers 413, unread, and changes nothing."""
    url = server.tus.new(6)
    server.tus.patch(url, 0, b"abcdef"[:sent])
    wire = Body(body)
    with server.unchanged(url):
        response = server.tus.patch(url, sent, wire, announced=len(body))
    refused(response, 413)
    assert wire.reads == 0


def test_exactly_what_remains_is_taken(server: Server) -> None:
    """The limit is the length itself, not one less."""
    url = server.tus.new(6)
    assert server.tus.patch(url, 0, b"abcdef").status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"


@pytest.mark.parametrize("pieces", [(b"abcdefgh",), (b"abc", b"defgh"), (b"abcdef", b"gh"), (b"a",) * 8])
def test_a_chunked_body_never_passes_the_length(server: Server, pieces: tuple[bytes, ...]) -> None:
    """A body that turns out longer than the upload answers 413; nothing beyond the length is ever stored."""
    tus = server.tus
    url = tus.new(6)
    refused(tus.patch(url, 0, Body(*pieces), chunked=True), 413)
    offset = tus.offset(url)
    assert offset <= 6
    assert tus.head(url).headers["Upload-Length"] == "6"
    assert server.content(url) == b"".join(pieces)[:offset]
    assert server.hooks.count("on_complete") == (offset == 6)
    if offset < 6:
        assert tus.patch(url, offset, b"abcdef"[offset:]).status_code == 204
        assert len(server.finished(url).read_bytes()) == 6


def test_an_endless_body_is_cut_not_drained(server: Server) -> None:
    """The server stops reading soon after the length is passed."""
    url = server.tus.new(100_000)
    body = EndlessBody()
    refused(server.tus.patch(url, 0, body, chunked=True), 413)
    assert body.taken < 100_000 + 1024 * 1024


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("offset", [0, 3])
def test_an_empty_chunk_changes_nothing(server: Server, offset: int, chunked: bool) -> None:
    """An empty body at the right offset answers 204 with the same offset."""
    url = server.tus.new(6)
    server.tus.patch(url, 0, b"abc"[:offset])
    before = server.state(url)
    response = server.tus.patch(url, offset, b"", chunked=chunked)
    assert response.status_code == 204
    assert response.headers["Upload-Offset"] == str(offset)
    assert server.state(url) == before
    assert server.hooks.count("on_complete") == 0


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("content", [b"", b"abc"])
def test_repeating_the_end_of_a_complete_upload_is_harmless(server: Server, content: bytes, chunked: bool) -> None:
    """An empty PATCH at the end answers 204: the file is not touched and on_complete is not called again."""
    url = server.tus.upload(content)
    before = server.finished(url).stat()
    response = server.tus.patch(url, len(content), b"", chunked=chunked)
    assert response.status_code == 204
    assert response.headers["Upload-Offset"] == str(len(content))
    after = server.finished(url).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert server.hooks.count("on_complete") == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_complete_upload_takes_no_more_bytes(server: Server, chunked: bool) -> None:
    """Bytes after the end answer 413 and change nothing."""
    url = server.tus.upload(b"abc")
    before = server.state(url), server.files()
    refused(server.tus.patch(url, 3, b"d", chunked=chunked), 413)
    assert (server.state(url), server.files()) == before
    assert server.hooks.count("on_complete") == 1


def test_the_repetition_makes_up_a_failed_completion(server: Server) -> None:
    """When on_complete failed, the client's empty PATCH at the end runs it again, and only until it succeeds."""

    def fail(upload: object) -> None:
        raise RuntimeError

    url = server.tus.new(3)
    server.hooks.during["on_complete"] = fail
    refused(server.tus.patch(url, 0, b"abc"), 500)
    refused(server.tus.patch(url, 3), 500)
    del server.hooks.during["on_complete"]
    for _ in range(2):
        response = server.tus.patch(url, 3)
        assert response.status_code == 204
        assert response.headers["Upload-Offset"] == "3"
    assert server.hooks.count("on_complete") == 3
    assert server.finished(url).read_bytes() == b"abc"


def test_the_answer_counts_only_what_is_stored(server: Server) -> None:
    """Whatever arrived of a body, the next offset is what is on disk, and the client goes on from there."""
    tus = server.tus
    content = b"0123456789"
    url = tus.new(10)
    assert tus.patch(url, 0, content[:4]).headers["Upload-Offset"] == "4"
    tus.patch(url, 4, Body(content[4:7]), announced=6)
    assert tus.offset(url) == 7
    assert server.content(url) == content[:7]
    assert tus.patch(url, 7, content[7:]).headers["Upload-Offset"] == "10"
    assert server.finished(url).read_bytes() == content


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_post_stands_in_where_a_proxy_blocks_the_method(server: Server, method: str) -> None:
    """Both methods work as a POST with X-HTTP-Method-Override on the upload's URL."""
    url = server.tus.new(3)
    headers = {OVERRIDE: method, "Content-Type": OCTETS, "Upload-Offset": "0"}
    body = b"abc" if method == "PATCH" else b""
    assert server.tus.request("POST", url, headers=headers, body=body).status_code == 204
    assert server.finished(url).exists() == (method == "PATCH")
    assert server.tus.head(url).status_code == (200 if method == "PATCH" else 404)

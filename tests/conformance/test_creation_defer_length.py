"""tus 1.0, Creation: lengths that are declared later."""

from __future__ import annotations

import pytest

from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import DEFERRED
from .tus_client import EndlessBody
from .tus_client import refused
from .tus_client import words


def test_deferring_while_disabled_is_refused(serve: Serve) -> None:
    """Without the extension a deferred length answers 400; it is never taken for an empty upload."""
    server = serve(DISABLED_EXTENSIONS=["creation-defer-length"])
    with server.unchanged():
        refused(server.tus.create(headers=DEFERRED), 400)
    assert server.tus.create(3).status_code == 201


def test_a_deferred_length_is_accepted(server: Server) -> None:
    """Upload-Defer-Length: 1 answers 201, and HEAD repeats it until the length is declared."""
    url = server.tus.new(headers=DEFERRED)
    shown = server.tus.head(url).headers
    assert shown["Upload-Defer-Length"] == "1"
    assert "Upload-Length" not in shown
    assert server.hooks.calls[0].length is None
    assert "creation-defer-length" in words(server.tus.options().headers["Tus-Extension"])


@pytest.mark.parametrize("before", [b"", b"abc"])
def test_the_length_is_declared_by_a_patch(server: Server, before: bytes) -> None:
    """The first PATCH that knows the size says it beside its bytes; from then on HEAD shows it."""
    tus = server.tus
    url = tus.new(headers=DEFERRED)
    if before:
        tus.patch(url, 0, before)
    offset = len(before)
    response = tus.patch(url, offset, b"def", {"Upload-Length": str(offset + 4)})
    assert response.status_code == 204
    assert response.headers["Upload-Offset"] == str(offset + 3)
    shown = tus.head(url).headers
    assert shown["Upload-Length"] == str(offset + 4)
    assert "Upload-Defer-Length" not in shown
    assert server.content(url) == before + b"def"
    assert server.hooks.count("on_complete") == 0
    assert tus.patch(url, offset + 3, b"g").status_code == 204
    assert server.finished(url).read_bytes() == before + b"defg"
    assert server.hooks.count("on_complete") == 1


def test_declaring_with_the_whole_file_completes(server: Server) -> None:
    """Length and every byte may come in one PATCH."""
    url = server.tus.new(headers=DEFERRED)
    assert server.tus.patch(url, 0, b"abc", {"Upload-Length": "3"}).status_code == 204
    assert server.finished(url).read_bytes() == b"abc"
    assert server.hooks.count("on_complete") == 1


def test_a_declaration_refused_for_its_body_declares_nothing(server: Server) -> None:
    """When the body beside it is too large, the length stays open."""
    url = server.tus.new(headers=DEFERRED)
    with server.unchanged(url):
        refused(server.tus.patch(url, 0, b"abcd", {"Upload-Length": "3"}), 413)


@pytest.mark.parametrize("length", ["6", "7", "3", "0"])
@pytest.mark.parametrize("deferred", [True, False])
def test_a_length_cannot_be_declared_again(server: Server, deferred: bool, length: str) -> None:
    """Once known, Upload-Length on a PATCH answers 400, the same value included, and stores nothing."""
    tus = server.tus
    url = tus.new(headers=DEFERRED) if deferred else tus.new(6)
    tus.patch(url, 0, b"abc", {"Upload-Length": "6"} if deferred else {})
    body = Body(b"def")
    with server.unchanged(url):
        refused(tus.patch(url, 3, body, {"Upload-Length": length}, announced=3), 400)
    assert body.reads == 0
    assert tus.patch(url, 3, b"def").status_code == 204


@pytest.mark.parametrize("length", ["0", "4"])
@pytest.mark.parametrize("body", [b"", b"x"])
def test_a_length_below_what_is_stored_is_refused(server: Server, length: str, body: bytes) -> None:
    """A declared length smaller than the offset answers 400; bytes are never cut off."""
    url = server.tus.new(headers=DEFERRED)
    server.tus.patch(url, 0, b"abcde")
    with server.unchanged(url):
        refused(server.tus.patch(url, 5, body, {"Upload-Length": length}), 400)


def test_a_length_above_the_maximum_is_refused(serve: Serve) -> None:
    """The maximum holds for a late length too: 413, and the length stays open."""
    server = serve(MAX_SIZE=10)
    url = server.tus.new(headers=DEFERRED)
    server.tus.patch(url, 0, b"abcde")
    with server.unchanged(url):
        refused(server.tus.patch(url, 5, b"f", {"Upload-Length": "11"}), 413)
    assert server.tus.patch(url, 5, b"fghij", {"Upload-Length": "10"}).status_code == 204


@pytest.mark.parametrize("content", [b"", b"abcde"])
def test_declaring_the_offset_as_the_length_completes(server: Server, content: bytes) -> None:
    """The last, empty PATCH of a deferred upload completes it: 204, one on_complete."""
    tus = server.tus
    url = tus.new(headers=DEFERRED)
    if content:
        tus.patch(url, 0, content)
    assert server.hooks.count("on_complete") == 0
    response = tus.patch(url, len(content), b"", {"Upload-Length": str(len(content))})
    assert response.status_code == 204
    assert response.headers["Upload-Offset"] == str(len(content))
    assert tus.head(url).headers["Upload-Length"] == str(len(content))
    assert server.finished(url).read_bytes() == content
    assert server.hooks.count("on_complete") == 1


@pytest.mark.parametrize("sent", [b"", b"abcde"])
def test_an_open_length_does_not_lift_the_maximum(serve: Serve, sent: bytes) -> None:
    """While the length is deferred, a body that would pass MAX_SIZE answers 413 unread."""
    server = serve(MAX_SIZE=10)
    url = server.tus.new(headers=DEFERRED)
    server.tus.patch(url, 0, sent)
    body = Body(b"x" * (11 - len(sent)))
    with server.unchanged(url):
        refused(server.tus.patch(url, len(sent), body, announced=11 - len(sent)), 413)
    assert body.reads == 0


def test_a_chunked_body_cannot_pass_the_maximum(serve: Serve) -> None:
    """What cannot be known from the headers is cut off when the maximum is passed."""
    server = serve(MAX_SIZE=100_000)
    url = server.tus.new(headers=DEFERRED)
    body = EndlessBody()
    refused(server.tus.patch(url, 0, body, chunked=True), 413)
    assert body.taken < 100_000 + 1024 * 1024
    assert server.tus.offset(url) <= 100_000
    assert max(server.files().values(), default=0) <= 100_000


def test_the_maximum_itself_may_be_filled(serve: Serve) -> None:
    """Deferred uploads may be exactly as large as others."""
    server = serve(MAX_SIZE=10)
    url = server.tus.new(headers=DEFERRED)
    assert server.tus.patch(url, 0, b"0123456789", chunked=True).status_code == 204
    assert server.tus.patch(url, 10, b"", {"Upload-Length": "10"}).status_code == 204
    assert server.finished(url).read_bytes() == b"0123456789"

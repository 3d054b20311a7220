"""tus 1.0, Termination."""

from __future__ import annotations

import pytest

from flask_resumable import UploadRejected

from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import PARTIAL
from .tus_client import refused
from .tus_client import UNKNOWN
from .tus_client import words


@pytest.mark.parametrize("sent", [b"", b"abc", b"abcdef"])
def test_an_upload_can_be_terminated_at_any_stage(server: Server, sent: bytes) -> None:
    """DELETE answers 204 without a body, before the first byte, on the way and after the last."""
    tus = server.tus
    url = tus.new(6)
    tus.patch(url, 0, sent)
    response = tus.delete(url)
    assert response.status_code == 204
    assert response.data == b""
    assert server.hooks.names(url)[-2:] == ["pre_delete", "post_delete"]
    assert server.hooks.count("pre_delete", url) == 1
    assert "termination" in words(tus.options().headers["Tus-Extension"])


@pytest.mark.parametrize("headers", [PARTIAL, {"Upload-Defer-Length": "1", "Upload-Length": None}])
def test_every_kind_of_upload_can_be_terminated(server: Server, headers: dict[str, str | None]) -> None:
    """Parts and uploads of unknown length go the same way."""
    url = server.tus.new(6, headers)
    server.tus.patch(url, 0, b"abc")
    assert server.tus.delete(url).status_code == 204
    assert server.tus.head(url).status_code == 404


def test_the_app_may_refuse(server: Server) -> None:
    """pre_delete refuses: the client reads why, and the upload stays."""

    def refuse(upload: object) -> None:
        raise UploadRejected(403, "This one is evidence.")

    url = server.tus.upload(b"abc")
    before = server.state(url), server.kept()
    server.hooks.during["pre_delete"] = refuse
    response = server.tus.delete(url)
    refused(response, 403)
    assert response.text.strip() == "This one is evidence."
    assert (server.state(url), server.kept()) == before
    assert "post_delete" not in server.hooks.names()


@pytest.mark.parametrize("sent", [b"", b"abc", b"abcdef"])
def test_a_terminated_upload_leaves_nothing(server: Server, sent: bytes) -> None:
    """HEAD, PATCH and DELETE answer 404 afterwards; row, bytes and fence are gone."""
    tus = server.tus
    before = server.kept()
    url = tus.new(6)
    tus.patch(url, 0, sent)
    tus.delete(url)
    assert server.kept() == before
    calls = list(server.hooks.calls)
    refused(tus.head(url), 404)
    refused(tus.patch(url, len(sent), b"x"), 404)
    refused(tus.delete(url), 404)
    assert server.kept() == before
    assert server.hooks.calls == calls


def test_others_are_left_alone(server: Server) -> None:
    """Only the upload that was named is removed."""
    tus = server.tus
    mine, other, done = tus.new(6), tus.new(6), tus.upload(b"abc")
    tus.patch(other, 0, b"abc")
    tus.delete(mine)
    assert tus.offset(other) == 3
    assert server.content(other) == b"abc"
    assert server.finished(done).read_bytes() == b"abc"


@pytest.mark.parametrize("url", [UNKNOWN, "/files/nonsense", "/files/%2e%2e", "/files/.partial"])
def test_an_unknown_upload_cannot_be_terminated(server: Server, url: str) -> None:
    """DELETE of nothing answers 404 and touches nothing."""
    server.tus.create_with(b"abc", 6)
    with server.unchanged():
        refused(server.tus.delete(url), 404)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("rest", [b"def", b""])
def test_terminating_interrupts_a_running_patch(server: Server, chunked: bool, rest: bytes) -> None:
    """DELETE during a PATCH answers 204; the PATCH fails and brings nothing back."""
    tus = server.tus
    rows = len(server.dump())
    url = tus.new(6)
    tus.patch(url, 0, b"ab")
    answers = []
    body = Body(b"c", lambda: answers.append(tus.delete(url)), rest)
    response = tus.patch(url, 2, body, announced=4, chunked=chunked)
    assert [answer.status_code for answer in answers] == [204]
    assert response.status_code in {404, 410, 423}
    refused(response, response.status_code)
    refused(tus.head(url), 404)
    assert len(server.dump()) == rows
    assert not [name for name in server.files_of(url) if not name.endswith(".lock")]
    assert server.hooks.names(url)[-2:] == ["pre_delete", "post_delete"]
    assert server.hooks.count("on_complete") == 0


def test_disabled_termination_is_neither_offered_nor_done(serve: Serve) -> None:
    """Switched off, DELETE answers 405 without naming itself, and the upload goes on."""
    server = serve(DISABLED_EXTENSIONS=["termination"])
    tus = server.tus
    url = tus.new(6)
    with server.unchanged(url):
        response = tus.delete(url)
        by_post = tus.request("POST", url, headers={"X-HTTP-Method-Override": "DELETE"})
    for answer in (response, by_post):
        refused(answer, 405)
        assert "DELETE" not in words(answer.headers["Allow"])
        assert "PATCH" in words(answer.headers["Allow"])
    assert "termination" not in words(tus.options().headers["Tus-Extension"])
    assert tus.patch(url, 0, b"abcdef").status_code == 204

"""tus 1.0, Creation. Metadata and deferred lengths have files of their own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import abort

from flask_resumable import UploadRejected

from .server import id_of
from .server import Serve
from .server import Server
from .test_integers import BAD_INTEGERS
from .tus_client import Body
from .tus_client import DEFERRED
from .tus_client import metadata
from .tus_client import refused
from .tus_client import Tus
from .tus_client import words

# Everything that has once been put into a file name to hurt a server.


def test_creating_answers_where_the_upload_is(server: Server) -> None:
    """POST with Upload-Length answers 201 and Location, an unguessable id; on_create is called once."""
    tus = server.tus
    response = tus.create(100)
    assert response.status_code == 201
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["Location"])
    url = tus.endpoint + response.headers["Location"]
    assert tus.offset(url) == 0
    assert [(call.hook, call.id, call.length) for call in server.hooks.calls] == [("on_create", id_of(url), 100)]
    assert "creation" in words(tus.options().headers["Tus-Extension"])


def test_every_upload_is_its_own(tus: Tus) -> None:
    """The same request twice makes two uploads."""
    headers = {"Upload-Metadata": metadata(filename="same.txt")}
    first, second = tus.new(3, headers), tus.new(3, headers)
    assert first != second
    tus.patch(first, 0, b"abc")
    assert tus.offset(second) == 0


def test_creation_can_be_switched_off(serve: Serve) -> None:
    """Without the creation extension POST makes nothing, and nothing that builds on it is offered."""
    server = serve(DISABLED_EXTENSIONS=["creation"])
    listed = words(server.tus.options().headers.get("Tus-Extension"))
    assert not [name for name in listed if name.startswith("creation")]
    with server.unchanged():
        response = server.tus.create_with(b"abc", 3)
    assert 400 <= response.status_code < 500
    refused(response, response.status_code)


def test_a_creation_without_any_length_is_refused(server: Server) -> None:
    """Neither Upload-Length nor Upload-Defer-Length answers 400; a length is never assumed."""
    with server.unchanged():
        refused(server.tus.create(), 400)
        refused(server.tus.create(headers={"Upload-Metadata": metadata(filename="a")}), 400)
        refused(server.tus.create_with(b"abc", 3, {"Upload-Length": None}), 400)


def test_a_length_both_given_and_deferred_is_refused(server: Server) -> None:
    """Both length headers answer 400 and create nothing."""
    with server.unchanged():
        refused(server.tus.create(5, DEFERRED), 400)


@pytest.mark.parametrize("value", BAD_INTEGERS)
def test_an_invalid_length_creates_nothing(server: Server, value: str) -> None:
    """An Upload-Length that is not a non-negative integer answers 400; no row, no file, no hook."""
    with server.unchanged():
        refused(server.tus.create(headers={"Upload-Length": value}), 400)


@pytest.mark.parametrize("value", ["0", "2", "-1", "true", "yes", "01", "1.0", "", "1,1"])
@pytest.mark.parametrize("length", [None, 5])
def test_deferring_is_spelt_1(server: Server, value: str, length: int | None) -> None:
    """Any other Upload-Defer-Length answers 400, with or without a length beside it."""
    with server.unchanged():
        refused(server.tus.create(length, {"Upload-Defer-Length": value}), 400)


@pytest.mark.parametrize("length", [11, 2**63 - 1])
def test_more_than_the_maximum_is_refused(serve: Serve, length: int) -> None:
    """A length above MAX_SIZE answers 413 and creates nothing."""
    server = serve(MAX_SIZE=10)
    with server.unchanged():
        refused(server.tus.create(length), 413)


def test_the_maximum_itself_is_allowed(serve: Serve) -> None:
    """The limit is included."""
    server = serve(MAX_SIZE=10)
    url = server.tus.upload(b"0123456789")
    assert server.finished(url).read_bytes() == b"0123456789"


def test_an_empty_upload_is_complete_at_once(server: Server) -> None:
    """Upload-Length: 0 makes an empty file and one on_complete without any PATCH."""
    url = server.tus.new(0)
    shown = server.tus.head(url).headers
    assert (shown["Upload-Offset"], shown["Upload-Length"]) == ("0", "0")
    assert "Upload-Expires" not in shown
    assert server.finished(url).read_bytes() == b""
    assert server.hooks.names(url)[0] == "on_create"
    assert server.hooks.count("on_complete", url) == 1


def test_patching_an_empty_upload_is_harmless(server: Server) -> None:
    """Clients that send an empty PATCH anyway get 204; it completes once."""
    url = server.tus.new(0)
    assert server.tus.patch(url, 0).status_code == 204
    refused(server.tus.patch(url, 0, b"x"), 413)
    assert server.hooks.count("on_complete", url) == 1


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        None,
    ],
)
def test_a_body_of_another_type_is_ignored(server: Server, media_type: str | None) -> None:
    """Browsers put things into a POST; only the upload content type makes them the upload's bytes."""
    tus = server.tus
    response = tus.create(5, {"Content-Type": media_type}, body=b"0123456789")
    assert response.status_code == 201
    url = tus.endpoint + response.headers["Location"]
    assert tus.offset(url) == 0
    assert server.content(url) == b""
    assert server.hooks.names(url) == ["on_create"]


@pytest.mark.parametrize(
    ("by", "status"),
    [*[("UploadRejected", status) for status in (400, 403, 413, 415, 422, 507)], ("abort", 403), ("abort", 415)],
)
def test_a_refusal_by_the_app_creates_nothing(server: Server, by: str, status: int) -> None:
    """on_create refuses with any status: the client reads why, and neither row nor file remains."""

    def refuse(upload: Any) -> None:
        if by == "abort":
            abort(status, "Only pictures are welcome here.")
        raise UploadRejected(status, "Only pictures are welcome here.")

    before = server.kept()
    server.hooks.during["on_create"] = refuse
    body = Body(b"abc")
    for response in (server.tus.create(3), server.tus.create_with(body, 3, announced=3)):
        refused(response, status)
        assert response.text.strip() == "Only pictures are welcome here."
        assert server.kept() == before
    assert body.reads == 0
    assert server.hooks.names() == ["on_create", "on_create"]


@pytest.mark.parametrize("status", [403, 415])
def test_a_chunk_refused_by_the_app_is_not_stored(server: Server, status: int) -> None:
    """pre_save refuses a chunk before it is read; the upload stays as it was."""

    def refuse(upload: Any) -> None:
        raise UploadRejected(status, "Not now.")

    url = server.tus.new(6)
    before = server.state(url), server.kept()
    server.hooks.during["pre_save"] = refuse
    body = Body(b"abc")
    response = server.tus.patch(url, 0, body, announced=3)
    refused(response, status)
    assert response.text.strip() == "Not now."
    assert body.reads == 0
    assert (server.state(url), server.kept()) == before


@pytest.mark.parametrize("status", [403, 415])
def test_a_file_refused_when_whole_is_removed(server: Server, status: int) -> None:
    """on_complete refuses the finished file: the client reads why, and the upload is gone."""

    def refuse(upload: Any) -> None:
        raise UploadRejected(status, "That is no picture.")

    before = server.kept()
    url = server.tus.new(6)
    server.hooks.during["on_complete"] = refuse
    response = server.tus.patch(url, 0, b"abcdef")
    refused(response, status)
    assert response.text.strip() == "That is no picture."
    assert server.tus.head(url).status_code == 404
    assert server.files_of(url) == []
    assert server.kept()[0] == before[0]

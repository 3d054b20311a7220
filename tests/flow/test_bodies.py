"""Bodies that are not what the parameters say."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from tests.conformance.tus_client import Body

from .client import BOUNDARY
from .client import FORM
from .client import form
from .client import Part
from .conftest import Serve
from .site import sample
from .site import Site

FILE = sample()


@pytest.mark.parametrize("way", ["post", "octet"])
def test_bodies_of_the_wrong_length(site: Site, way: str) -> None:
    """Shorter, longer or empty: 400, not marked, and the neighbours' bytes stay."""
    site.flow.send(FILE, [2])
    send = getattr(site.flow, way)
    for body in (b"", b"x" * 9, b"x" * 11, b"x" * 25):
        assert send(FILE, 1, body).status_code == 400
        assert site.flow.test(FILE, 1).status_code == 204
    assert site.stored(site.flow.send(FILE, [1])) == FILE.content


def test_the_body_counts_and_not_what_is_said_of_it(site: Site) -> None:
    """flowCurrentChunkSize may be anything: clients that change the bytes do not change it."""
    for number in FILE.numbers:
        answer = site.flow.post(FILE, number, changes={"currentChunkSize": "7"})
    assert site.stored(answer) == FILE.content


@pytest.mark.parametrize("size", [200_000, 5_000_000])
def test_chunks_beyond_the_limit(serve_plain: Serve, size: int) -> None:
    """413 by Content-Length, before the body is read; a chunk that is announced smaller than it is, by its bytes."""
    site = serve_plain(MAX_CHUNK_SIZE=1000)
    unread = Body(b"x" * size)
    query = site.flow.spelled(FILE, 1)
    answer = site.flow.stream(unread, size, query, "video/mp4")
    assert (answer.status_code, unread.taken) == (413, 0)
    assert site.flow.octet(FILE, 1, b"x" * 1001).status_code in (400, 413)
    assert (site.files(), site.flow.test(FILE, 1).status_code) == ([], 204)


def test_the_limit_allows_a_form_around_the_largest_chunk(serve_plain: Serve) -> None:
    """A chunk of just MAX_CHUNK_SIZE with fields of some length is taken."""
    site = serve_plain(MAX_CHUNK_SIZE=1000)
    file = sample(1000, 1000)
    extra = Part("note", b"n" * 5000)
    assert site.flow.form([extra, *site.flow.parts(file, 1)]).status_code == 200


@pytest.mark.parametrize("kind", ["octet", "form"])
def test_chunked_bodies_are_counted_as_they_come(serve: Serve, kind: str) -> None:
    """Without Content-Length: stored if the length is right, 413 beyond the limit, 411 where no end is to be seen."""
    site = serve(MAX_CHUNK_SIZE=500_000)

    def send(body: bytes, number: int, *, is_terminated: bool = True) -> Any:
        whole = body if kind == "octet" else form(site.flow.parts(FILE, number, body=body))
        query, content_type = site.flow.spelled(FILE, number), "text/csv" if kind == "octet" else FORM
        return site.flow.stream(Body(whole), None, query, content_type, **{"wsgi.input_terminated": is_terminated})

    assert send(FILE.piece(1), 1, is_terminated=False).status_code == 411
    assert send(FILE.piece(1), 1).status_code == 200
    assert send(b"x" * 900_000, 2).status_code == 413
    assert send(b"x" * 14, 2).status_code == 400
    assert site.stored(send(FILE.piece(2), 2)) == FILE.content


def test_what_follows_the_form_counts_too(serve_plain: Serve) -> None:
    """A form with an endless epilogue is refused, and not as a network error."""
    site = serve_plain(MAX_CHUNK_SIZE=1000)
    body = form(site.flow.parts(FILE, 1)) + b"e" * 300_000
    assert site.flow.stream(Body(body), None).status_code in (400, 413)
    assert site.flow.test(FILE, 1).status_code == 204


def test_two_files_of_one_name(site: Site) -> None:
    """400: which one is the chunk?"""
    parts = site.flow.parts(FILE, 1)
    assert site.flow.form([*parts, parts[-1]]).status_code == 400
    assert site.flow.test(FILE, 1).status_code == 204


def test_other_files_are_never_stored(site: Site) -> None:
    """A second file in another field is passed over."""
    parts = site.flow.parts(FILE, 1)
    other = Part("thumbnail", b"t" * 100_000, "t.png")
    assert site.flow.form([other, *parts, other]).status_code == 200
    assert site.stored(site.flow.post(FILE, 2)) == FILE.content
    assert len(site.files()) == 1


def test_the_field_of_the_file_has_a_name(serve: Serve) -> None:
    """Another one: 400 that names the right one, which is a setting."""
    site, other = serve(), serve(FILE_FIELD="upload")
    *fields, content = site.flow.parts(FILE, 1)
    renamed = [*fields, Part("upload", content.content, "blob")]
    answer = site.flow.form(renamed)
    assert (answer.status_code, "'file'" in answer.text) == (400, True)
    assert other.flow.form(renamed).status_code == 200
    assert other.flow.form([*fields, content]).status_code == 400


def test_a_file_that_is_a_text(site: Site) -> None:
    """The field without a file name: 400."""
    *fields, content = site.flow.parts(FILE, 1)
    assert site.flow.form([*fields, Part("file", content.content)]).status_code == 400
    assert site.files() == []


def digest(content: bytes) -> str:
    """Upload-Checksum of some bytes."""
    return "sha256 " + base64.b64encode(hashlib.sha256(content).digest()).decode()


@pytest.mark.parametrize("way", ["post", "octet"])
def test_a_checksum_guards_a_chunk(site: Site, way: str) -> None:
    """Wrong: 460, not marked. Unreadable: 400. Right: stored."""
    send = getattr(site.flow, way)
    assert send(FILE, 1, headers={"Upload-Checksum": digest(b"other")}).status_code == 460
    assert send(FILE, 1, headers={"Upload-Checksum": "sha256"}).status_code == 400
    assert send(FILE, 1, headers={"Upload-Checksum": "rot13 AAAA"}).status_code == 400
    assert site.flow.test(FILE, 1).status_code == 204
    assert send(FILE, 1, headers={"Upload-Checksum": digest(FILE.piece(1))}).status_code == 200


@pytest.mark.parametrize("way", ["post", "octet"])
def test_a_chunk_with_a_checksum_may_come_again(site: Site, way: str) -> None:
    """The answer was lost: 200 once more; with a checksum of something else, 460."""
    send = getattr(site.flow, way)
    for _ in range(2):
        answer = send(FILE, 1, headers={"Upload-Checksum": digest(FILE.piece(1))})
        assert (answer.status_code, answer.json and answer.json["received"]) == (200, 10)
    assert send(FILE, 1, headers={"Upload-Checksum": digest(b"other")}).status_code == 460
    assert site.stored(site.flow.post(FILE, 2)) == FILE.content


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=other"]
)
def test_forms_that_cannot_be_taken_apart(plain: Site, content_type: str) -> None:
    """No boundary, or not the one in the body: 400."""
    body = form(plain.flow.parts(FILE, 1))
    assert plain.flow.open("POST", data=body, content_type=content_type).status_code == 400


def test_forms_are_bounded(plain: Site) -> None:
    """Too many parts and too much in the fields: 413. Heads and preambles without end: 400."""
    parts = plain.flow.parts(FILE, 1)
    assert plain.flow.form([*(Part(f"f{n}", b"") for n in range(101)), *parts]).status_code == 413
    assert plain.flow.form([Part("big", b"b" * 70_000), *parts]).status_code == 413
    assert plain.flow.form([*(Part(f"f{n}", b"b" * 9000) for n in range(9)), *parts]).status_code == 413
    assert plain.flow.form(b"p" * 1_000_000 + form(parts)).status_code == 400
    assert plain.flow.form([Part("x", b"", headers=["X-Long: " + "h" * 500_000]), *parts]).status_code == 400
    assert plain.uploads() == []


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64])
def test_forms_come_in_pieces_of_any_size(serve_plain: Serve, step: int) -> None:
    """However the network cuts a form, and whatever looks like a delimiter in the file, the bytes are the same."""
    site = serve_plain()
    nasty = b"\r\n--" + BOUNDARY.encode() + b"x\r\n--\r\n\r\r\n\n--" + BOUNDARY[:-1].encode() + b"\r\n-"
    file = sample(3 * len(nasty), len(nasty), name=f"{step}.bin")
    contents = [nasty, nasty[::-1], b"\r\n" * (len(nasty) // 2) + b"\r" * (len(nasty) % 2)]
    for number, content in enumerate(contents, 1):
        body = form(site.flow.parts(file, number, body=content))
        pieces = [body[at : at + step] for at in range(0, len(body), step)]
        answer = site.flow.stream(Body(*pieces), len(body))
        assert answer.status_code == 200, answer.text
    assert site.stored(answer) == b"".join(contents)


def test_a_form_that_the_app_has_read_before(site: Site) -> None:
    """An app that looks for a CSRF token in the form reads it; the chunk is taken from there."""

    @site.server.app.before_request
    def look_for_a_token() -> None:
        from flask import request

        assert request.form.get("csrf_token") == "t"

    token = Part("csrf_token", b"t")
    for number in FILE.numbers:
        answer = site.flow.form([token, *site.flow.parts(FILE, number)])
        assert answer.status_code == 200
    assert site.stored(answer) == FILE.content
    parts = [token, *site.flow.parts(FILE, 1)]
    assert site.flow.form([*parts, parts[-1]]).status_code == 400
    assert site.flow.form(parts[:-1]).status_code == 400
    assert site.flow.form([*parts[:-1], Part("other", b"x", "x")]).status_code == 400
    assert site.flow.form([*parts[:-1], Part("file", b"x")]).status_code == 400

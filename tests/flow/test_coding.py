"""Chunks that come coded, and chunks that the app reads before the extension can."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from flask import request

from .client import Part
from .conftest import Serve
from .site import sample
from .site import Site

FILE = sample()
CODED = [("Content-Encoding", "gzip"), ("Transfer-Encoding", "gzip, chunked"), ("Content-Transfer-Encoding", "base64")]
WAYS = ["post", "octet"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "value"), CODED)
def test_coded_chunks_are_refused(plain: Site, way: str, name: str, value: str) -> None:
    """415 as flow.js is told errors, and the chunk is not there; sent as it is, it is taken."""
    coded = plain.client(**{name.replace("-", "_"): value})
    answer = getattr(coded, way)(FILE, 1)
    assert answer.status_code == 415
    assert name in answer.json["error"]
    assert plain.flow.test(FILE, 1).status_code == 204
    assert plain.stored(plain.flow.send(FILE, FILE.numbers)) == FILE.content


@pytest.mark.parametrize("way", WAYS)
def test_chunks_that_name_their_own_place_are_refused(plain: Site, way: str) -> None:
    """400 for Content-Range: the chunk's number says where it belongs."""
    answer = getattr(plain.client(Content_Range="bytes 0-9/25"), way)(FILE, 1)
    assert answer.status_code == 400
    assert "Content-Range" in answer.json["error"]
    assert plain.flow.test(FILE, 1).status_code == 204


@pytest.mark.parametrize("field", ["Content-Transfer-Encoding: base64", "content-encoding: gzip"])
@pytest.mark.parametrize("is_parsed", [False, True])
def test_a_file_that_is_coded_within_its_form_is_refused(plain: Site, field: str, is_parsed: bool) -> None:
    """The same for a field of the part, whoever takes the form apart; ``binary`` means nothing."""
    if is_parsed:
        plain.server.app.before_request(lambda: request.form.get("token") and None)

    def send(*headers: str) -> int:
        parts = plain.flow.parts(FILE, 1)
        coded = [Part(part.name, part.content, part.filename, headers) if part.filename else part for part in parts]
        return plain.flow.form(coded).status_code

    assert send(field) == 415
    assert plain.flow.test(FILE, 1).status_code == 204
    assert send("Content-Transfer-Encoding: binary") == 200


def get_data() -> None:
    """Kept by Flask."""
    request.get_data()


def look_into_form() -> None:
    """Read by Flask, which keeps the fields and the file of a form."""
    request.form.get("csrf_token")


def put_back() -> None:
    """Read, and put back."""
    request.environ["wsgi.input"] = io.BytesIO(request.environ["wsgi.input"].read())


def read_some() -> None:
    """The rest is no form, and no chunk."""
    request.stream.read(5)


def read_all() -> None:
    """Nothing is left."""
    request.get_data(cache=False)


def read_some_and_parse() -> None:
    """Flask finds no form in the rest."""
    request.stream.read(5)
    request.form.get("csrf_token")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("read", [get_data, look_into_form, put_back])
def test_chunks_that_are_still_complete_are_used(serve: Serve, way: str, read: Callable[[], None]) -> None:
    """Whatever the app has done with the body before: the file is what was sent."""
    site = serve()
    site.server.app.before_request(read)
    for number in FILE.numbers:
        answer = getattr(site.flow, way)(FILE, number)
        assert answer.status_code == 200, answer.text
    assert site.stored(answer) == FILE.content


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("read", [read_some, read_all, read_some_and_parse])
def test_chunks_that_are_not_complete_are_refused(
    plain: Site, way: str, read: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    """400 as flow.js is told errors, a line in the log that names the cause, and the chunk is not there."""
    plain.server.app.before_request(read)
    answer = getattr(plain.flow, way)(FILE, 1)
    assert answer.status_code == 400
    assert "error" in answer.json
    if read is not read_some_and_parse or way == "octet":  # what is left of a form may be one, and lacks a field
        assert "must be the first to read" in caplog.text
    assert plain.flow.test(FILE, 1).status_code == 204

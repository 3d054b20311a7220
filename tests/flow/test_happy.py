"""What every client does on a good day."""

from __future__ import annotations

import json
import random

import pytest

from .client import Flow
from .client import Part
from .client import Sample
from .conftest import Serve
from .site import sample
from .site import Site

METHODS = ["POST", "PUT", "PATCH"]
SHAPE = {"id", "status", "received", "length", "complete"}


def test_a_chunk_of_an_unknown_upload_is_missing_and_makes_nothing(site: Site) -> None:
    """204 without a body; no record, no file, no hook."""
    answer = site.flow.test(sample(), 1)
    assert (answer.status_code, answer.data) == (204, b"")
    assert (site.uploads(), site.files(), site.server.hooks.calls) == ([], [], [])


def test_a_chunk_that_is_here_is_found(site: Site) -> None:
    """200 with the common JSON; its neighbour is still missing."""
    file = sample()
    site.flow.post(file, 1)
    answer = site.flow.test(file, 1)
    assert answer.status_code == 200
    assert answer.json is not None and answer.json.keys() == SHAPE
    assert (answer.json["status"], answer.json["received"], answer.json["length"]) == ("active", 10, 25)
    assert site.flow.test(file, 2).status_code == 204


@pytest.mark.parametrize("method", METHODS)
def test_chunks_in_forms_are_stored_in_their_places(site: Site, method: str) -> None:
    """Multipart by POST, PUT and PATCH: 200 each, and the file is what was sent."""
    file = sample()
    for number in file.numbers:
        answer = site.flow.post(file, number, method=method)
        assert answer.status_code == 200
    assert site.stored(answer) == file.content


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "content_type", ["application/octet-stream", "text/csv", "application/x-www-form-urlencoded", None]
)
def test_chunks_as_they_are_do_the_same(site: Site, method: str, content_type: str | None) -> None:
    """Octet by POST, PUT and PATCH, whatever type the file has, a form's type and none among them."""
    file = Sample(b"a=1&b=2&c=3&d=4&e", 5)
    for number in file.numbers:
        answer = site.flow.octet(file, number, method=method, content_type=content_type)
        assert answer.status_code == 200
    assert site.stored(answer) == file.content


@pytest.mark.parametrize("last", [1, 2, 3])
def test_whichever_chunk_is_the_last_finishes_the_file(site: Site, last: int) -> None:
    """200 with status complete and the final id; on_complete once, and never before."""
    file = sample(35)
    site.flow.send(file, [number for number in file.numbers if number != last])
    assert site.count("on_complete") == 0
    answer = site.flow.post(file, last)
    assert answer.json is not None and answer.json.keys() == SHAPE
    assert (answer.json["status"], answer.json["complete"], answer.json["received"]) == ("complete", True, 35)
    assert site.count("on_complete") == 1
    assert site.stored(answer) == file.content


def test_chunks_come_in_any_order(site: Site) -> None:
    """Shuffled, the last one first: the same file."""
    file = sample(205, forced=True)
    order = [file.count, *random.Random(7).sample(range(1, file.count), file.count - 1)]
    assert site.stored(site.flow.send(file, order)) == file.content


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("size", [1, 9, 10, 11, 19, 20, 25, 29, 30, 31])
def test_both_ways_of_cutting_work(site: Site, size: int, forced: bool) -> None:
    """A longer last chunk, a shorter one, and files of up to two chunk sizes in one."""
    file = sample(size, forced=forced)
    answer = site.flow.send(file)
    assert answer.json is not None and answer.json["complete"]
    assert site.stored(answer) == file.content


@pytest.mark.parametrize("way", ["post", "octet"])
def test_an_empty_file_is_a_file(site: Site, way: str) -> None:
    """One empty chunk: complete, a file without bytes, on_complete once. Asked for before, it is missing."""
    file = sample(0)
    assert site.flow.test(file, 1).status_code == 204
    answer = getattr(site.flow, way)(file, 1)
    assert (answer.status_code, answer.json["complete"]) == (200, True)
    assert site.stored(answer) == b""
    assert site.count("on_complete") == 1
    assert site.flow.test(file, 1).status_code == 200


def test_an_empty_file_is_not_made_of_bytes(site: Site) -> None:
    """Bytes for a file that was announced as empty: 400, and no file."""
    file = sample(0)
    assert site.flow.post(file, 1, b"abc").status_code == 400
    assert site.flow.octet(file, 1, b"abc").status_code == 400
    assert (site.count("on_complete"), site.uploads()) == (0, [])


@pytest.mark.parametrize("size", ["1.7976931348623157e+308", "Infinity", "3.3333333333333335", "-1", "x"])
def test_one_chunk_needs_no_chunk_size(site: Site, size: str) -> None:
    """Any chunk size is fine for a single chunk, NaN bytes in it or not; for several it is 400."""
    file = sample(9)
    answer = site.flow.post(file, 1, changes={"chunkSize": size, "currentChunkSize": "NaN"})
    assert answer.status_code == 200
    assert site.stored(answer) == file.content
    assert site.flow.post(sample(25), 1, changes={"chunkSize": size}).status_code == 400


def test_parameters_may_be_in_the_query_the_form_or_both(site: Site) -> None:
    """Equal ones are one; different ones are 400."""
    file = sample(35)
    query = site.flow.spelled(file, 1)
    assert site.flow.form([Part("file", file.piece(1), "blob")], query).status_code == 200
    assert site.flow.post(file, 2, query=site.flow.spelled(file, 2)).status_code == 200
    assert site.flow.post(file, 3, query=site.flow.spelled(file, 2)).status_code == 400
    assert site.uploads()[0].received.total == 20


@pytest.mark.parametrize("absent", ["currentChunkSize", "relativePath"])
def test_what_is_not_needed_may_be_left_out(site: Site, absent: str) -> None:
    """Some clients do not send the chunk's size or the path."""
    file = sample()
    for number in file.numbers:
        answer = site.flow.post(file, number, changes={absent: None})
    assert site.stored(answer) == file.content


@pytest.mark.parametrize(("size", "status"), [(20, 200), (7, 200), (0, 200), (25, 400)])
def test_the_number_of_chunks_is_derived_if_there_is_one_possibility(site: Site, size: int, status: int) -> None:
    """If the chunk size divides the file, or holds all of it; otherwise it is not known how the file was cut: 400."""
    assert site.flow.post(sample(size), 1, changes={"totalChunks": None}).status_code == status


def test_head_and_options(site: Site) -> None:
    """HEAD is GET without a body, and 400 without parameters; OPTIONS names the methods."""
    file = sample()
    assert site.flow.test(file, 1, method="HEAD").status_code == 204
    site.flow.post(file, 1)
    answer = site.flow.test(file, 1, method="HEAD")
    assert (answer.status_code, answer.data) == (200, b"")
    assert site.flow.open("HEAD").status_code == 400
    answer = site.flow.open("OPTIONS")
    assert answer.status_code == 204
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def test_a_form_without_a_file_is_a_test_only_if_allowed(serve: Serve) -> None:
    """400 by default; with POST among TEST_METHODS it is what GET is."""
    file = sample()
    fields = serve().flow.parts(file, 1)[:-1]
    strict, lenient = serve(), serve(TEST_METHODS=("GET", "POST"))
    assert strict.flow.form(fields).status_code == 400
    assert strict.uploads() == []
    assert lenient.flow.form(fields).status_code == 204
    lenient.flow.post(file, 1)
    assert lenient.flow.form(fields).status_code == 200
    assert lenient.flow.test(file, 1, method="HEAD").status_code == 405


@pytest.mark.parametrize("at", [0, 4])
def test_the_file_may_come_before_the_fields(site: Site, at: int) -> None:
    """First of all, or in their midst."""
    file = sample()
    for number in file.numbers:
        *fields, content = site.flow.parts(file, number)
        answer = site.flow.form([*fields[:at], content, *fields[at:]])
        assert answer.status_code == 200
    assert site.stored(answer) == file.content


def fusty(content: bytes, **changes: str) -> list[Part]:
    """What fusty-flow sends through an iframe: the file first, and no numbers."""
    fields = {"flowFilename": "<old>.txt", "flowRelativePath": "<old>.txt", "flowIdentifier": "4a-b1", **changes}
    return [Part("file", content, "old.txt"), *(Part(key, value.encode()) for key, value in fields.items())]


@pytest.mark.parametrize("content", [b"the whole file", b""])
def test_fusty_flow_sends_a_file_in_one_piece(site: Site, content: bytes) -> None:
    """200 as HTML, which an iframe does not offer as a download, with the JSON in it."""
    answer = site.flow.form(fusty(content))
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    described = json.loads(answer.text)
    assert described["complete"]
    assert (site.server.folder / described["id"]).read_bytes() == content


def test_errors_reach_fusty_flow_in_the_page(serve: Serve) -> None:
    """It cannot see the status: refusals are HTML with JSON in it, too."""
    site = serve(MAX_SIZE=5)
    answer = site.flow.form(fusty(b"too long"))
    assert (answer.status_code, answer.mimetype) == (413, "text/html")
    assert "error" in json.loads(answer.text)
    assert site.flow.form(fusty(b"ab", flowIdentifier="")).mimetype == "text/html"


def test_only_forms_come_in_one_piece(site: Site) -> None:
    """A raw body without numbers is a request with its parameters missing."""
    assert site.flow.open("POST", {"flowIdentifier": "x"}, data=b"abc").status_code == 400


def test_base64_is_not_taken(site: Site) -> None:
    """415, which ends the file in resumable.js, for chunks as text; and nothing is stored."""
    client = site.client("resumable")
    file = sample()
    *fields, _ = client.parts(file, 1)
    text = Part("file", b"data:application/octet-stream;base64,AAECAwQFBgcICQ==")
    assert client.form([*fields, text]).status_code == 415
    assert site.files() == []


def test_large_base64_is_not_taken_either(plain: Site) -> None:
    """It is refused for what it is, not for its size."""
    client = plain.client("resumable")
    *fields, _ = client.parts(sample(), 1)
    assert client.form([*fields, Part("file", b"data:text/plain;base64," + b"QUJD" * 200_000)]).status_code == 415


def test_the_answer_is_the_same_for_every_kind_of_200(flow: Flow) -> None:
    """Stored, sent again, asked for, finished: one shape, since the page gets whichever comes last."""
    file = sample()
    answers = [flow.post(file, 1), flow.post(file, 1), flow.test(file, 1), flow.post(file, 2), flow.test(file, 2)]
    assert {frozenset(answer.json or {}) for answer in answers} == {frozenset(SHAPE)}
    assert len({(answer.json or {})["id"] for answer in answers}) == 1

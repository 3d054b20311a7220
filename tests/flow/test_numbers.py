"""Numbers that are none, and geometries that do not add up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest
from werkzeug.test import TestResponse

from .client import Flow
from .client import Part
from .conftest import Serve
from .site import sample
from .site import Site

FILE = sample()
NUMBERS = ["chunkNumber", "chunkSize", "totalSize", "totalChunks"]
WAYS = ["test", "post", "octet"]
JUNK = [
    "", "abc", "1e3", "0x10", "1.5", "-1", "+1", " 1", "1 ", "1\n", "1_0", "1\0", "\uff11", "\u0663", "\u00b2", "NaN",
    "9" * 19, "9" * 20, "9" * 5000, str(2**63), str(2**64 + 1),
]  # fmt: skip


@contextmanager
def nothing_kept(site: Site) -> Iterator[None]:
    """No record and no file comes of what happens inside."""
    yield
    assert (site.uploads(), site.files(), site.server.hooks.calls) == ([], [], [])


def ask(flow: Flow, way: str, changes: dict[str, object]) -> TestResponse:
    """One request for chunk 1."""
    answer: TestResponse = getattr(flow, way)(FILE, 1, changes=changes)
    return answer


@pytest.mark.parametrize("way", WAYS)
def test_missing_parameters(plain: Site, way: str) -> None:
    """400 that names what is missing; the number of chunks may be missing only where it can be derived."""
    with nothing_kept(plain):
        for name in [*NUMBERS, "identifier"]:
            answer = ask(plain.flow, way, {name: None})
            assert answer.status_code == 400
            assert "flow" + name[0].upper() + name[1:] in answer.text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_whole_number(plain: Site, name: str, way: str) -> None:
    """Only ASCII digits are digits: everything else is 400, never 500."""
    with nothing_kept(plain):
        for junk in JUNK:
            assert ask(plain.flow, way, {name: junk}).status_code == 400, junk


def test_leading_zeros_are_harmless(plain: Site) -> None:
    """They change no number."""
    assert plain.flow.post(FILE, 1, changes={"chunkNumber": "001", "totalSize": "00025"}).status_code == 200
    assert plain.flow.test(FILE, 1).status_code == 200


@pytest.mark.parametrize("way", WAYS)
def test_chunks_that_the_file_does_not_have(plain: Site, way: str) -> None:
    """Number 0 and numbers above N: 400."""
    with nothing_kept(plain):
        for number in (0, 3, 999, 2**63 - 1):
            assert ask(plain.flow, way, {"chunkNumber": number}).status_code == 400


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [0, 25])
def test_no_chunks_at_all(plain: Site, way: str, size: int) -> None:
    """N = 0, which flow.js does send after an error: 400, and no finished file is touched."""
    with nothing_kept(plain):
        assert ask(plain.flow, way, {"totalChunks": 0, "totalSize": size}).status_code == 400


def test_a_finished_file_survives_n_0(site: Site) -> None:
    """The file that is there stays as it is."""
    answer = site.flow.send(FILE)
    assert site.flow.post(FILE, 1, b"", changes={"totalChunks": 0, "totalSize": 0}).status_code == 400
    assert site.stored(answer) == FILE.content


@pytest.mark.parametrize("way", WAYS)
def test_chunks_of_no_size(plain: Site, way: str) -> None:
    """C = 0 with several chunks: 400."""
    with nothing_kept(plain):
        assert ask(plain.flow, way, {"chunkSize": 0}).status_code == 400
        assert ask(plain.flow, way, {"chunkSize": 0, "totalSize": 0}).status_code == 400


@pytest.mark.parametrize("way", WAYS)
def test_too_large(serve_plain: Serve, way: str) -> None:
    """Beyond MAX_SIZE 413, beyond what a database can count 400: before anything is made."""
    site = serve_plain(MAX_SIZE=24)
    with nothing_kept(site):
        assert ask(site.flow, way, {}).status_code == 413
        assert ask(site.flow, way, {"totalSize": 2**63}).status_code == 400
        assert ask(site.flow, way, {"totalSize": 2**63 - 1, "chunkSize": 2**62, "totalChunks": 1}).status_code == 413


def test_a_single_chunk_beyond_the_limit(serve_plain: Serve) -> None:
    """A chunk beyond MAX_CHUNK_SIZE is refused by its announcement, the longer last one, too."""
    site = serve_plain(MAX_CHUNK_SIZE=14)
    with nothing_kept(site):
        assert site.flow.test(FILE, 1).status_code == 413
        assert site.flow.test(sample(15, 20), 1).status_code == 413
    assert site.flow.test(sample(24), 1).status_code == 204


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("size", "chunk", "count"),
    [(25, 10, 1 + 3), (25, 10, 5), (25, 26, 2), (31, 10, 2), (30, 10, 2), (25, 12, 4), (2**63 - 1, 1, 2), (0, 10, 2)],
)
def test_geometries_that_do_not_add_up(plain: Site, way: str, size: int, chunk: int, count: int) -> None:
    """N chunks of C do not make T: 400."""
    with nothing_kept(plain):
        changes: dict[str, object] = {"totalSize": size, "chunkSize": chunk, "totalChunks": count}
        assert ask(plain.flow, way, changes).status_code == 400


def test_an_empty_chunk_at_the_end_is_taken(site: Site) -> None:
    """Some clients count one chunk too many when C divides T: it is stored like any other, before or after the rest."""
    for name, order in (("last.bin", [1, 2, 3]), ("first.bin", [3, 1, 2])):
        file = sample(20, name=name)
        answers = []
        for number in order:
            content = file.content[(number - 1) * 10 : number * 10]
            answers.append(site.flow.post(file, number, content, {"totalChunks": 3}))
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert site.stored(answers[-1]) == file.content
    assert site.count("on_complete") == 2


@pytest.mark.parametrize("way", WAYS)
def test_too_many_chunks(serve_plain: Serve, way: str) -> None:
    """Beyond MAX_CHUNKS 413, at no cost that grows with their number."""
    site = serve_plain(MAX_CHUNKS=3)
    with nothing_kept(site):
        assert ask(site.flow, way, {"totalSize": 40, "totalChunks": 4}).status_code == 413
        assert ask(site.flow, way, {"totalSize": 10**18, "chunkSize": 1, "totalChunks": 10**18}).status_code == 413
    assert site.flow.test(sample(30), 1).status_code == 204


def test_a_parameter_twice(plain: Site) -> None:
    """Equal values are one; different ones are 400, in the query and in the form."""
    flow = plain.flow
    pairs = list(flow.spelled(FILE, 1).items())
    with nothing_kept(plain):
        assert flow.http.get("/flow/?" + urlencode([*pairs, ("flowChunkNumber", "1")])).status_code == 204
        assert flow.http.get("/flow/?" + urlencode([*pairs, ("flowChunkNumber", "2")])).status_code == 400
        for name, value in pairs:
            assert flow.open("GET", [*pairs, (name, value + "0")]).status_code == 400
            *fields, content = flow.parts(FILE, 1)
            assert flow.form([*fields, Part(name, b"7"), content]).status_code == 400
    assert flow.open("GET", [*pairs, ("tag", "a"), ("tag", "b")]).status_code == 204  # the app's own may repeat

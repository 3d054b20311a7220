"""Parameters and bodies made to hurt: never a 5xx, never a file where none belongs, never a disk full of nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from flask_resumable.protocols.flow.messages import DIALECTS
from flask_resumable.protocols.flow.messages import PARAMETERS
from flask_resumable.protocols.flow.multipart import MalformedMultipart
from flask_resumable.protocols.flow.multipart import MultipartParser
from flask_resumable.protocols.flow.multipart import PartBegins

from .client import BOUNDARY
from .client import FORM
from .client import form
from .client import Part
from .conftest import Serve
from .site import sample
from .site import Site

hostile = settings(
    max_examples=settings().max_examples * 3 // 2,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

texts = st.text(st.characters(codec="utf-8"), max_size=30)
numbers = st.one_of(
    st.integers(0, 4).map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["", "1e3", "1_0", "\uff11", "NaN", "Infinity", "9" * 5000, str(2**63 - 1), str(2**62), "1\0"]),
)
names = st.one_of(
    texts, st.lists(st.sampled_from(["..", "/", "\\", "\0", "\r\n", "a", ".partial", "%2e"]), max_size=9).map("".join)
)
VALUES = {name: numbers if name.endswith(("Number", "Size", "Chunks")) else names for name in PARAMETERS}
bodies = st.binary(max_size=40) | st.integers(0, 12).map(lambda size: b"x" * size)
parameters = st.fixed_dictionaries(
    {"identifier": names, "totalSize": numbers, "totalChunks": numbers, "chunkNumber": numbers, "chunkSize": numbers},
    optional={name: VALUES[name] for name in ("currentChunkSize", "filename", "relativePath", "type")},
)
spellings = st.sampled_from(DIALECTS)


def sane(answer: TestResponse) -> None:
    """An answer that a hostile request may get."""
    assert answer.status_code < 500, (answer.status, answer.text)
    assert answer.status_code // 100 != 3
    assert not answer.data or isinstance(answer.json if answer.is_json else answer.text, dict | str)
    assert not [value for value in answer.headers.values() if set(value) & set("\r\n\0")]


def everything_below(home: Path) -> dict[str, bytes]:
    """Every file around an app that is no database."""
    paths = (path for path in home.rglob("*") if path.is_file() and ".sqlite" not in path.name)
    return {path.relative_to(home).as_posix(): path.read_bytes()[:100] for path in paths}


def start(serve: Serve, **settings: Any) -> tuple[Site, Path, dict[str, bytes]]:
    """An app among files that must not change."""
    site = serve(MAX_METADATA=4000, **settings)
    home = site.server.database.parents[1]
    for place in (home, site.server.folder.parent):
        place.mkdir(exist_ok=True, parents=True)
        for name in ("passwd", "a", "a" * 32):
            (place / name).write_text("untouched")
    return site, home, everything_below(home)


def contained(site: Site, home: Path, canaries: dict[str, bytes]) -> None:
    """Outside the folders nothing changed; inside are only files named by ids, which take little room."""
    inside = [site.server.folder, *([site.chunks] if site.chunks else [])]
    found = {home / name: content for name, content in everything_below(home).items()}
    outside = {path: content for path, content in found.items() if not any(path.is_relative_to(f) for f in inside)}
    assert outside == {home / name: content for name, content in canaries.items()}
    for path in found.keys() - outside.keys():
        assert re.search(r"/[0-9a-f]{32}(\.part|\.lock|/[0-9]+\.chunk)?$", path.as_posix()), path
    blocks = sum(path.stat().st_blocks for path in found)
    assert blocks * 512 < 8 * 1024 * 1024


def test_no_parameters_break_a_chunk(serve: Serve) -> None:
    """Any parameters with any body, in both encodings and every spelling."""
    site, home, canaries = start(serve)

    @hostile
    @given(spelling=spellings, given=parameters, body=bodies, as_form=st.booleans(), at_front=st.booleans())
    def attack(spelling: Any, given: dict[str, str], body: bytes, as_form: bool, at_front: bool) -> None:
        fields = {spelling.spell(name): value for name, value in given.items()}
        if not as_form:
            sane(site.flow.open("POST", fields, data=body, content_type="text/plain"))
            return
        parts = [Part(name, value.encode()) for name, value in fields.items()]
        parts.insert(0 if at_front else len(parts), Part("file", body, "f"))
        sane(site.flow.form(parts))

    attack()
    contained(site, home, canaries)


def test_huge_claims_cost_nothing(serve: Serve) -> None:
    """Geometries that add up, of up to exabytes, of which one small chunk is sent: the disk stays empty."""
    site, home, canaries = start(serve, MAX_CHUNK_SIZE=1000)

    @hostile
    @given(
        chunk=st.integers(1, 500), count=st.integers(1, 10**5), tail=st.integers(0, 999), at=st.floats(0, 1),
        lie=st.sampled_from([0, 0, 0, 1, -1]),
    )  # fmt: skip
    def attack(chunk: int, count: int, tail: int, at: float, lie: int) -> None:
        tail %= 2 * chunk
        total = (count - 1) * chunk + tail
        number = 1 + int(at * (count - 1))
        right = tail if number == count else chunk
        size = max(0, right + lie)
        file = sample(0, chunk, identifier=f"{chunk} {count} {tail}")
        changes = {"totalSize": total, "totalChunks": count, "chunkNumber": number}
        answer = site.flow.octet(file, 1, b"x" * size, changes)
        assert answer.status_code == 200 or size != right, answer.text
        sane(answer)
        sane(site.flow.test(file, 1, changes))
        sane(site.flow.open("GET", site.flow.spelled(file, 1, changes), path="status"))

    attack()
    contained(site, home, canaries)


def test_no_question_breaks_anything(serve: Serve) -> None:
    """Tests, status and cancels with any parameters, by any method and path, make nothing."""
    site, home, canaries = start(serve)
    site.flow.send(sample())
    paths = st.sampled_from(["", "status", "status/", "0" * 32, "x", "..", "%2e%2e/x", "status/x", "\u65e5"]) | texts

    @hostile
    @given(
        spelling=spellings, given=parameters, method=st.sampled_from(["GET", "HEAD", "DELETE", "OPTIONS"]), path=paths
    )
    def attack(spelling: Any, given: dict[str, str], method: str, path: str) -> None:
        fields = {spelling.spell(name): value for name, value in given.items()}
        sane(site.flow.open(method, fields, path=quote(path, safe="/%")))

    attack()
    assert len(site.uploads()) == 1
    contained(site, home, canaries)


pieces = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"\r\n", b"\r", b"\n", b"--", b"--" + BOUNDARY.encode(), b"--" + BOUNDARY.encode() + b"--", b"\r\n\r\n",
                b'Content-Disposition: form-data; name="file"; filename="x"', b"Content-Disposition: form-data",
                b'content-disposition:form-data;name="flowIdentifier"', b"\xff\xfe", b";=\"", b"x" * 300,
            ]
        ),
        st.binary(max_size=10),
    ),
    max_size=14,
).map(b"".join)  # fmt: skip
# No delimiter is within a part.
fillings = st.binary(max_size=60) | pieces.filter(lambda junk: b"\r\n--" not in b"\r\n" + junk)


def test_no_form_breaks_the_parser(serve_plain: Serve) -> None:
    """Bodies that look like forms, and are none."""
    site = serve_plain()
    begin = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'.encode()

    @hostile
    @given(junk=pieces, begins=st.booleans(), boundary=st.sampled_from(["", "=", '="', "=\xff", f"={BOUNDARY}"]))
    def attack(junk: bytes, begins: bool, boundary: str) -> None:
        query = site.flow.spelled(sample(), 1)
        body = begin + junk if begins else junk
        content_type = f"multipart/form-data; boundary{boundary}"
        sane(site.flow.open("POST", query, data=body, content_type=content_type))

    attack()


@settings(max_examples=settings().max_examples * 3, deadline=None, database=None)
@given(
    contents=st.lists(fillings, max_size=4),
    cuts=st.lists(st.integers(0, 700), max_size=12),
)
def test_forms_are_taken_apart_however_they_are_cut(contents: list[bytes], cuts: list[int]) -> None:
    """Whatever the parts hold and wherever the pieces end, every part comes out as it went in."""
    _check_parts(form([Part("p", content, "f") for content in contents]), contents, cuts)


@settings(deadline=None, database=None)
@given(contents=st.lists(fillings, max_size=4), cuts=st.lists(st.integers(0, 500), max_size=8))
def test_an_empty_part_may_lack_the_blank_line(contents: list[bytes], cuts: list[int]) -> None:
    """RFC 2046: what follows a part's headers is optional. Werkzeug's test client leaves it out for empty files."""
    contents = [b"", *contents, b""]
    head = b'\r\n--%s\r\nContent-Disposition: form-data; name="p"; filename="f"\r\n' % BOUNDARY.encode()
    body = b"".join(head + (b"\r\n" + content if content else b"") for content in contents)
    _check_parts(body[2:] + b"\r\n--%s--\r\n" % BOUNDARY.encode(), contents, cuts)


def _check_parts(body: bytes, contents: list[bytes], cuts: list[int]) -> None:
    parser = MultipartParser(BOUNDARY.encode())
    found: list[bytes] = []
    edges = sorted({0, *(min(cut, len(body)) for cut in cuts), len(body)})
    for start_at, stop in zip(edges, edges[1:], strict=False):
        for event in parser.feed(body[start_at:stop]):
            if isinstance(event, PartBegins):
                found.append(b"")
            else:
                found[-1] += event
    assert parser.has_ended
    assert found == contents


@settings(max_examples=settings().max_examples * 3, deadline=None, database=None)
@given(junk=pieces, step=st.integers(1, 50))
def test_the_parser_gives_the_same_for_every_cut(junk: bytes, step: int) -> None:
    """Any bytes at once, or in steps: the same parts, or the same refusal."""

    def parts(size: int) -> list[bytes] | None:
        parser = MultipartParser(BOUNDARY.encode())
        found: list[bytes] = []
        try:
            for at in range(0, len(junk), size):
                for event in parser.feed(junk[at : at + size]):
                    found.append(b"head " + event.head) if isinstance(event, PartBegins) else found.append(bytes(event))
        except MalformedMultipart:
            return None
        joined = b"".join(b"\0" + part if part.startswith(b"head ") else part for part in found)
        return [joined] if parser.has_ended else None

    assert parts(step) == parts(max(1, len(junk)))


def test_hostile_lengths_are_counted(serve_plain: Serve) -> None:
    """A Content-Type of a form with the body of another kind, and the other way round, at every length: 400."""
    site = serve_plain()
    body = form(site.flow.parts(sample(), 1))
    for size in range(0, len(body), 7):
        assert site.flow.open("POST", data=body[:size], content_type=FORM).status_code in (400, 503)
    assert (
        site.flow.open("POST", site.flow.spelled(sample(), 1), data=body, content_type="text/plain").status_code == 400
    )

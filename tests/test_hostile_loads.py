"""Requests that are small to send and meant to be expensive to read: what they cost grows with their size, no faster.

Operations are counted, not timed: calls of Python and C functions, and bytes that a parser keeps from piece to piece.
Patterns of ``re`` run within one call, so their inputs are so long that a quadratic one would run for hours.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from itertools import islice
from typing import Any

import pytest

from flask_resumable.core.concat import Concat
from flask_resumable.core.metadata import UploadMetadata
from flask_resumable.core.parameters import form_parameters
from flask_resumable.core.parameters import parse_parameters
from flask_resumable.errors import InvalidRequest
from flask_resumable.errors import ResumableError
from flask_resumable.errors import TooLarge
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.protocols.flow.form import FormReader
from flask_resumable.protocols.flow.messages import merge
from flask_resumable.protocols.flow.multipart import MAX_HEAD
from flask_resumable.protocols.flow.multipart import MultipartParser
from flask_resumable.protocols.ietf.disposition import filename_of
from flask_resumable.protocols.ietf.structured_fields import parse_boolean
from flask_resumable.protocols.ietf.structured_fields import parse_dictionary
from flask_resumable.protocols.ietf.structured_fields import parse_integer
from flask_resumable.wsgi.body import RequestBody

FEW, TIMES = 200, 8
LONG = 300_000  # characters
BOUNDARY = "b" * 60


def operations(act: Callable[[], object]) -> int:
    """How many functions are called, resumptions of generators included."""
    calls = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls


def keys(amount: int, ending: str = "") -> str:
    """Metadata of so many keys."""
    return ",".join(f"k{number}{ending}" for number in range(amount))


class Model(SQLAlchemyMixin):
    """An upload of an app."""

    def __init__(self, raw: str) -> None:
        self.raw_metadata = raw


def _all_of(metadata: UploadMetadata) -> object:
    return len(metadata), [*metadata], {key: metadata[key] for key in metadata}, "none" in metadata


def _as_apps_do(raw: str) -> object:
    upload = Model(raw)
    return [upload.metadata[key] for key in upload.metadata]


READERS: dict[str, Callable[[int], object]] = {
    "metadata": lambda amount: _all_of(UploadMetadata.from_header(keys(amount))),
    "metadata with further values": lambda amount: _all_of(UploadMetadata.from_header(keys(amount, "%+1"))),
    "metadata of a model": lambda amount: _as_apps_do(keys(amount)),
    "parts of a concatenation": lambda amount: Concat.from_header("final;" + " ".join(["0" * 32] * amount)),
    "members of a dictionary": lambda amount: parse_dictionary(",".join(f"k{n}=1;a;b" for n in range(amount))),
    "parameters": lambda amount: parse_parameters("a" + ";b=c" * amount),
    "malformed parameters": lambda amount: form_parameters("a" + ';b="c' * amount),
    "parameters of chunks": lambda amount: merge((f"k{n}", "v") for n in range(amount)),
    "values of one parameter": lambda amount: merge(("k", str(n)) for n in range(amount)),
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_read_costs_as_much_as_it_is_long(name: str) -> None:
    """Eight times as many items take about eight times as many calls."""
    few = operations(lambda: READERS[name](FEW))
    many = operations(lambda: READERS[name](FEW * TIMES))
    assert many < few * TIMES * 1.2 + 100, (few, many)


TEXTS = {
    "blanks": "a;" + " " * LONG,
    "semicolons": ";" * LONG,
    "a token": "a" * LONG,
    "backslashes": 'a;b="' + "\\" * LONG,
    "open quotes": 'a;b="' * (LONG // 5),
    "names alone": "a; b " * (LONG // 5),
    "an open list": "a=(" + "b " * LONG,
    "an open list with parameters": "a=(" + "b;c=d " * (LONG // 6),
    "an open string": 'a="' + '\\"' * LONG,
    "open bytes": "a=:" + "A" * LONG,
    "equals signs": "1;" + "a=" * LONG,
    "parameters": "?1" + ";a" * LONG,
    "parameters and junk": "?1" + ";a=b" * (LONG // 4) + "!",
    "percents": "a;b*=utf-8''" + "%41" * LONG,
    "members and a comma": "a" + ",b" * LONG + ",",
    "digits": "5" * LONG,
    "a value and junk": "a;b=" + "c" * LONG + "@",
    "an open display string": 'a=%"' + "%c3" * LONG,
    "a name and blanks": "a;" + "b" * LONG + " " * LONG + "=",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_takes_a_pattern_forever(text: str) -> None:
    """Each pattern comes to an end with inputs that are ten times as long as any header."""
    parse_dictionary(text)
    parse_boolean(text)
    parse_integer(text)
    parse_parameters(text)
    form_parameters(text)
    filename_of(text)


def _kept(piece: int, head: bytes) -> tuple[int, int]:
    """The most bytes that a parser keeps, and how often it is called, for a part that comes in pieces."""
    parser = MultipartParser(BOUNDARY.encode())
    data, most = b"--" + BOUNDARY.encode() + b"\r\n" + head, 0
    pieces = 0
    for at in range(0, len(data), piece):
        parser.feed(data[at : at + piece])
        most, pieces = max(most, parser.held), pieces + 1
    return most, pieces


def test_a_byte_at_a_time_keeps_no_more_than_the_headers_of_a_part() -> None:
    """Tiny chunks of a chunked body: each piece costs at most as much as the longest headers."""
    with pytest.raises(ValueError, match="no end"):
        _kept(1, b"x" * (MAX_HEAD + 10))
    most, _ = _kept(1, b"x" * (MAX_HEAD - 10))
    assert most <= MAX_HEAD
    # Content that looks like the beginning of a delimiter is kept up to the length of one.
    most, _ = _kept(1, b"\r\n\r\n" + (b"\r\n--" + BOUNDARY.encode()[:-1]) * 50)
    assert most <= len(BOUNDARY) + 4 + 66  # and blanks after it


def _read(body: bytes, boundary: str = BOUNDARY) -> None:
    """Read a form to its end, or to the refusal."""
    request = RequestBody({"CONTENT_LENGTH": str(len(body))}, timedelta(seconds=9), io.BytesIO(body))
    FormReader(request, len(body), boundary, "file").find_file()


def _parts(name: str) -> Any:
    return (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}{number}"\r\n\r\nx\r\n'.encode()
        for number in count()
    )


def test_a_hundred_thousand_parts_cost_no_more_than_ten_thousand() -> None:
    """The form is refused at the first part that is too many, and the rest of it is not parsed."""
    small, large = (b"".join(islice(_parts(name), amount)) for name, amount in (("a", 10_000), ("b", 100_000)))
    few = operations(lambda: pytest.raises(TooLarge, _read, small))
    many = operations(lambda: pytest.raises(TooLarge, _read, large))
    assert many - few < len(large) / 1024, (few, many)  # the rest is read and dropped in blocks


@pytest.mark.parametrize("filler", [b"\r", b"\n", b"\r\n", b"-", b"--" + BOUNDARY.encode()[:-1], b"\r\n--"])
def test_a_preamble_without_end_is_refused(filler: bytes) -> None:
    """Megabytes of line ends, as they have stopped other parsers."""
    with pytest.raises(InvalidRequest):
        _read(filler * (2_000_000 // len(filler)))


@pytest.mark.parametrize("filler", [b"\r", b"\n", b"\r\n", b"\r\n--" + BOUNDARY.encode()[:-1], b"\0"])
def test_a_field_without_end_is_refused(filler: bytes) -> None:
    """Before it fills the memory."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n\r\n'.encode()
    with pytest.raises(TooLarge):
        _read(head + filler * (2_000_000 // len(filler)))


def test_a_long_boundary_is_no_trouble() -> None:
    """It is as long as a header may be, and the content consists of beginnings of it."""
    boundary = "x" * 8000
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n'.encode() + (b"\r\n--" + b"x" * 7999) * 300
    )
    with pytest.raises(ResumableError):
        _read(body, boundary)

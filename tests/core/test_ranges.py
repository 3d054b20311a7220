"""What has been received: a beginning, and chunks beyond it."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.ranges import chunk_spans
from flask_resumable.core.ranges import ChunkSpan
from flask_resumable.models.record import state_of
from flask_resumable.models.record import upload_from
from flask_resumable.models.record import values_of
from flask_resumable.testing.samples import an_upload

MIB = 2**20


@st.composite
def receptions(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int]]]:
    """A chunk size, a length, and what comes: chunks in any order and again, and longer beginnings of any size."""
    unit, count = draw(st.integers(1, 7)), draw(st.integers(1, 12))
    length = (count - 1) * unit + draw(st.integers(0, 2 * unit - 1))
    chunks = [(n * unit, length if n == count - 1 else (n + 1) * unit) for n in range(count)]
    beginnings = st.integers(0, length).map(lambda stop: (0, stop))
    return unit, length, draw(st.lists(st.sampled_from(chunks) | beginnings, max_size=20))


@given(receptions(), st.tuples(st.integers(0, 90), st.integers(0, 90)), st.integers(0, 90))
def test_ranges_behave_like_a_set_of_bytes(
    reception: tuple[int, int, list[tuple[int, int]]], asked: tuple[int, int], length: int
) -> None:
    """Whatever is added in whatever order, all questions are answered as a set of byte positions would."""
    unit, _, spans = reception
    ranges, bytes_ = ByteRanges(), set[int]()
    for start, stop in spans:
        ranges, bytes_ = ranges.add(start, stop, unit), bytes_ | set(range(start, stop))
    assert ranges.total == len(bytes_)
    assert ranges.offset == next(at for at in range(len(bytes_) + 1) if at not in bytes_)
    assert ranges.stop == max(bytes_, default=-1) + 1
    assert ranges.covers(*asked) == (set(range(*asked)) <= bytes_)
    gaps = [*ranges.missing(length)]
    assert all(start < stop for start, stop in gaps)
    assert {at for start, stop in gaps for at in range(start, stop)} == set(range(length)) - bytes_


@given(receptions())
def test_ranges_say_one_thing_in_one_way(reception: tuple[int, int, list[tuple[int, int]]]) -> None:
    """The same bytes make equal ranges, however they came; pairs are disjoint, sorted, and do not touch."""
    unit, _, spans = reception
    ranges, backwards = ByteRanges(), ByteRanges()
    for (start, stop), (begin, end) in zip(spans, reversed(spans), strict=True):
        ranges, backwards = ranges.add(start, stop, unit), backwards.add(begin, end, unit)
    assert ranges == backwards
    flat = [edge for pair in ranges.pairs for edge in pair]
    assert flat == sorted(set(flat))


@given(receptions())
def test_records_keep_ranges(reception: tuple[int, int, list[tuple[int, int]]]) -> None:
    """What is written into the record as JSON comes back."""
    unit, length, spans = reception
    ranges = ByteRanges()
    for start, stop in spans:
        ranges = ranges.add(start, stop, unit)
    upload = an_upload(length=length, received=ranges)
    kept = {"claimed_until": None, "claimed_by": None, "fence": 0, "claim_message": None, "version": 0}
    record = {**values_of(upload), "id": upload.id, **kept}
    record["chunks"] = json.loads(json.dumps(record["chunks"]))
    assert upload_from(record).received == ranges


@pytest.mark.parametrize(
    ("start", "stop", "unit"),
    [(15, 20, 10), (20, 25, 10), (20, 30, 0), (20, 40, 20), (60, 70, 10)],
    ids=["not at a chunk", "cut short before the end", "of no size", "of another size", "behind one cut short"],
)
def test_only_whole_chunks_lie_beyond_the_offset(start: int, stop: int, unit: int) -> None:
    """What could not be remembered is not taken: a byte too many would be a hole in a file that is called complete."""
    ranges = ByteRanges.prefix(3).add(40, 55, 10)
    with pytest.raises(ValueError, match=f"Bytes {start} to {stop} are not whole chunks of {unit} bytes"):
        ranges.add(start, stop, unit)


def test_gaps_are_what_is_missing() -> None:
    """In order, and only up to the end that is asked for."""
    ranges = ByteRanges.prefix(10).add(20, 30, 10).add(40, 45, 10)
    assert [*ranges.missing(60)] == [(10, 20), (30, 40), (45, 60)]
    assert [*ranges.missing(35)] == [(10, 20), (30, 35)]
    assert [*ranges.missing(10)] == [*ByteRanges().missing(0)] == []
    assert [*ByteRanges().missing(1)] == [(0, 1)]


def test_a_record_stays_small_whatever_the_order() -> None:
    """Ten thousand chunks in no order at all: a record is a page of a database at most, not thousands of ranges."""
    order = list(range(10_000))
    random.Random(3).shuffle(order)
    ranges, longest, most = ByteRanges(), 0, 0
    for n, number in enumerate(order):
        ranges = ranges.add(number * MIB, (number + 1) * MIB, MIB)
        if n % 500 == 0:
            longest = max(longest, len(json.dumps(state_of(an_upload(received=ranges))["chunks"])))
            most = max(most, len(ranges.pairs))
    assert ranges == ByteRanges.prefix(10_000 * MIB)
    assert most > 2_000
    assert longest < 2_600


def test_a_record_is_smaller_where_chunks_come_in_order() -> None:
    """Three at once: what is kept is about those three, not about all that lie before them."""
    ranges = ByteRanges.prefix(50_000 * MIB).add(50_001 * MIB, 50_003 * MIB, MIB)
    kept = state_of(an_upload(received=ranges))["chunks"]
    assert kept == {"unit": MIB, "end": 50_003 * MIB, "bits": "6"}


def test_a_chunk_is_asked_for_as_a_whole() -> None:
    """Half a chunk is none; an empty one at the end is always here."""
    ranges = ByteRanges.prefix(15)
    assert ranges.has(ChunkSpan(1, 0, 10, 10))
    assert not ranges.has(ChunkSpan(2, 10, 20, 10))
    assert ranges.has(ChunkSpan(4, 30, 30, 10))


def test_chunks_are_as_the_client_cuts_them() -> None:
    """The last chunk may be longer or shorter than the others, and one without bytes is left out."""
    assert list(chunk_spans(10, 2, 25)) == [ChunkSpan(1, 0, 10, 10), ChunkSpan(2, 10, 25, 10)]
    assert list(chunk_spans(10, 3, 25)) == [*chunk_spans(10, 2, 20), ChunkSpan(3, 20, 25, 10)]
    assert list(chunk_spans(10, 3, 20)) == list(chunk_spans(10, 2, 20))
    assert list(chunk_spans(0, 1, 15)) == [ChunkSpan(1, 0, 15, 0)]
    assert list(chunk_spans(10, 1, 0)) == []

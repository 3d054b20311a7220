"""Parts: they cover every byte once, and there are never too many of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flask_resumable.core.ranges import ChunkSpan
from flask_resumable.storage.multipart.geometry import are_equal
from flask_resumable.storage.multipart.geometry import Geometry
from flask_resumable.storage.multipart.geometry import join
from flask_resumable.storage.multipart.geometry import MAX_OBJECT
from flask_resumable.storage.multipart.geometry import MAX_PARTS
from flask_resumable.storage.multipart.geometry import MIB
from flask_resumable.storage.multipart.geometry import MIN_PART
from flask_resumable.storage.multipart.geometry import parts_of_chunk
from flask_resumable.storage.multipart.geometry import size_of

lengths = st.integers(1, MAX_OBJECT) | st.integers(1, 100 * MIB)
part_sizes = st.integers(MIN_PART, 5 * 1024 * MIB)


@given(lengths, part_sizes)
def test_every_length_fits(length: int, part_size: int) -> None:
    """With a known length all parts have one size, no smaller than asked for, and 10,000 suffice."""
    geometry = Geometry.fitting(length, part_size)
    assert geometry.step == 0 and geometry.first >= part_size
    assert geometry.stop(MAX_PARTS) >= length
    if length <= 2_000 * 64 * MIB:
        assert geometry.stop(2_000) >= length


@given(part_sizes)
def test_any_length_can_come(part_size: int) -> None:
    """While the length is unknown, parts grow, so that 10,000 suffice for the largest object."""
    geometry = Geometry.fitting(None, part_size)
    assert geometry.stop(MAX_PARTS) >= MAX_OBJECT
    assert geometry.stop(1) == part_size


@given(part_sizes)
def test_parts_of_one_size_suit_every_store(part_size: int) -> None:
    """Where nothing is known of the store, parts do not grow either."""
    assert Geometry.fitting(None, part_size, grows=False) == Geometry(part_size)


@given(st.none() | lengths, part_sizes, st.integers(1, MAX_PARTS))
def test_parts_lie_side_by_side(length: int | None, part_size: int, number: int) -> None:
    """A part begins where the one before it ends."""
    geometry = Geometry.fitting(length, part_size)
    start, stop = geometry.start(number), geometry.stop(number)
    assert start < stop == geometry.start(number + 1)
    assert geometry.start(1) == 0


def test_the_last_part_ends_with_the_upload() -> None:
    """A part that the upload's end falls into is shorter."""
    assert Geometry(10).stop(2, 15) == 15
    assert Geometry(10).stop(1, 15) == 10


sources = st.lists(st.integers(0, 40), max_size=12)


@given(sources, st.integers(5, 12))
def test_joined_sources_are_all_there_in_order(sizes: list[int], part_size: int) -> None:
    """Every byte of every source is in exactly one part, in order; all but the last are large enough."""
    pieces = join(sizes, part_size, minimum=5)
    found = [(span.source, at) for piece in pieces for span in piece for at in range(span.start, span.stop)]
    assert found == [(source, at) for source, size in enumerate(sizes) for at in range(size)]
    assert all(size_of(piece) >= 5 for piece in pieces[:-1])


@given(sources, st.integers(5, 12))
def test_sources_can_be_joined_to_parts_of_one_size(sizes: list[int], part_size: int) -> None:
    """Every byte is there, in order; the last part is the only one that may have another size, and no larger one."""
    pieces = join(sizes, part_size, minimum=5, equal=True)
    found = [(span.source, at) for piece in pieces for span in piece for at in range(span.start, span.stop)]
    assert found == [(source, at) for source, size in enumerate(sizes) for at in range(size)]
    assert are_equal([size_of(piece) for piece in pieces])


@given(sources, st.integers(5, 12))
def test_sources_that_cannot_be_copied_make_small_parts(sizes: list[int], part_size: int) -> None:
    """All of it goes through memory, so no part is larger than was asked for, however large the sources are."""
    pieces = join([size * MIB for size in sizes], part_size * MIB, copies=False)
    assert sum(size_of(piece) for piece in pieces) == sum(sizes) * MIB
    assert all(size_of(piece) == part_size * MIB for piece in pieces[:-1])


def test_sources_that_are_equal_are_copied_as_they_are() -> None:
    """Nothing needs to be read for stores that want parts of one size, if they have it; one source always has."""
    assert [len(piece) for piece in join([6 * MIB, 6 * MIB, 1], 8 * MIB, equal=True)] == [1, 1, 1]
    assert [size_of(piece) for piece in join([6 * MIB, 6 * MIB + 1], 8 * MIB, equal=True)] == [8 * MIB, 4 * MIB + 1]
    whole = [size_of(piece) for piece in join([1025 * MIB + 1], 8 * MIB, equal=True)]
    assert are_equal(whole) and len(whole) == 3


def test_large_sources_are_copied_by_the_store() -> None:
    """Sources that are large enough are parts of their own, cut if they are very large; 5 TiB fit."""
    assert [len(piece) for piece in join([6 * MIB, 7 * MIB, 1], 8 * MIB)] == [1, 1, 1]
    assert [size_of(piece) for piece in join([1024 * MIB], 8 * MIB)] == [512 * MIB] * 2
    assert len(join([MAX_OBJECT // 2] * 2, 8 * MIB)) <= MAX_PARTS


def test_small_sources_share_parts_of_one_size() -> None:
    """Sources that are too small are put together, into parts of one size."""
    assert [size_of(piece) for piece in join([3 * MIB] * 6, 8 * MIB)] == [8 * MIB, 8 * MIB, 2 * MIB]
    assert len(join([MIN_PART] * 10_001, MIN_PART)) <= MAX_PARTS


def test_a_last_chunk_that_is_longer_makes_two_parts() -> None:
    """The first of these has the size of all the others; no other chunk is cut."""
    assert parts_of_chunk(ChunkSpan(1, 0, 10, 10)) == [(1, 0, 10)]
    assert parts_of_chunk(ChunkSpan(2, 10, 25, 10)) == [(2, 10, 20), (3, 20, 25)]
    assert parts_of_chunk(ChunkSpan(2, 10, 20, 10)) == [(2, 10, 20)]
    assert parts_of_chunk(ChunkSpan(2, 10, 15, 10)) == [(2, 10, 15)]
    assert parts_of_chunk(ChunkSpan(1, 0, 15, 0)) == [(1, 0, 15)]

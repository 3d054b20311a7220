"""Sets of byte ranges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flask_resumable.sansio.ranges import ByteRanges

PAIRS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair))), max_size=12
)


@given(PAIRS, st.tuples(st.integers(0, 60), st.integers(0, 60)), st.integers(0, 70))
def test_ranges_behave_like_a_set_of_bytes(pairs: list[tuple[int, int]], asked: tuple[int, int], length: int) -> None:
    """Whatever is added in whatever order, all questions are answered as a set of byte positions would."""
    ranges, bytes_ = ByteRanges(), set[int]()
    for start, stop in pairs:
        ranges, bytes_ = ranges.add(start, stop), bytes_ | set(range(start, stop))
    assert ranges.total == len(bytes_)
    assert ranges.offset == next(at for at in range(62) if at not in bytes_)
    assert ranges.covers(*asked) == (set(range(*asked)) <= bytes_)
    missing = {at for start, stop in ranges.missing(length) for at in range(start, stop)}
    assert missing == set(range(length)) - bytes_
    assert ByteRanges.prefix(ranges.offset).pairs + ranges.islands == ranges.pairs


@given(PAIRS)
def test_ranges_are_disjoint_sorted_and_joined(pairs: list[tuple[int, int]]) -> None:
    """Ranges that touch become one, so that the record stays small."""
    ranges = ByteRanges()
    for start, stop in pairs:
        ranges = ranges.add(start, stop)
    flat = [edge for pair in ranges.pairs for edge in pair]
    assert flat == sorted(set(flat))

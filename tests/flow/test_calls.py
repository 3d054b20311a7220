"""How much is done for a chunk, in calls into the package: the same on every machine, however busy."""

from __future__ import annotations

import pytest

from bench.calls import Calls
from bench.calls import measure


@pytest.fixture(scope="module")
def calls() -> dict[str, Calls]:
    """Of each sort of request."""
    return measure()


@pytest.mark.parametrize(
    ("title", "most"),
    [
        ("chunk 2 of 3, 10 bytes, form", 346),
        ("chunk 2 of 3, 10 bytes, octet", 316),
        ("chunk 2 of 3, 65,536 bytes, form", 416),
        ("chunk 2 of 3, 65,536 bytes, octet", 340),
    ],
)
def test_a_chunk_takes_no_more_calls_than_it_did(calls: dict[str, Calls], title: str, most: int) -> None:
    """In an app without hooks for chunks. With ``python -m bench.calls TITLE`` you see where they go."""
    assert calls[title].total() <= most, calls[title].most_common(20)


@pytest.mark.parametrize("way", ["form", "octet"])
@pytest.mark.parametrize("size", ["10", "65,536"])
def test_who_asks_and_for_what_is_found_out_once(calls: dict[str, Calls], size: str, way: str) -> None:
    """The app's ``current_owner()`` and the key that the upload is found by, in each request with a chunk."""
    for number in (1, 2, 3):
        found = {
            name.rpartition(" ")[2]: count for name, count in calls[f"chunk {number} of 3, {size} bytes, {way}"].items()
        }
        assert found["FlaskResumable.current_owner"] == found["File.key"] == found["parse_chunk"] == 1

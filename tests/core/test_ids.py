"""The ids of uploads, and the names of their bytes."""

from __future__ import annotations

import pytest

from flask_resumable.core.ids import checked_choice
from flask_resumable.core.ids import id_in
from flask_resumable.core.ids import name_of

RANDOM = "0123456789abcdef" * 2


@pytest.mark.parametrize("chosen", ["a", "7", "_", "report-7", "a--b_", "x" * 64, RANDOM, f"{RANDOM}-{RANDOM[:31]}"])
def test_an_app_can_choose(chosen: str) -> None:
    """Lower-case letters, digits, hyphens and underscores; the id is found again in the name of the bytes."""
    assert checked_choice(chosen) == chosen
    assert id_in(name_of(chosen, RANDOM)) == chosen


@pytest.mark.parametrize(
    "chosen",
    [
        *("", "-", "-a", "A", "ä", "a b", " a", "a\n", "a/b", ".", "..", "a.b", "a%2f", "a\0", "x" * 65, "٣", "ﬁ"),
        *("status", 5, b"a", True, ["a"]),
    ],
)
def test_what_is_no_id(chosen: object) -> None:
    """Whatever could mean something else in a path, a URL or a command is refused, and the error names the method."""
    with pytest.raises((TypeError, ValueError), match=r"^choose_id\(\) returned "):
        checked_choice(chosen, {"status"})


def test_names_are_told_apart() -> None:
    """A random id is the name of its bytes, also if it looks like the end of another name."""
    assert id_in(RANDOM) == RANDOM
    assert id_in(name_of(RANDOM, RANDOM)) == RANDOM
    for foreign in ("", "report-7", RANDOM[:31], f"-{RANDOM}", f"A-{RANDOM}", f"{RANDOM}.part", f"{RANDOM}\n"):
        assert id_in(foreign) is None

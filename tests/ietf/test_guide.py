"""The guide's table of versions, held against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flask_resumable.protocols.ietf.versions import NEWEST
from flask_resumable.protocols.ietf.versions import Version
from flask_resumable.protocols.ietf.versions import VERSIONS

GUIDE = (Path(__file__).parents[2] / "docs" / "ietf.md").read_text()
TABLE = GUIDE.partition("## How the versions differ\n\n")[2].partition("\n\n")[0]
HEAD, _, *ROWS = ([cell.strip() for cell in line.strip("|").split(" |")] for line in TABLE.splitlines())
COLUMNS = {number: column for column, name in enumerate(HEAD) for number in map(int, re.findall(r"\d+", name))}


def _yes(value: bool, yes: str = "yes", no: str = "no") -> str:
    return yes if value else no


def _expected(version: Version) -> dict[str, str]:
    return {
        "completeness": f"`{version.completeness}`",
        "an append must be `application/partial-upload`": _yes(version.needs_media_type),
        "an append without completeness": _yes(version.may_omit_completeness, "is the last", "is refused"),
        "complete at its length": _yes(version.ends_at_length),
        "an append that is not the last": str(version.appended),
        "lifetime in `Upload-Limit`": ", ".join(f"`{name}`" for name in version.lifetimes) or "none",
        "content beyond the length": _yes(version.is_fatal_beyond_length, "ends the upload", "is refused"),
        "limits for appends apply to creations": _yes(version.limits_creation),
    }


@pytest.mark.parametrize("number", VERSIONS)
def test_the_guide_says_in_what_the_versions_differ(number: int) -> None:
    """Each row, for each version."""
    rows = {row[0]: row[1:] for row in ROWS}
    expected = _expected(VERSIONS[number])
    for name, value in expected.items():
        cells = rows[name][: COLUMNS[number]]
        found = next(cell for cell in reversed(cells) if cell != "the same")
        assert found == value, name
    assert {*rows} - {*expected} == {"draft", "a client"}


def test_the_guide_has_every_version() -> None:
    """And the newest one is that of requests without a version."""
    assert {*COLUMNS} == {*VERSIONS}
    assert "none" in HEAD[COLUMNS[NEWEST.number]]

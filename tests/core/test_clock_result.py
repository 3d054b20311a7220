"""Two clocks."""

from __future__ import annotations

from datetime import datetime
from datetime import timedelta
from datetime import UTC

import pytest

from flask_resumable.core.health import clock_result
from flask_resumable.core.health import OK
from flask_resumable.core.health import WARNING

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-6.5, "6 seconds behind"),
        (-5.001, "5 seconds behind"),
        (-5, None),
        (0, None),
        (2, None),
        (7, None),
        (7.001, "5 seconds ahead of"),
        (10, "8 seconds ahead of"),
    ],
)
def test_clocks_may_differ_by_a_little(seconds: float, words: str | None) -> None:
    """Besides the time that asking takes, here two seconds."""
    theirs = NOW + timedelta(seconds=seconds)
    result = clock_result("database", "the database", theirs, NOW, NOW + timedelta(seconds=2))
    assert result.name == "database"
    if words is None:
        assert (result.level, result.code) == (OK, None)
        assert result.message == "The clock of the database agrees with that of this machine."
    else:
        assert (result.level, result.code) == (WARNING, "clock_differs")
        assert result.message.startswith(f"The clock of the database is {words} that of this machine")

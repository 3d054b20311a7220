"""All that the service saves is watched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.transitions import Watch
from tests.transitions import watching


@pytest.fixture(autouse=True)
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """The changes of statuses, each of which must be possible."""
    with watching(monkeypatch) as watch:
        yield watch

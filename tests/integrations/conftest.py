"""What the tests with other extensions share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from .guide import running


@pytest.fixture
def guide(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The app of ``docs/authentication.md`` that a test module is about: ``GUIDE`` is what it shows."""
    monkeypatch.setenv("FLASK_SECRET_KEY", "a-key-for-tests")
    monkeypatch.setenv("FLASK_SECURITY_PASSWORD_SALT", "some-salt")
    with running(request.module.GUIDE, tmp_path) as module:
        yield module

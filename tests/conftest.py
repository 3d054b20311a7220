"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """An app with an instance folder of its own, and without the extension."""
    app = Flask("app", instance_path=str(tmp_path / "instance"))
    app.config["TESTING"] = True
    yield app
    state = app.extensions.get("resumable")
    if state is not None and hasattr(state.repository, "dispose"):
        state.repository.dispose()

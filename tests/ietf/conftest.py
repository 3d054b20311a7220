"""Apps under test, on the embedded database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.server import Server
from tests.conformance.server import start_embedded
from tests.service.conftest import watch  # noqa: F401

from .client import Ietf

Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Start an app, with settings by their names without prefix: ``serve(MAX_SIZE=10)``."""
    homes = (tmp_path / f"app{number}" for number in range(10))

    def start(**settings: Any) -> Server:
        home = next(homes)
        home.mkdir()
        return start_embedded(home, {f"RESUMABLE_{name}": value for name, value in settings.items()})

    return start


@pytest.fixture
def server(serve: Serve) -> Server:
    """An app with the default settings."""
    return serve()


Speak = Callable[..., Ietf]


@pytest.fixture
def speak(server: Server) -> Speak:
    """A client of that app, by version."""
    return lambda version=None: Ietf(server.app.test_client(), version)

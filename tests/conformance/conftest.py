"""Tests run on the embedded database, and on an app's own Flask-SQLAlchemy model if that can make a difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import watch  # noqa: F401

from .server import Serve
from .server import Server
from .server import start_embedded
from .server import start_flask_sqlalchemy
from .tus_client import Tus

STARTS = {"embedded": start_embedded, "flask_sqlalchemy": start_flask_sqlalchemy}
# Files about what is said and understood, whatever keeps the records. All others run on both databases.
OF_MESSAGES = {
    "test_checksum",
    "test_coding",
    "test_core",
    "test_cors",
    "test_downloads",
    "test_integers",
    "test_metadata",
    "test_method_override",
    "test_mounting",
    "test_options",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the databases."""
    if "serve" in metafunc.fixturenames:
        is_one_enough = metafunc.config.getoption("fast") or metafunc.module.__name__.rpartition(".")[2] in OF_MESSAGES
        metafunc.parametrize("serve", ["embedded"] if is_one_enough else STARTS, indirect=True)


@pytest.fixture
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Serve:
    """Start an app, with settings by their names without prefix: ``serve(MAX_SIZE=10)``."""
    homes = (tmp_path / f"app{number}" for number in range(10))

    def start(**settings: Any) -> Server:
        home = next(homes)
        home.mkdir()
        return STARTS[request.param](home, {f"TUS_{name}": value for name, value in settings.items()})

    return start


@pytest.fixture
def server(serve: Serve) -> Server:
    """An app with the default settings."""
    return serve()


@pytest.fixture
def tus(server: Server) -> Tus:
    """A client of it."""
    return server.tus

"""Every test here runs twice: on the embedded database, and on an app's own Flask-SQLAlchemy model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .server import Serve
from .server import Server
from .server import start_embedded
from .server import start_flask_sqlalchemy
from .tus_client import Tus

STARTS = {"embedded": start_embedded, "flask_sqlalchemy": start_flask_sqlalchemy}


@pytest.fixture(params=STARTS)
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

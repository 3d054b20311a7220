"""Sites for every test, and the live servers of their neighbours."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import pytest_runtest_makereport  # noqa: F401
from tests.live.conftest import pytest_runtest_setup  # noqa: F401
from tests.live.conftest import quick_disk  # noqa: F401
from tests.live.conftest import serve as serve_live  # noqa: F401
from tests.live.conftest import shared as shared_live  # noqa: F401
from tests.service.conftest import watch  # noqa: F401

from .client import Flow
from .site import Site
from .site import SITES
from .site import start

Serve = Callable[..., Site]


def _starter(kind: str, home: Path) -> Iterator[Serve]:
    made: list[Site] = []

    def serve(**settings: Any) -> Site:
        made.append(start(kind, home / f"site{len(made)}", **settings))
        return made[-1]

    yield serve
    for site in made:
        site.server.app.extensions["resumable"].repository.dispose()


# Each database and each way of keeping chunks once; in files where records meet chunks, all that go together.
TWO = ["embedded, in place", "flask_sqlalchemy, chunks folder"]
OF_BOTH = {"test_ends", "test_idempotence", "test_returns"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the databases and the ways of keeping chunks."""
    if "serve" in metafunc.fixturenames:
        is_of_both = metafunc.module.__name__.rpartition(".")[2] in OF_BOTH
        kinds = [*SITES] if is_of_both else TWO
        metafunc.parametrize("serve", kinds[:1] if metafunc.config.getoption("fast") else kinds, indirect=True)


@pytest.fixture
def serve(request: pytest.FixtureRequest, quick_disk: Path) -> Iterator[Serve]:  # noqa: F811
    """Start an app of each kind, with settings by their names without prefix: ``serve(MAX_SIZE=10)``."""
    yield from _starter(request.param, quick_disk)


@pytest.fixture
def serve_plain(quick_disk: Path) -> Iterator[Serve]:  # noqa: F811
    """Start an app of one kind, for what is decided before databases and disks."""
    yield from _starter("embedded, in place", quick_disk)


@pytest.fixture
def serve_folder(quick_disk: Path) -> Iterator[Serve]:  # noqa: F811
    """Start an app with a chunks folder."""
    yield from _starter("flask_sqlalchemy, chunks folder", quick_disk)


@pytest.fixture
def site(serve: Serve) -> Site:
    """An app of each kind with the default settings."""
    return serve()


@pytest.fixture
def flow(site: Site) -> Flow:
    """A client of it."""
    return site.flow


@pytest.fixture
def plain(serve_plain: Serve) -> Site:
    """An app of one kind with the default settings."""
    return serve_plain()

"""Servers that tests share, servers of their own, and what a test may demand of the machine."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from tests.folders import quick_folder
from tests.prerequisites import require_module
from tests.prerequisites import require_program
from tests.prerequisites import require_script

from .servers import OTHERS
from .servers import Server
from .tls import Certificate
from .tls import make_certificate

KEPT = 3  # servers that are shared and not in use; all of them would take gigabytes of memory
LOG_TAIL = 4000  # characters of a server's log that a failing test shows


# serve("gthread", IDLE_TIMEOUT=1) gives a running server; upper-case names are settings, others go to Server.
Serve = Callable[..., Server]


_used: list[Server] = []  # by the test that is running


def pytest_runtest_setup() -> None:
    """Every test begins with no servers."""
    _used.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    """Show what its servers have logged when a test fails."""
    report = yield
    if report.failed:
        for server in (server for server in _used if server.log.exists()):
            report.sections.append((f"log of {server.kind}", server.log.read_text()[-LOG_TAIL:]))
    return report


def require_server(kind: str) -> None:
    """Servers that only the test extra installs."""
    if kind == "uwsgi":
        require_script("uwsgi", "pip install pyuwsgi")
    elif kind in OTHERS or kind == "gevent":
        require_module(kind, f"pip install {kind}")


def _started(kind: str, home: Path, wishes: dict[str, Any]) -> Server:
    settings = {name: value for name, value in wishes.items() if name.isupper()}
    others = {name: value for name, value in wishes.items() if not name.isupper()}
    require_server(kind)
    server = Server(kind, home, settings, **others)
    try:
        server.start()
    except BaseException:
        server.stop()
        raise
    return server


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Servers that are started when first asked for and then shared by all tests: they must be left alive.

    The tests of a file that share a server are run by the same process. It keeps the servers that were last used.
    """
    running: dict[str, Server] = {}

    with quick_folder(tmp_path_factory.mktemp("shared")) as folder:

        def serve(kind: str, **wishes: Any) -> Server:
            key = repr((kind, sorted(wishes.items())))
            server = running.pop(key, None) or _started(kind, Path(mkdtemp(prefix=kind, dir=folder)), wishes)
            running[key] = server
            while len(running) > KEPT:
                running.pop(next(iter(running))).stop()
            _used.append(server)
            return server

        yield serve
        for server in running.values():
            server.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Servers of the test's own, to be frozen, killed and restarted."""
    own: list[Server] = []

    def start(kind: str, home: Path | None = None, **wishes: Any) -> Server:
        own.append(_started(kind, home or tmp_path / f"{kind}{len(own)}", wishes))
        _used.append(own[-1])
        return own[-1]

    yield start
    for server in own:
        server.stop()


@pytest.fixture
def quick_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one."""
    with quick_folder(tmp_path) as folder:
        yield folder


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for this run, and clients that trust it."""
    openssl = require_program("openssl", "apt-get install openssl")
    return make_certificate(openssl, tmp_path_factory.mktemp("certificate"))

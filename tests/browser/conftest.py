"""The demo behind a proxy, and a browser in front of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.prerequisites import require_npm_packages
from tests.prerequisites import require_program

from .browser import Browser
from .browser import Chromium
from .demo_server import DemoServer
from .demo_server import ROOT
from .page import Page
from .proxy import Proxy

HERE = Path(__file__).resolve().parent
PACKAGES = (ROOT / "demo", HERE)

MakeFile = Callable[..., Path]
StartApp = Callable[..., DemoServer]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The system's browser, with everything from npm in place."""
    executable = require_program("chromium", "apt-get install chromium")
    for folder in PACKAGES:
        require_npm_packages(folder)
    chromium = Chromium(executable, tmp_path_factory.mktemp("chromium"))
    yield chromium
    chromium.close()


@pytest.fixture(scope="session")
def lasting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """The demo, for all tests."""
    server = DemoServer(tmp_path_factory.mktemp("demo"))
    yield server
    server.kill()


@pytest.fixture
def server(lasting_server: DemoServer) -> Iterator[DemoServer]:
    """The demo, running, without any upload; it may not fail at anything. Tests may kill and restart it."""
    lasting_server.renew()
    yield lasting_server
    assert "Traceback" not in lasting_server.log


@pytest.fixture
def proxy(server: DemoServer) -> Iterator[Proxy]:
    """The way to the server."""
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def browser(chromium: Chromium) -> Iterator[Browser]:
    """A browser that may complain of nothing."""
    with Browser(chromium) as browser:
        yield browser
        assert browser.complaints() == []


@pytest.fixture
def page(browser: Browser, proxy: Proxy) -> Page:
    """The demo's page, through the proxy."""
    page = Page(browser)
    browser.goto(proxy.url)
    return page


@pytest.fixture
def start_app(chromium: Chromium) -> Iterator[StartApp]:
    """Start the app of a page in a folder: ``start_app(folder, "module")``. It may not fail at anything."""
    started: list[DemoServer] = []

    def start(home: Path, app: str, **environ: str) -> DemoServer:
        started.append(DemoServer(home, app=app, environ={"PYTHONPATH": f"{home}:{ROOT}", **environ}))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.kill()
        assert "Traceback" not in server.log


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    """Make a file of random bytes: ``make_file("a.bin", 1000)``."""
    folder = tmp_path / "local"
    folder.mkdir()

    def make(name: str, size: int) -> Path:
        path = folder / name
        path.write_bytes(random.randbytes(size))
        return path

    return make

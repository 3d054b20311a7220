"""The demo as it is deployed, behind nginx: while the app restarts, a page keeps its uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.nginx import Nginx

from .browser import Browser
from .conftest import MakeFile
from .demo_server import DemoServer
from .demo_server import sha256
from .page import Page
from .proxy import Proxy
from .waiting import until

pytestmark = pytest.mark.browser

MiB = 1024 * 1024
SIZE = 16 * MiB + 11  # more than nginx and the browser's socket swallow while the proxy is shut


@pytest.fixture
def proxy(server: DemoServer, tmp_path: Path) -> Iterator[Proxy]:
    """The network between the browser and nginx."""
    nginx = Nginx(tmp_path / "nginx", [server.port])
    with Proxy(nginx.port) as proxy:
        yield proxy
    nginx.close()


@pytest.mark.parametrize("tab", ["tus", "flow"])
def test_a_restart_of_the_app(
    browser: Browser, proxy: Proxy, server: DemoServer, make_file: MakeFile, tab: str
) -> None:
    """The upload goes on by itself where it was: there is no second one, and nothing that was saved is sent again."""
    browser.goto(f"{proxy.url}#{tab}")
    page, file = Page(browser, tab), make_file("film.mp4", SIZE)
    proxy.let(4 * MiB)
    page.choose(file)
    until(lambda: server.received() >= MiB, "the server has saved a part of the file")
    (upload,) = server.uploads()["unfinished"]
    server.kill()
    proxy.let(None)
    page.wait_until("film.mp4", "retrying")
    server.start()
    page.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]
    assert [row["id"] for row in server.uploads()["finished"]] == [upload["id"]]
    assert server.uploads()["unfinished"] == []

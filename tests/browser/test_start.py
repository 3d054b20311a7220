"""The ways to start the demo."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from .browser import Browser
from .conftest import MakeFile
from .demo_server import DemoServer
from .demo_server import sha256
from .demo_server import WAYS
from .page import Page

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("way", WAYS)
def test_ways(way: str, browser: Browser, tmp_path: Path, make_file: MakeFile) -> None:
    """However the demo is started, it takes files, and says on the terminal that they are complete."""
    server = DemoServer(tmp_path, way)
    server.start()
    try:
        file = make_file("photo.jpg", 200_000)
        browser.goto(server.url)
        page = Page(browser)
        page.choose(file)
        page.wait_until("photo.jpg", "done")
        assert server.digests() == [sha256(file)]
        assert "'photo.jpg' is complete: 200000 bytes" in server.log
    finally:
        server.kill()


def test_ctrl_c(tmp_path: Path) -> None:
    """It ends at once, and quietly, although somebody is connected."""
    server = DemoServer(tmp_path, "make")
    workers: set[int] = set()
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET /api/uploads HTTP/1.1\r\nHost: a\r\n")  # and more to come
            while len(workers) < 2:
                workers.add(server.uploads()["worker"])
            assert server.interrupt() == 0
    finally:
        server.kill()
    assert "Traceback" not in server.log

"""The tab of Uppy: its own Dashboard, with the tus plugin."""

from __future__ import annotations

from pathlib import Path

import pytest

from .browser import Browser
from .conftest import MakeFile
from .demo_server import DemoServer
from .demo_server import sha256
from .page import Page
from .page import UPPY
from .proxy import Proxy
from .waiting import until

pytestmark = pytest.mark.browser

MiB = 1024 * 1024
NAME = "film.mp4"
RESUMED = '#panel-uppy [data-part="costs"] .card'


@pytest.fixture
def page(browser: Browser, proxy: Proxy) -> Page:
    """The page with Uppy chosen."""
    browser.goto(f"{proxy.url}#uppy")
    browser.wait_for(UPPY)
    return Page(browser, "uppy")


@pytest.fixture
def halfway(page: Page, proxy: Proxy, server: DemoServer, make_file: MakeFile) -> tuple[Page, Path]:
    """The page in the middle of sending a file."""
    file = make_file(NAME, 16 * MiB + 11)
    proxy.let(3 * MiB)
    page.choose(file)
    until(lambda: server.offset() >= MiB, "the server has a part of the file")
    return page, file


def test_files_arrive_whole(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """Files lie on the server byte for byte, whatever their size, and the page shows where they came by."""
    files = [make_file(name, size) for name, size in (("photo.jpg", 5 * MiB + 7), ("empty.txt", 0), ("日本.txt", 1000))]
    page.choose(*files)
    for file in files:
        page.browser.wait_for(page.finished(file.name))
    assert server.digests() == sorted(sha256(file) for file in files)


def test_connection_reset(halfway: tuple[Page, Path], proxy: Proxy, server: DemoServer) -> None:
    """An upload whose connection breaks goes on by itself, and the page says from where."""
    page, file = halfway
    proxy.cut()
    proxy.let(None)
    page.browser.wait_for(page.finished(NAME))
    assert server.digests() == [sha256(file)]
    page.browser.wait_for(f'{RESUMED} [data-part="note"]:text-matches("^Arrived intact; resumed ")')
    assert page.browser.text(f'{RESUMED} [data-part="cost"]') == "Sent twice: 0 bytes that the server already had."


def test_reload(halfway: tuple[Page, Path], proxy: Proxy, server: DemoServer) -> None:
    """After a reload, adding the same file again goes on where the upload was."""
    page, file = halfway
    assert page.browser.texts('#panel-tus [data-part="earlier"] .row') == []
    page.browser.reload()
    page.browser.wait_for(UPPY)
    page.choose(file)
    page.browser.wait_for(f'{RESUMED} [data-part="note"]:text-matches("^Resumed from byte [1-9]")')
    proxy.let(None)
    page.browser.wait_for(page.finished(NAME))
    assert server.digests() == [sha256(file)]


def test_refused_file(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """Uppy shows that the app's on_create refuses a file, and the next file goes its way."""
    page.choose(make_file("setup.exe", 1000))
    page.browser.wait_for(f'{UPPY} :text("Upload failed")')
    page.clear_uppy()
    page.choose(make_file("notes.txt", 1000))
    page.browser.wait_for(page.finished("notes.txt"))
    assert len(server.digests()) == 1


def test_is_loaded_when_it_is_wanted(browser: Browser, proxy: Proxy) -> None:
    """Who never opens the tab does not load Uppy."""
    browser.goto(proxy.url)
    browser.wait_for('[data-part="no-unfinished"]')
    assert proxy.count("GET /vendor/uppy") == 0
    browser.click("#tab-uppy")
    browser.wait_for(UPPY)
    assert proxy.count("GET /vendor/uppy") == 2

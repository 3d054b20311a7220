"""The tab of the IETF draft: the same client and the same uploads as in that of tus, in another protocol."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.prerequisites import require_program

from .browser import Browser
from .conftest import MakeFile
from .demo_server import DemoServer
from .demo_server import sha256
from .page import Page
from .proxy import Proxy
from .waiting import until

pytestmark = pytest.mark.browser

MiB = 1024 * 1024
SIZE = 16 * MiB + 11  # more than the browser's socket swallows while the proxy is shut


@pytest.fixture
def page(browser: Browser, proxy: Proxy) -> Page:
    """The page with the draft chosen."""
    browser.goto(f"{proxy.url}#ietf")
    return Page(browser, "ietf")


@pytest.fixture
def file(make_file: MakeFile) -> Path:
    """A file that takes a while, as long as the proxy holds it back."""
    return make_file("film.mp4", SIZE)


@pytest.fixture
def halfway(page: Page, proxy: Proxy, server: DemoServer, file: Path) -> Page:
    """The page in the middle of sending the file: the server has some of it, and waits for the rest."""
    proxy.let(3 * MiB)
    page.choose(file)
    until(lambda: server.offset() >= MiB, "the server has saved a part of the file")
    return page


def wait_until_resumed(page: Page) -> int:
    """Wait until the upload goes on by itself; the byte from which, as the card says."""
    page.browser.wait_for(f'{page.card("film.mp4", "sending")} [data-part="note"]:text-matches("^Resumed from byte")')
    return int("".join(re.findall(r"\d+", page.note("film.mp4"))))


@pytest.mark.parametrize("size", [0, 1, 5 * MiB + 7])
@pytest.mark.parametrize("piece", [0, MiB])
def test_file_arrives_whole(page: Page, server: DemoServer, make_file: MakeFile, size: int, piece: int) -> None:
    """Of any size, in one request or in several, it lies on the server byte for byte."""
    file = make_file("holiday.mov", size)
    page.send_in_pieces(piece)
    page.choose(file)
    page.wait_until("holiday.mov", "done")
    assert server.digests() == [sha256(file)]


def test_connection_reset(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """An upload whose connection breaks goes on by itself."""
    proxy.cut()
    proxy.let(64 * 1024)  # Chromium first repeats the broken request by itself, at an offset that is no longer right
    assert wait_until_resumed(halfway) >= MiB
    proxy.let(None)
    halfway.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]


def test_reload(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """After a reload this tab offers the upload, and that of tus does not."""
    halfway.browser.reload()
    offer = '#panel-ietf [data-part="earlier"] .row'
    halfway.browser.wait_for(offer)
    assert halfway.browser.texts('#panel-tus [data-part="earlier"] .row') == []
    halfway.browser.choose(file, within=f"{offer} input")
    assert wait_until_resumed(halfway) >= MiB
    proxy.let(None)
    halfway.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]


def test_curl_goes_on(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """The commands that the card shows finish a paused upload from a shell."""
    require_program("curl", "apt-get install curl")
    halfway.press("film.mp4", "Pause")
    halfway.wait_until("film.mp4", "paused")
    commands = halfway.browser.text(f'{halfway.card("film.mp4")} [data-part="curl"]')
    proxy.let(None)
    done = subprocess.run(["sh", "-c", commands], cwd=file.parent, capture_output=True, text=True)
    assert "200" in done.stdout.splitlines()[0], done
    assert server.digests() == [sha256(file)]


def test_refused_file(page: Page, make_file: MakeFile) -> None:
    """What the app's on_create says to a file it refuses can be read on the page."""
    page.choose(make_file("setup.exe", 1000))
    page.wait_until("setup.exe", "failed")
    assert page.note("setup.exe") == "Programs (.exe) are not welcome here; any other file is."


def test_cancel(halfway: Page, server: DemoServer) -> None:
    """Cancelling removes what the server had of the file."""
    halfway.press("film.mp4", "Cancel")
    until(lambda: not server.uploads()["unfinished"], "the upload is removed")
    assert server.digests() == []

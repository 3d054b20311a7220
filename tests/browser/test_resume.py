"""Whatever breaks on the way, an upload goes on from the last byte that the server has."""

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
def file(make_file: MakeFile) -> Path:
    """A file that takes a while, as long as the proxy holds it back."""
    return make_file("film.mp4", SIZE)


@pytest.fixture
def page(browser: Browser, proxy: Proxy) -> Page:
    """The page, with a clock that can be moved."""
    browser.take_clock()
    browser.goto(proxy.url)
    return Page(browser)


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


def test_pause(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """A paused upload goes on where it stopped, although the server still waits on the old connection."""
    halfway.press("film.mp4", "Pause")
    halfway.wait_until("film.mp4", "paused")
    halfway.press("film.mp4", "Resume")
    assert wait_until_resumed(halfway) >= MiB
    proxy.let(None)
    halfway.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]


def test_connection_reset(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """An upload whose connection breaks goes on by itself."""
    proxy.cut()
    proxy.let(64 * 1024)  # Chromium first repeats the broken request by itself, at an offset that is no longer right
    assert wait_until_resumed(halfway) >= MiB
    proxy.let(None)
    halfway.wait_until("film.mp4", "done")
    assert halfway.note("film.mp4") == "Arrived intact; resumed once."
    assert server.digests() == [sha256(file)]


def test_server_killed(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """When the server is killed and comes back, the upload goes on by itself, and nothing of what was saved is lost."""
    saved = server.offset()
    server.kill()
    halfway.wait_until("film.mp4", "retrying")
    halfway.browser.wait_for('#banner:text-matches("^Connection lost")')
    server.start()
    assert wait_until_resumed(halfway) >= saved
    proxy.let(None)
    halfway.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]
    assert server.uploads()["unfinished"] == []


def test_server_killed_in_parallel(page: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """An upload in parallel parts survives a killed server, too."""
    proxy.let(4 * MiB)
    page.send_in_parts(3)
    page.choose(file)
    until(lambda: server.offset() >= 2 * MiB, "the server has saved a part of the file")
    server.kill()
    page.wait_until("film.mp4", "retrying")
    server.start()
    until(lambda: wait_until_resumed(page) > 0, "the parts tell one by one where they go on")
    proxy.let(None)
    page.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]


def test_offline(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """A browser that was without a network for a while goes on by itself."""
    halfway.browser.go_offline()
    proxy.cut()
    halfway.wait_until("film.mp4", "retrying")
    halfway.browser.go_offline(False)
    assert wait_until_resumed(halfway) >= MiB
    proxy.let(None)
    halfway.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]


def test_silent_connection(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """A connection that has died without a sign is given up in a while, and a new one goes on."""
    proxy.freeze()
    proxy.let(None)
    halfway.browser.forward(30)
    halfway.wait_until("film.mp4", "done")
    # Twice, if what the dead connection had sent came after the page had asked how far the upload is.
    assert halfway.note("film.mp4") in ("Arrived intact; resumed once.", "Arrived intact; resumed 2 times.")
    assert server.digests() == [sha256(file)]


def test_reload(halfway: Page, proxy: Proxy, server: DemoServer, file: Path, make_file: MakeFile) -> None:
    """After a reload the page offers the upload, takes only the same file for it, and goes on where it was."""
    halfway.browser.reload()
    offer = '[data-part="earlier"] .row'
    halfway.browser.wait_for(offer)
    halfway.browser.choose(make_file("other.mp4", SIZE), within=f"{offer} input")
    halfway.browser.wait_for(f'{offer} :text-matches("^That is another file")')

    halfway.browser.choose(file, within=f"{offer} input")
    assert wait_until_resumed(halfway) >= MiB
    proxy.let(None)
    halfway.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]
    halfway.browser.wait_for(offer, "detached")


def test_forget(halfway: Page, proxy: Proxy, server: DemoServer) -> None:
    """What an earlier visit left can be thrown away, here and on the server."""
    halfway.browser.reload()
    halfway.browser.click('[data-part="earlier"] button:text-is("Forget")')
    until(lambda: not server.uploads()["unfinished"], "the upload is removed")
    halfway.browser.reload()
    halfway.browser.wait_for('[data-part="no-unfinished"]')
    assert halfway.browser.texts('[data-part="earlier"] .row') == []


def test_curl_goes_on(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """The commands that the card shows finish a paused upload from a shell, and the page finds it finished."""
    require_program("curl", "apt-get install curl")
    halfway.press("film.mp4", "Pause")
    halfway.wait_until("film.mp4", "paused")
    commands = halfway.browser.text(f'{halfway.card("film.mp4")} [data-part="curl"]')
    proxy.let(None)
    done = subprocess.run(["sh", "-c", commands], cwd=file.parent, capture_output=True, text=True)
    assert "204" in done.stdout.splitlines()[0], done
    assert server.digests() == [sha256(file)]
    halfway.press("film.mp4", "Resume")
    halfway.wait_until("film.mp4", "done")

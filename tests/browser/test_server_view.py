"""What the page shows of the server, which is also what other pages have sent."""

from __future__ import annotations

import re
import urllib.request

import pytest

from .browser import Browser
from .browser import Chromium
from .conftest import MakeFile
from .demo_server import DemoServer
from .page import Page
from .proxy import Proxy
from .waiting import PATIENCE
from .waiting import until

pytestmark = pytest.mark.browser

KiB = 1024
MiB = 1024 * KiB
NAME = "film.mp4"


def shown(browser: Browser) -> int:
    """How many bytes the server has of the upload under way, as the page says."""
    (text,) = browser.texts(f'{Page(browser).under_way()} [data-part="offset"]') or ["0 /"]
    return int("".join(re.findall(r"\d", text.partition("/")[0])))


def offset(server: DemoServer) -> int:
    """The same, as a client is told."""
    (upload,) = server.uploads()["unfinished"]
    request = urllib.request.Request(server.url + upload["url"], method="HEAD", headers={"Tus-Resumable": "1.0.0"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return int(answer.headers["Upload-Offset"])


def test_the_view_moves_with_the_bytes(page: Page, proxy: Proxy, server: DemoServer, make_file: MakeFile) -> None:
    """While a single request runs, each byte that has arrived is shown, although the database does not know it yet."""
    proxy.let(MiB)
    page.choose(make_file(NAME, 16 * MiB))
    until(lambda: shown(page.browser) >= 512 * KiB, "the first bytes are shown")
    for _ in range(10):
        before = shown(page.browser)
        proxy.let(200 * KiB)
        until(lambda before=before: shown(page.browser) == before + 200 * KiB, "the next bytes are shown")  # type: ignore[misc]
    assert shown(page.browser) == offset(server)


def test_pages_see_each_other(page: Page, chromium: Chromium, proxy: Proxy, make_file: MakeFile) -> None:
    """What one page sends, another one shows while it arrives and when it is there, without being reloaded."""
    with Browser(chromium) as other:
        other.goto(proxy.url)
        other.wait_for('[data-part="no-unfinished"]')
        proxy.let(MiB)
        page.choose(make_file(NAME, 16 * MiB))
        until(lambda: shown(other) >= 512 * KiB, "the other page shows the bytes")
        proxy.let(None)
        other.wait_for(page.finished(NAME))
        other.wait_for(page.under_way(), "detached")
        assert other.complaints() == []

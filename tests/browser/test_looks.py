"""The page on a phone, in the dark, and without a mouse."""

from __future__ import annotations

import pytest

from .browser import Browser
from .browser import Chromium
from .conftest import MakeFile
from .demo_server import DemoServer
from .page import Page
from .page import UPPY
from .proxy import Proxy
from .waiting import until

pytestmark = pytest.mark.browser

MiB = 1024 * 1024
BRIGHTNESS = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, part) => sum + +part, 0) / 3"
PROGRESS = "#panel-tus .card progress"
OVERHANG = "document.documentElement.scrollWidth - innerWidth"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("tab", ["tus", "flow", "ietf", "uppy"])
def test_no_barriers(tab: str, scheme: str, chromium: Chromium, proxy: Proxy, make_file: MakeFile) -> None:
    """axe finds nothing, whatever there is on the page: a finished, a refused and a waiting file, in every colour."""
    with Browser(chromium, colorScheme=scheme) as browser:
        page = Page(browser, tab)
        browser.goto(f"{proxy.url}#{tab}")
        page.choose(make_file("notes.txt", 1000), make_file("setup.exe", 1000))
        browser.wait_for(page.finished("notes.txt"))
        browser.wait_for(f'{UPPY} :text("Upload failed")' if tab == "uppy" else page.card("setup.exe", "failed"))
        assert browser.barriers() == []
        if tab == "uppy":
            page.clear_uppy()
        proxy.let(MiB)
        page.choose(make_file("film.mp4", 8 * MiB))
        browser.wait_for(page.under_way())
        browser.evaluate('document.querySelectorAll("details").forEach((details) => (details.open = true))')
        browser.evaluate('void (document.querySelector("#network").hidden = false)')
        assert browser.barriers() == []


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("tab", ["tus", "flow", "ietf", "uppy"])
def test_nothing_hangs_over(tab: str, width: int, chromium: Chromium, server: DemoServer) -> None:
    """The page fits a phone, a tablet and a desk, with nothing on it but what is always there."""
    with Browser(chromium, viewport={"width": width, "height": 800}) as browser:
        browser.goto(f"{server.url}#{tab}")
        browser.wait_for(UPPY if tab == "uppy" else f'#panel-{tab} [data-part="zone"]')
        browser.evaluate('void (document.querySelector("#network").hidden = false)')
        assert browser.evaluate(OVERHANG) <= 0


@pytest.mark.parametrize("tab", ["tus", "flow", "ietf"])
def test_phone(tab: str, chromium: Chromium, proxy: Proxy, make_file: MakeFile) -> None:
    """Nothing hangs over the edge of a narrow screen, long names and commands included."""
    name = "a-name-without-any-blank-that-is-much-longer-than-a-phone-is-wide-" * 2 + ".txt"
    with Browser(chromium, viewport={"width": 360, "height": 740}) as browser:
        page = Page(browser, tab)
        browser.goto(f"{proxy.url}#{tab}")
        page.choose(make_file(name, 1000))
        browser.wait_for(page.finished(name))
        browser.click(f'{page.finished(name)} button:text-is("Verify")')
        browser.wait_for(f'{page.finished(name)}[data-verified="true"]')
        proxy.let(3000)
        page.choose(make_file("2" + name, 10_000))
        browser.wait_for(page.under_way())
        browser.evaluate('document.querySelectorAll("details").forEach((details) => (details.open = true))')
        assert browser.evaluate(OVERHANG) <= 0


@pytest.mark.parametrize(("scheme", "is_bright"), [("light", True), ("dark", False)])
def test_colour_scheme(chromium: Chromium, server: DemoServer, scheme: str, is_bright: bool) -> None:
    """The page is bright or dark, as the person's system asks."""
    with Browser(chromium, colorScheme=scheme) as browser:
        browser.goto(server.url)
        assert (browser.evaluate(BRIGHTNESS) > 128) is is_bright


@pytest.mark.parametrize(("tab", "zone"), [("tus", "files"), ("flow", "flow-files")])
def test_keyboard(tab: str, zone: str, page: Page, make_file: MakeFile) -> None:
    """Every control is reached with Tab and worked with Enter, and the focus never falls off the page."""
    page = open_with_arrows(page, tab)
    page.choose(make_file("setup.exe", 1000))
    page.wait_until("setup.exe", "failed")
    stops = [focused(page)]
    while stops[-1] != "Dismiss setup.exe" and len(stops) < 10:
        stops.append(tab_stop(page))
    assert [stop for stop in stops if stop] == [f"tab-{tab}", zone, "Try again setup.exe", "Dismiss setup.exe"]
    page.browser.press("Enter")
    page.browser.wait_for(page.card("setup.exe"), "detached")
    assert page.browser.evaluate("document.activeElement.id") == zone


def open_with_arrows(page: Page, tab: str) -> Page:
    """Go to a tab as people do who have no mouse."""
    assert tab_stop(page) == "tab-tus"
    while focused(page) != f"tab-{tab}":
        page.browser.press("ArrowRight")
    return Page(page.browser, tab)


def tab_stop(page: Page) -> str:
    """Press Tab; where that leads."""
    page.browser.press("Tab")
    return focused(page)


def focused(page: Page) -> str:
    """The label or the id of what has the focus."""
    return str(page.browser.evaluate("document.activeElement.ariaLabel || document.activeElement.id"))


LISTEN = """
    window.heard = [];
    const announcer = document.querySelector("#announcer");
    new MutationObserver(() => heard.push(announcer.textContent.trim())).observe(announcer, { childList: true });
"""


def test_announcements(page: Page, proxy: Proxy, make_file: MakeFile) -> None:
    """A screen reader hears what becomes of an upload, but not each attempt; and its bar never goes back."""
    page.browser.evaluate(f"(() => {{ {LISTEN} }})()")
    page.choose(make_file("film.mp4", 16 * MiB))
    progress = f"document.querySelector('{PROGRESS}').value"
    seen = [0]
    for _ in range(3):
        proxy.let(MiB)
        page.wait_until("film.mp4", "sending")
        until(lambda: page.browser.evaluate(progress) > seen[-1], "more has arrived")
        proxy.cut()
        page.wait_until("film.mp4", "retrying")
        seen.append(page.browser.evaluate(progress))
    proxy.let(None)
    page.wait_until("film.mp4", "done")
    assert seen == sorted(seen) and seen[-1] <= 3 * MiB
    page.browser.wait_for('#announcer:text-matches("film.mp4: Complete")', "attached")
    assert page.browser.evaluate("heard") == ["film.mp4 added.", "film.mp4: Complete."]


def test_a_connection_that_keeps_breaking(page: Page) -> None:
    """The banner says so, and stays, instead of changing faster than anybody can read."""
    texts = page.browser.evaluate(
        """import("./static/banner.js").then(({ Banner }) => {
            const element = document.createElement("p");
            const banner = new Banner(element);
            const news = [() => banner.lost(), () => banner.resumed("film.mp4", "from byte 5")];
            return [...news, ...news].map((tell) => (tell(), element.textContent));
        })"""
    )
    first, second, third, fourth = texts
    assert first.startswith("Connection lost, retrying.")
    assert second == "film.mp4 continues from byte 5."
    assert third.startswith("The connection keeps breaking.")
    assert fourth == third


def test_without_npm_packages(page: Page, server: DemoServer) -> None:
    """Files in node_modules that the page does not need cannot be fetched."""
    statuses = page.browser.evaluate(
        """Promise.all(["vendor/tus.min.js", "vendor/package.json", "vendor/tus-js-client/package.json",
            "vendor/..%2fapp.py"].map((url) => fetch(url).then((answer) => answer.status)))"""
    )
    assert statuses == [200, 404, 404, 404]

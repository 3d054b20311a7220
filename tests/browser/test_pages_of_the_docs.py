"""The apps of the quickstart and the tutorial, as they are printed, in a browser, with what the pages say to try."""

from __future__ import annotations

import re
import wave
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile

import pytest

from .browser import Browser
from .conftest import MakeFile
from .conftest import StartApp
from .demo_server import DemoServer
from .demo_server import ROOT
from .demo_server import sha256
from .proxy import Proxy
from .waiting import until

pytestmark = pytest.mark.browser

MiB = 1024 * 1024
FENCED = re.compile(r"^```(?:python\n# |html\n<!-- )(\S+)(.*?)^```", re.MULTILINE | re.DOTALL)
Start = Callable[[str], DemoServer]


@pytest.fixture
def start(start_app: StartApp, tmp_path: Path) -> Start:
    """Write the files of a page, and start its app."""

    def serve(page: str) -> DemoServer:
        home = tmp_path / "app"
        (home / "static").mkdir(parents=True)
        (home / "templates").mkdir()
        copyfile(ROOT / "demo/node_modules/tus-js-client/dist/tus.min.js", home / "static" / "tus.min.js")
        files = {found[1]: found[2] for found in FENCED.finditer((ROOT / "docs" / page).read_text())}
        for name, text in files.items():
            code = text if name.endswith(".py") else text.removeprefix(" -->\n")
            (home / name).write_text(code if "def create_app" in code else f"{code}\ncreate_app = lambda: app\n")
        app = next(name for name in files if name in ("app.py", "filebox.py")).removesuffix(".py")
        return start_app(home, app)

    return serve


def progress(browser: Browser) -> float:
    """How far the page's bar is."""
    return float(browser.evaluate("document.getElementById('bar').value"))


def stored(home: Path) -> list[str]:
    """The digests of the files that are complete."""
    return [sha256(path) for path in home.glob("instance/uploads/*") if path.is_file()]


def break_off(browser: Browser, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """Choose a file, and stop the server in the middle."""
    proxy.let(3 * MiB)
    browser.choose(file, within="#file")
    until(lambda: progress(browser) > 0.1, "the bar moves")
    server.kill()
    proxy.let(None)


def test_the_quickstart_goes_on_where_it_was(
    start: Start, browser: Browser, make_file: MakeFile, tmp_path: Path
) -> None:
    """After a restart, and after the page was closed. Afterwards the same file can be uploaded again."""
    server = start("quickstart.md")
    file = make_file("film.mp4", 9 * MiB + 11)
    with Proxy(server.port) as proxy:
        browser.goto(proxy.url)
        break_off(browser, proxy, server, file)
        server.start()
        until(lambda: browser.text("#note") == "Done.", "the upload is complete")
        assert stored(tmp_path / "app") == [sha256(file)]
        browser.reload()
        break_off(browser, proxy, server, file)
        browser.goto("about:blank")
        server.start()
        browser.goto(proxy.url)
        browser.choose(file, within="#file")
        until(lambda: browser.text("#note") == "Done.", "the upload is complete")
    assert stored(tmp_path / "app") == [sha256(file)] * 2
    assert server.log.count("film.mp4 has arrived: ") == 2
    assert sum(line.startswith("POST /files/") for line in proxy.requests) == 2


def log_in(browser: Browser, url: str, name: str) -> None:
    """Fill in the form of the tutorial's app."""
    browser.goto(url)
    browser.evaluate(f"void (document.forms[0].name.value = '{name}')")
    browser.click("button")
    browser.wait_for("#file")


def test_the_tutorial_waits_and_goes_on(start: Start, browser: Browser, make_file: MakeFile, tmp_path: Path) -> None:
    """The page says that it waits, but not any more when it sends. Other users do not see the file."""
    server = start("tutorial.md")
    file = make_file("data.bin", 9 * MiB + 11)
    with Proxy(server.port) as proxy:
        log_in(browser, proxy.url, "Ada")
        break_off(browser, proxy, server, file)
        until(lambda: browser.text("#note") == "Waiting for the network", "the page says that it waits")
        proxy.let(2 * MiB)
        server.start()
        until(lambda: browser.text("#note") == "", "the page sends")
        proxy.let(None)
        browser.wait_for("li")
        assert browser.texts("li") == [f"data, {9 * MiB + 11} bytes"]
        assert sha256(browser.download("li a")) == sha256(file)
        url = browser.evaluate("document.querySelector('li a').href")
        browser.forget_cookies()
        log_in(browser, proxy.url, "Bob")
        assert browser.texts("li") == []
        assert browser.evaluate(f"fetch('{url}').then((answer) => answer.status)") == 404


def test_the_tutorials_links_play_what_browsers_can_play(start: Start, browser: Browser, tmp_path: Path) -> None:
    """A browser's player loads the file once more, and sends the session of the user who is logged in."""
    server = start("tutorial.md")
    path = tmp_path / "song.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    log_in(browser, server.url, "Ada")
    browser.choose(path, within="#file")
    browser.wait_for("li a")
    browser.click("li a")
    until(lambda: browser.evaluate("document.querySelector('video')?.readyState ?? 0") >= 2, "it can be played")

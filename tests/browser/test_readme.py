"""The page of the README and the app of the guide, as they are printed, in a browser."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile

import pytest

from .browser import Browser
from .clients import PAGES
from .conftest import MakeFile
from .conftest import StartApp
from .demo_server import DemoServer
from .demo_server import ROOT
from .demo_server import sha256
from .proxy import Proxy
from .waiting import until

pytestmark = pytest.mark.browser

MiB = 1024 * 1024
EXPIRATION = 4  # seconds
SETTINGS = """
import datetime
app.config.from_prefixed_env()
app.config["RESUMABLE_EXPIRATION"] = datetime.timedelta(seconds=%d)
create_app = lambda: app
"""


def code(page: str, mark: str) -> str:
    """The one app on a page that has the mark."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    (found,) = (block for block in blocks if mark in block and "Flask(__name__)" in block)
    return str(found)


Start = Callable[..., DemoServer]


@pytest.fixture
def start(start_app: StartApp, tmp_path: Path) -> Start:
    """Start an app in a folder of its own, with flow.js where the README says; two processes."""

    def serve(name: str, app: str, expiration: int) -> DemoServer:
        home = tmp_path / "app"
        for folder in ("static", "templates"):
            (home / folder).mkdir(parents=True)
        copyfile(PAGES["/clients/flow.min.js"], home / "static" / "flow.min.js")
        markup = re.findall(r'"""(<!doctype.*?)"""', code("docs/flow.md", "flow.min.js"), re.DOTALL)[0]
        (home / "templates" / "upload.html").write_text(markup)
        settings = SETTINGS % expiration
        (home / f"{name}.py").write_text(app.replace("app = Flask(__name__)", f"app = Flask(__name__){settings}", 1))
        return start_app(home, name, FLASK_SECRET_KEY="test")

    return serve


def chunks_sent(browser: Browser) -> int:
    """How many chunks flow.js knows to be there."""
    return int(browser.evaluate('flow.files[0]?.chunks.filter((chunk) => chunk.status() === "success").length ?? 0'))


@pytest.mark.parametrize("is_cleaned", [False, True])
def test_readme_page_that_is_open_for_long(
    is_cleaned: bool, start: Start, browser: Browser, make_file: MakeFile
) -> None:
    """It goes on past the expiry of what it has sent, whether the cleaner was there or not, and ends with a complete
    file and one on_complete; nobody is alarmed.
    """
    server = start("readme_app", code("docs/flow.md", "flow.min.js"), EXPIRATION)
    file = make_file("film.mp4", 8 * MiB + 11)
    with Proxy(server.port) as proxy:
        browser.goto(proxy.url)
        browser.evaluate("void (globalThis.alarms = [], globalThis.alert = (text) => alarms.push(text))")
        proxy.let(4 * MiB)
        browser.choose(file, within="#files")
        until(lambda: chunks_sent(browser) >= 2, "the server has some chunks")
        browser.evaluate("flow.pause()")
        proxy.cut()  # a chunk that was still on its way would prolong the upload
        time.sleep(EXPIRATION + 1)
        if is_cleaned:
            server.clean()
            assert server.parts() == []
        proxy.let(None)
        browser.evaluate("flow.resume()")
        until(lambda: server.digests(), "the file is complete")
        until(lambda: not browser.evaluate("flow.isUploading()"), "the page is done")
    assert server.digests() == [sha256(file)]
    assert (browser.evaluate("alarms"), browser.evaluate("flow.files[0].tries")) == ([], 1)
    assert server.log.count("'film.mp4' is in") == 1


def test_readme_page_gives_up_in_the_end(start: Start, browser: Browser, make_file: MakeFile) -> None:
    """A file that never gets complete is told to the person, after three more tries."""
    server = start("readme_app", code("docs/flow.md", "flow.min.js"), 86400)
    browser.goto(server.url)
    browser.evaluate("void (globalThis.alarms = [], globalThis.alert = (text) => alarms.push(text))")
    browser.choose(make_file("film.mp4", 1000), within="#files")
    until(lambda: server.digests(), "the file is complete")
    for tries in range(1, 5):
        assert browser.evaluate("alarms") == []
        browser.evaluate('void flow.fire("fileSuccess", flow.files[0], JSON.stringify({ complete: false }))')
        until(lambda tries=tries: browser.evaluate("flow.files[0].tries") == tries, "it has tried again")  # type: ignore[misc]
    assert browser.evaluate("alarms") == ["film.mp4 is not complete."]


def test_guide_app_at_the_first_visit(start: Start, browser: Browser, make_file: MakeFile) -> None:
    """A stranger comes for the first time, and the first chunks come together: one upload, which ends complete. The
    same file of another stranger is another upload.
    """
    server = start("guide_app", code("docs/flow.md", "session"), 86400)
    file = make_file("film.mp4", 3 * MiB)
    for visit in range(2):
        browser.goto(server.url)
        browser.evaluate("void (globalThis.answers = [], flow.on('fileSuccess', (file, text) => answers.push(text)))")
        browser.choose(file, within="#files")
        until(lambda: browser.evaluate("answers.length"), "the file is there")
        assert browser.evaluate("answers.map((text) => JSON.parse(text).complete)")[-1] is True
        assert server.digests() == [sha256(file)] * (visit + 1)
        assert server.parts() == []
        browser.forget_cookies()

"""The pages of the guide to logins, as they are printed, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import copyfile

import pytest

from tests.integrations.guide import apps

from .browser import Browser
from .conftest import MakeFile
from .conftest import StartApp
from .demo_server import DemoServer
from .demo_server import ROOT
from .demo_server import sha256
from .waiting import until

pytestmark = pytest.mark.browser

Start = Callable[[str], DemoServer]


@pytest.fixture
def start(start_app: StartApp, tmp_path: Path) -> Start:
    """Start an app of the guide in a folder of its own, with tus-js-client where it says."""

    def serve(shown: str) -> DemoServer:
        home = tmp_path / "app"
        (home / "static").mkdir(parents=True)
        copyfile(ROOT / "demo/node_modules/tus-js-client/dist/tus.min.js", home / "static" / "tus.min.js")
        (home / "guide_app.py").write_text(apps()[shown] + "\n\ndef create_app():\n    return app\n")
        return start_app(home, "guide_app", FLASK_SECRET_KEY="test")

    return serve


def test_page_with_a_login(start: Start, browser: Browser, make_file: MakeFile) -> None:
    """Whoever signs in uploads; when the session has ended, the page leads to the login."""
    server = start("flask_login")
    file = make_file("film.mp4", 100_000)
    browser.goto(server.url)
    browser.evaluate(
        "void (document.forms[0].elements[0].value = 'anna', document.forms[0].elements[1].value = 'apple')"
    )
    browser.click("button")
    browser.wait_for("#file")
    browser.choose(file, within="#file")
    until(lambda: browser.evaluate("said.textContent") == "Done.", "the file is uploaded")
    assert server.digests() == [sha256(file)]
    browser.forget_cookies()
    browser.choose(make_file("another.mp4", 1000), within="#file")
    browser.wait_for("button")
    assert browser.evaluate("location.pathname") == "/login"
    assert server.digests() == [sha256(file)]


def test_page_with_a_csrf_token(start: Start, browser: Browser, make_file: MakeFile) -> None:
    """The page sends the token that it has, and uploads."""
    server = start("flask_wtf")
    file = make_file("film.mp4", 100_000)
    browser.goto(server.url)
    browser.evaluate("void (globalThis.alarms = [], globalThis.alert = (text) => alarms.push(text))")
    browser.choose(file, within="#file")
    until(lambda: browser.evaluate("alarms.length"), "the file is uploaded")
    assert browser.evaluate("alarms") == ["Done."]
    assert server.digests() == [sha256(file)]

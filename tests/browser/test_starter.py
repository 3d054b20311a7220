"""The page of the app that ``flask tus init`` writes, in a browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

import pytest

from flask_resumable.starter import write_app

from .browser import Browser
from .browser import Chromium
from .conftest import MakeFile
from .demo_server import DemoServer
from .demo_server import ROOT
from .waiting import until

pytestmark = pytest.mark.browser


@pytest.fixture
def server(chromium: Chromium, tmp_path: Path) -> Iterator[DemoServer]:
    """The app, with the file that ``npm install`` copies, after ``flask create_tables``."""
    box = tmp_path / "box"
    write_app(box)
    copyfile(ROOT / "demo/node_modules/tus-js-client/dist/tus.min.js", box / "static" / "tus.min.js")
    environ = {"PYTHONPATH": f"{box}:{ROOT}"}
    subprocess.run([sys.executable, "-m", "flask", "create_tables"], cwd=box, env=environ, check=True)
    server = DemoServer(tmp_path, app="app", environ=environ)
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log


def test_somebody_registers_uploads_and_deletes(server: DemoServer, browser: Browser, make_file: MakeFile) -> None:
    """Several files at once. When the session has ended, the page says why nothing is sent."""
    browser.goto(server.url)
    assert browser.barriers() == []
    browser.evaluate("void (document.forms[0].name.value = 'Ada', document.forms[0].password.value = 'correct horse')")
    browser.click("[name=register]")
    browser.wait_for("#files")
    browser.choose(make_file("one.bin", 300_000), make_file("two.bin", 1000), within="#files")
    browser.wait_for("#uploads li:nth-child(2)")
    assert sorted(browser.texts("#uploads a")) == ["one.bin", "two.bin"]
    assert browser.download("#uploads a").stat().st_size in (300_000, 1000)
    assert browser.barriers() == []
    browser.click("[aria-label='Delete two.bin']")
    until(lambda: browser.texts("#uploads a") == ["one.bin"], "the file is gone")
    browser.forget_cookies()
    browser.choose(make_file("three.bin", 1000), within="#files")
    browser.wait_for("#sending [role=alert]")
    assert "Log in first." in browser.text("#sending")

"""The upload fields in docs/browsers.md send files with tus-js-client, as the page says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.prerequisites import require_npm_packages

from .browser import Browser
from .browser import Chromium
from .conftest import MakeFile
from .demo_server import DemoServer
from .waiting import until
from .widget_pages import PACKAGES

pytestmark = pytest.mark.browser


@pytest.fixture
def server(chromium: Chromium, tmp_path: Path) -> Iterator[DemoServer]:
    """The app with the pages."""
    require_npm_packages(PACKAGES)
    server = DemoServer(tmp_path, app="tests.browser.widget_pages")
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log


def sent(server: DemoServer) -> str:
    """The id of the one file that has arrived."""
    until(lambda: "film.bin: 300000 bytes of application/octet-stream, " in server.log, "the file is there")
    return server.log.partition("octet-stream, ")[2].split()[0]


def test_filepond(server: DemoServer, browser: Browser, make_file: MakeFile) -> None:
    """The form has the id of the upload. A file that is taken back is removed from the server, too."""
    browser.goto(f"{server.url}/FilePond")
    browser.choose(make_file("film.bin", 300_000), within="input[type=file]")
    upload_id = sent(server)
    until(
        lambda: browser.evaluate("document.querySelector('form [name=filepond]')?.value") == upload_id, "it has the id"
    )
    browser.evaluate("void pond.removeFile(pond.getFile().id, { revert: true })")
    until(lambda: f"deleted {upload_id}" in server.log, "the file is removed")


def test_dropzone(server: DemoServer, browser: Browser, make_file: MakeFile) -> None:
    """The field shows success. A file that is taken out of it is removed from the server, too."""
    browser.goto(f"{server.url}/Dropzone")
    browser.choose(make_file("film.bin", 300_000), within="input.dz-hidden-input")
    upload_id = sent(server)
    until(lambda: browser.evaluate("zone.files[0].status") == "success", "the field shows success")
    browser.evaluate("void zone.removeFile(zone.files[0])")
    until(lambda: f"deleted {upload_id}" in server.log, "the file is removed")


def test_uppy(server: DemoServer, browser: Browser, make_file: MakeFile) -> None:
    """Its whole page, as it is printed."""
    browser.goto(f"{server.url}/Uppy")
    browser.wait_for(".uppy-Dashboard-inner")
    browser.choose(make_file("film.bin", 300_000), within="input.uppy-Dashboard-input[multiple]")
    browser.click(".uppy-StatusBar-actionBtn--upload")
    sent(server)

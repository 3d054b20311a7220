"""The tab of flow.js: chunks that go side by side, in any order, and never twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .browser import Browser
from .conftest import MakeFile
from .demo_server import DemoServer
from .demo_server import sha256
from .page import Page
from .proxy import Proxy
from .waiting import until

pytestmark = pytest.mark.browser

KiB = 1024
MiB = 1024 * KiB
CHUNKS = 32
SIZE = CHUNKS * 256 * KiB + 11  # the last chunk takes what is left


@pytest.fixture
def page(browser: Browser, proxy: Proxy) -> Page:
    """The page with flow.js chosen."""
    browser.goto(f"{proxy.url}#flow")
    return Page(browser, "flow")


@pytest.fixture
def file(make_file: MakeFile) -> Path:
    """A file of many chunks."""
    return make_file("film.mp4", SIZE)


@pytest.fixture
def halfway(page: Page, proxy: Proxy, server: DemoServer, file: Path) -> Page:
    """The page in the middle of sending the file: the server has some of it, and waits for the rest."""
    proxy.let(3 * MiB)
    page.send_in_pieces(256 * KiB)
    page.choose(file)
    until(lambda: server.received() >= MiB, "the server has some chunks")
    return page


def resumed(page: Page) -> int:
    """Wait until the upload goes on; how many chunks were there, as the card says."""
    page.browser.wait_for(f'{page.card("film.mp4", "sending")} [data-part="note"]:text-matches("^Resumed after")')
    words = page.note("film.mp4").split()
    assert words[3:] == ["of", str(CHUNKS), "chunks."]
    return int(words[2])


@pytest.mark.parametrize("method", ["multipart", "octet"])
def test_file_arrives_whole(method: str, page: Page, proxy: Proxy, server: DemoServer, make_file: MakeFile) -> None:
    """A file lies on the server byte for byte, after one question and one request for each chunk."""
    file = make_file("photo.jpg", 10 * 64 * KiB + 7)
    page.send_in_pieces(64 * KiB)
    page.send_as(method)
    page.choose(file)
    page.wait_until("photo.jpg", "done")
    assert server.digests() == [sha256(file)]
    assert proxy.count("GET /flow/status?") == proxy.count("GET /flow/status?protocol=flow.js&") == 1
    assert proxy.count("GET /flow/?") == 0
    assert proxy.count("POST /flow/") == 10
    assert proxy.count("POST /flow/?protocol=flow.js&flowChunkNumber=") == (10 if method == "octet" else 0)
    page.browser.wait_for(page.finished("photo.jpg"))


def test_many_files(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """All kinds of files arrive at once: without bytes, with names that differ in no ASCII letter or look like HTML."""
    names = ("日本.txt", "中国.txt", "<img src=x onerror=alert(1)> & 'ü'.txt", "empty.txt")
    files = [make_file(name, 0 if name == "empty.txt" else 200_000) for name in names]
    page.send_in_pieces(64 * KiB)
    page.choose(*files)
    for name in names:
        page.wait_until(name, "done")
        page.browser.wait_for(page.finished(name))
    assert server.digests() == sorted(sha256(file) for file in files)


def test_folder(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """A folder that is dropped arrives with what is in it, each file under its path."""
    folder = make_file("cover.jpg", 1000).parent
    (folder / "sub").mkdir()
    os.replace(make_file("tune.ogg", 2000), folder / "sub" / "tune.ogg")
    page.browser.drop(folder, onto='#panel-flow [data-part="zone"]')
    for path in ("local/cover.jpg", "local/sub/tune.ogg"):
        page.wait_until(path, "done")
        page.browser.wait_for(page.finished(path))
    assert len(server.digests()) == 2


def test_pause(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """A paused upload sends nothing, and goes on with the chunks that are missing."""
    halfway.press("film.mp4", "Pause")
    halfway.wait_until("film.mp4", "paused")
    halfway.press("film.mp4", "Resume")
    proxy.let(64 * KiB)
    assert resumed(halfway) >= 4
    proxy.let(None)
    halfway.wait_until("film.mp4", "done")
    assert halfway.note("film.mp4") == "Arrived intact; resumed once."
    assert server.digests() == [sha256(file)]


def test_reload(halfway: Page, proxy: Proxy, server: DemoServer, file: Path, make_file: MakeFile) -> None:
    """After a reload the page offers the upload, takes only the same file for it, and sends only what is missing."""
    halfway.browser.reload()
    offer = halfway.earlier()
    halfway.browser.wait_for(offer)
    halfway.browser.choose(make_file("other.mp4", SIZE), within=f"{offer} input")
    halfway.browser.wait_for(f'{offer} :text-matches("^That is another file")')

    proxy.requests.clear()
    proxy.let(64 * KiB)
    halfway.browser.choose(file, within=f"{offer} input")  # in chunks of the old size, whatever is chosen now
    there = resumed(halfway)
    proxy.let(None)
    halfway.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]
    assert there >= 4
    assert proxy.count("POST /flow/") == CHUNKS - there
    assert proxy.count("GET /flow/?") == 0
    halfway.browser.wait_for(offer, "detached")


def test_status_cannot_be_read(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """Where the one question fails, each chunk is asked for, and only what is missing is sent."""
    halfway.browser.reload()
    halfway.browser.evaluate(
        'void (globalThis.fetch = ((fetch) => (url, ...rest) => `${url}`.includes("/flow/status?")'
        " ? Promise.reject(new TypeError()) : fetch(url, ...rest))(fetch))"
    )
    proxy.requests.clear()
    proxy.let(None)
    halfway.choose(file)
    halfway.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]
    assert proxy.count("GET /flow/?") == CHUNKS
    assert proxy.count("POST /flow/") <= CHUNKS - 4


def test_server_killed(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """When the server is killed and comes back, the upload goes on by itself, and no saved chunk is sent again."""
    saved = server.received()
    server.kill()
    halfway.wait_until("film.mp4", "retrying")
    server.start()
    proxy.let(64 * KiB)
    assert resumed(halfway) * 256 * KiB >= saved
    proxy.let(None)
    halfway.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]
    assert server.uploads()["unfinished"] == []


def test_connection_reset(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """An upload whose connections break goes on by itself."""
    proxy.cut()
    proxy.let(None)
    halfway.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]


def test_cancel(halfway: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """Cancelling removes what the server had; what comes late is refused, but the same file is welcome."""
    assert len(server.parts()) == 1
    record = json.loads(
        halfway.browser.evaluate("localStorage[Object.keys(localStorage).find((key) => /^flow/.test(key))]")
    )
    halfway.press("film.mp4", "Cancel")
    halfway.browser.wait_for(halfway.card("film.mp4"), "detached")
    until(lambda: not server.uploads()["unfinished"], "the upload is removed")
    until(lambda: not server.parts(), "its bytes are removed")

    proxy.let(None)
    late = f'fetch("/flow/?{record["query"]}", {{ method: "POST", body: new Uint8Array({256 * KiB}) }})'
    assert halfway.browser.evaluate(f"{late}.then((answer) => answer.status)") == 404
    assert (server.uploads()["unfinished"], server.parts()) == ([], [])

    halfway.choose(file)
    halfway.wait_until("film.mp4", "done")
    assert server.digests() == [sha256(file)]


def test_had_already(page: Page, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """A file that the server got a moment ago is not sent again."""
    page.choose(file)
    page.wait_until("film.mp4", "done")
    page.press("film.mp4", "Dismiss")
    proxy.requests.clear()
    page.choose(file)
    page.wait_until("film.mp4", "done")
    assert page.note("film.mp4") == "The server already had this file. Nothing was sent."
    assert proxy.count("POST /flow/") == 0
    assert len(server.digests()) == 1


def test_refused_files(browser: Browser, tmp_path: Path, make_file: MakeFile) -> None:
    """What the app's hook and the server's limits say can be read on the page, and the other file goes its way."""
    server = DemoServer(tmp_path, MAX_SIZE=5000)
    server.start()
    try:
        browser.goto(f"{server.url}#flow")
        page = Page(browser, "flow")
        page.choose(make_file("setup.exe", 1000), make_file("large.iso", 5001), make_file("notes.txt", 5000))
        page.wait_until("setup.exe", "failed")
        page.wait_until("large.iso", "failed")
        page.wait_until("notes.txt", "done")
        assert page.note("setup.exe") == "Programs (.exe) are not welcome here; any other file is."
        assert page.note("large.iso") == "Files may have at most 5000 bytes."
        assert len(server.digests()) == 1
        assert "Traceback" not in server.log
    finally:
        server.kill()


def test_chunks_beyond_a_gap(page: Page) -> None:
    """The server's side counts chunks that came out of order, and says what sends them, if that says it."""
    page.browser.evaluate(
        """fetch("/flow/?flowChunkNumber=3&flowChunkSize=1000&flowTotalSize=4000&flowTotalChunks=4&flowIdentifier=x"
            + "&flowFilename=gap.bin&flowRelativePath=gap.bin&protocol=flow.js",
            { method: "POST", body: new Uint8Array(1000) })
            .then(() => null)"""
    )
    row = f'{page.under_way()}:has([data-part="name"]:text-is("gap.bin"))'
    page.browser.wait_for(f'{row} [data-part="offset"]:text-is("1,000 / 4,000 bytes")')
    assert page.browser.text(f'{row} [data-part="kind"]') == "flow.js"

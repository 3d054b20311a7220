"""What the page of ``make demo`` can do to its own server: kill workers, and make the network bad."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from .browser import Browser
from .browser import Chromium
from .conftest import MakeFile
from .demo_server import DemoServer
from .demo_server import sha256
from .page import Page
from .waiting import PATIENCE
from .waiting import until

pytestmark = pytest.mark.browser

KiB = 1024
MiB = 1024 * KiB
NAME = "film.mp4"
GOOD = {"slow": False, "cuts": False}
TUS = {"Tus-Resumable": "1.0.0"}
CONTENT = TUS | {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def lasting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """The demo, as ``make demo`` starts it."""
    server = DemoServer(tmp_path_factory.mktemp("demo"), "make")
    yield server
    server.kill()


@pytest.fixture
def server(server: DemoServer) -> Iterator[DemoServer]:
    """The demo, with a good network."""
    yield server
    ask(server, "PUT", "/api/network", GOOD)


@pytest.fixture
def page(browser: Browser, server: DemoServer) -> Page:
    """The demo's page."""
    browser.goto(server.url)
    return Page(browser)


def ask(server: DemoServer, method: str, path: str, body: Any = None, **headers: str) -> int:
    """Ask as the page does, or with other headers; the status."""
    known = {"Origin": server.url, "Content-Type": "application/json"} | headers
    data = None if body is None else json.dumps(body).encode()
    return int(send(server, method, path, data, known).status)


def send(server: DemoServer, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Any:
    """Send a request; the response, whatever its status."""
    request = urllib.request.Request(server.url + path, method=method, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer
    except HTTPError as error:
        error.close()
        return error


def switch(page: Page, name: str) -> None:
    """Turn a switch, and wait until the server knows."""
    page.browser.wait_for("#network")
    page.browser.click(f'#network [data-part="{name}"]')


def kill_receiver(page: Page) -> None:
    """Press the button that kills the worker that receives the upload."""
    page.browser.click('[data-part="kill"]')
    page.browser.wait_for(f'{page.under_way()} [data-part="workers"]:text-matches("^Worker .* was killed.")')


@pytest.mark.parametrize("tab", ["tus", "flow"])
def test_a_killed_worker(tab: str, browser: Browser, server: DemoServer, make_file: MakeFile) -> None:
    """Whoever receives an upload can be killed from the page; the upload goes on by itself, and nothing that the server
    had is sent again.
    """
    file = make_file(NAME, 12 * MiB + 5)
    browser.goto(f"{server.url}#{tab}")
    page = Page(browser, tab)
    switch(page, "slow")
    page.choose(file)
    kill_receiver(page)
    switch(page, "slow")
    page.wait_until(NAME, "done")
    assert server.digests() == [sha256(file)]
    if tab == "tus":  # chunks that broke off may have been repeated by the browser itself
        assert page.note(NAME).startswith("Arrived intact; resumed")
        browser.wait_for(f'{page.card(NAME)} [data-part="cost"]:text-matches("^Sent twice: ")')


def test_bytes_that_are_sent_twice_are_counted(server: DemoServer) -> None:
    """The page is told how much content the network carried: exactly the file, if the client asks where to continue."""
    location = send(server, "POST", "/files/", b"", TUS | {"Upload-Length": "3000"}).headers["Location"]
    upload_id = location.rpartition("/")[2]

    def patch(offset: int, content: bytes) -> int:
        headers = CONTENT | {"Upload-Offset": str(offset)}
        return int(send(server, "PATCH", f"/files/{upload_id}", content, headers).status)

    assert patch(0, bytes(1000)) == 204
    passed(server, upload_id, 1000)
    assert patch(0, bytes(1000)) == 409  # in vain
    passed(server, upload_id, 2000)
    assert patch(1000, bytes(2000)) == 204
    passed(server, upload_id, 4000)


def passed(server: DemoServer, upload_id: str, size: int) -> None:
    """Wait until so much is counted."""
    until(lambda: server.uploads()["passed"].get(upload_id) == size, f"{size} bytes are counted")


@pytest.mark.parametrize("tab", ["tus", "flow"])
def test_a_bad_network(tab: str, browser: Browser, server: DemoServer, make_file: MakeFile) -> None:
    """Files arrive although every connection is cut each second."""
    file = make_file(NAME, 4 * MiB + 5)
    browser.goto(f"{server.url}#{tab}")
    page = Page(browser, tab)
    for name in ("slow", "cuts"):
        switch(page, name)
    until(lambda: server_network(server) == {"slow": True, "cuts": True}, "the network is bad")
    page.choose(file)
    page.wait_until(NAME, "done")
    assert server.digests() == [sha256(file)]
    if tab == "tus":
        assert page.note(NAME).startswith("Arrived intact; resumed")


def server_network(server: DemoServer) -> Any:
    """What the pages are told; the question may be cut."""
    try:
        return server.uploads()["network"]
    except OSError:
        return None


def test_pages_share_the_network(page: Page, chromium: Chromium, server: DemoServer) -> None:
    """A switch that is turned on one page is turned on all others."""
    with Browser(chromium) as other:
        other.goto(server.url)
        other.wait_for("#network")
        switch(page, "slow")
        other.wait_for('#network [data-part="slow"]:checked')
        assert other.complaints() == []


def test_only_the_page_may(server: DemoServer) -> None:
    """Other sites' pages cannot do this, by whatever name they call this machine; only workers can be killed."""
    worker = server.uploads()["worker"]
    evil = "http://evil.example"
    port = f":{server.port}"
    for headers in ({"Origin": evil}, {"Origin": "null"}, {"Host": f"evil.example{port}", "Origin": evil + port}):
        assert ask(server, "POST", f"/api/workers/{worker}/kill", **headers) == 403
        assert ask(server, "PUT", "/api/network", {"cuts": True}, **headers) == 403
    assert send(server, "POST", f"/api/workers/{worker}/kill", b"", {}).status == 403
    assert ask(server, "POST", "/api/workers/1/kill") == 404
    wrongs: tuple[Any, ...] = ([], {"slow": 1}, {"fast": True}, "slow")
    for wrong in wrongs:
        assert ask(server, "PUT", "/api/network", wrong) == 400
    assert ask(server, "GET", f"/api/workers/{worker}/kill") == 405


def test_only_make_demo_can(tmp_path: Path) -> None:
    """An app that is started otherwise has no such addresses, and its page no such switches."""
    server = DemoServer(tmp_path, "gunicorn")
    server.start()
    try:
        uploads = server.uploads()
        assert uploads["network"] is None
        assert ask(server, "PUT", "/api/network", GOOD) == 404
        assert ask(server, "POST", f"/api/workers/{uploads['worker']}/kill") == 404
    finally:
        server.kill()

"""flow.js and its kin as they are used elsewhere, on the app's own pages and on those of another origin."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .browser import Browser
from .browser import Chromium
from .clients import Client
from .clients import elsewhere
from .clients import PAGES
from .conftest import MakeFile
from .demo_server import DemoServer
from .demo_server import sha256
from .proxy import Proxy
from .waiting import until

pytestmark = pytest.mark.browser

KiB = 1024
CHUNK = 64 * KiB
CHUNKS = 40
SIZE = CHUNKS * CHUNK + 11  # the last chunk takes what is left


@pytest.fixture(scope="module")
def other_origin() -> Iterator[str]:
    """An origin whose pages may upload."""
    with elsewhere(PAGES) as url:
        yield url


@pytest.fixture(scope="module")
def server(other_origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """One server for all these tests; it may not fail at anything."""
    server = DemoServer(tmp_path_factory.mktemp("server"), app="tests.browser.clients", CORS_ORIGINS=[other_origin])
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log


@pytest.fixture
def browser(chromium: Chromium) -> Iterator[Browser]:
    """A browser that may complain of what the server refuses to other origins."""
    with Browser(chromium) as browser:
        yield browser


@pytest.fixture(params=["flow", "resumable"])
def library(request: pytest.FixtureRequest) -> str:
    """Each library."""
    return str(request.param)


@pytest.fixture(params=["same", "other"])
def origin(request: pytest.FixtureRequest, proxy: Proxy, other_origin: str) -> str:
    """Where the page comes from."""
    return proxy.url if request.param == "same" else other_origin


@pytest.fixture
def client(library: str, origin: str, proxy: Proxy, browser: Browser) -> Client:
    """A page that uploads through the proxy."""
    return Client(browser, library, origin, f"{proxy.url}/flow/")


@pytest.fixture
def file(make_file: MakeFile, tmp_path: Path) -> Path:
    """A file of many chunks. Each test has its own name for it: the server remembers what it got a moment ago."""
    return make_file(f"{tmp_path.name}.mp4", SIZE)


@pytest.fixture
def halfway(client: Client, proxy: Proxy, server: DemoServer, file: Path) -> Client:
    """In the middle of sending the file: the server has some of it, and waits for the rest."""
    proxy.let(SIZE // 3)
    client.begin(chunkSize=CHUNK, chunkRetryInterval=200, maxChunkRetries=300)
    client.send(file)
    until(lambda: server.received() >= SIZE // 6, "the server has some chunks")
    return client


same_origin = pytest.mark.parametrize("origin", ["same"], indirect=True)


@pytest.mark.parametrize("method", ["multipart", "octet"])
@pytest.mark.parametrize("is_forced", [False, True])
def test_several_files(
    method: str, is_forced: bool, client: Client, server: DemoServer, make_file: MakeFile, tmp_path: Path
) -> None:
    """Files that go at once arrive whole, whatever they are called; the last answer for each tells its id."""
    sizes = {f"日本 {tmp_path.name}": 150_000, f"中国 {tmp_path.name}": 150_001, f"big {tmp_path.name}": 400_000}
    files = [make_file(name, size) for name, size in sizes.items()]
    client.begin(chunkSize=CHUNK, method=method, forceChunkSize=is_forced)
    client.send(*files)
    story = client.wait()
    assert story["failed"] == {}
    assert set(story["succeeded"]) == {file.name for file in files}
    finished = {row["id"]: row["name"] for row in server.uploads()["finished"]}
    assert all(finished[answer["id"]] == name for name, answer in story["succeeded"].items())
    chunks = 3 + 3 + 7 if is_forced else 2 + 2 + 6
    assert (client.count("GET"), client.count("POST")) == (chunks, chunks)
    assert {sha256(file) for file in files} <= set(server.digests())


@same_origin
def test_empty_file(client: Client, server: DemoServer, make_file: MakeFile) -> None:
    """A file of no bytes is a file, if the library takes it."""
    before = len(server.digests())
    client.begin(minFileSize=0)
    client.send(make_file(f"{client.library}.txt", 0))
    assert client.wait()["succeeded"][f"{client.library}.txt"]["complete"] is True
    assert len(server.digests()) == before + 1


@same_origin
def test_folder(client: Client, server: DemoServer, make_file: MakeFile) -> None:
    """A folder arrives with what is in it, and two files of one name in different folders are two."""
    name = f"{client.library}.txt"
    folder = make_file(name, 1000).parent
    (folder / "sub").mkdir()
    os.replace(make_file("other.txt", 1000), folder / "sub" / name)
    client.begin()
    client.send_folder(folder)
    assert set(client.wait()["succeeded"]) == {f"local/{name}", f"local/sub/{name}"}
    assert {sha256(folder / name), sha256(folder / "sub" / name)} <= set(server.digests())
    assert {f"local/{name}", f"local/sub/{name}"} <= {row["name"] for row in server.uploads()["finished"]}


@same_origin
def test_pause(halfway: Client, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """A paused upload goes on with the chunks that were on their way."""
    halfway.browser.evaluate("client.pause()")
    proxy.let(None)
    halfway.browser.evaluate("void (client instanceof Flow ? client.resume() : client.upload())")
    halfway.wait()
    assert halfway.count("POST") == CHUNKS
    assert sha256(file) in server.digests()


@pytest.mark.parametrize("asks_status", [False, True])
def test_reload(asks_status: bool, halfway: Client, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """After a reload only what is missing is sent; with the status resource nothing is asked chunk by chunk."""
    halfway.browser.reload()
    there = server.received() // CHUNK
    proxy.let(None)
    halfway.begin(chunkSize=CHUNK, asksStatus=asks_status)
    halfway.send(file)
    halfway.wait()
    assert sha256(file) in server.digests()
    assert halfway.count("GET") == (0 if asks_status else CHUNKS)
    assert halfway.count("POST") <= CHUNKS - there


def test_cancel(halfway: Client, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """Cancelling removes what the server had, and a chunk that comes late does not bring it back."""
    params = halfway.browser.evaluate("new URLSearchParams(describe(client.files[0])).toString()")
    assert halfway.browser.evaluate(f"cancel('{halfway.target}')") == 204
    until(lambda: not server.parts(), "the bytes are removed")
    proxy.let(None)
    late = f"fetch('{halfway.target}?{params}', {{ method: 'POST', body: new Uint8Array({CHUNK}) }})"
    assert halfway.browser.evaluate(f"{late}.then((answer) => answer.status)") == 404
    assert (server.uploads()["unfinished"], server.parts()) == ([], [])
    assert sha256(file) not in server.digests()


@same_origin
def test_server_killed(halfway: Client, proxy: Proxy, server: DemoServer, file: Path) -> None:
    """When the server is killed and comes back, the library's retries finish the file, and no saved chunk is lost."""
    saved = server.received()
    server.kill()
    server.start()
    assert server.received() >= saved
    proxy.let(None)
    assert halfway.wait()["failed"] == {}
    assert sha256(file) in server.digests()


def test_stranger(library: str, proxy: Proxy, browser: Browser, server: DemoServer, file: Path) -> None:
    """A page of an origin that may not upload learns nothing and leaves nothing."""
    with elsewhere(PAGES) as stranger:
        client = Client(browser, library, stranger, f"{proxy.url}/flow/")
        client.begin(maxChunkRetries=0)
        client.send(file)
        story = client.wait()
    assert story["failed"] == {file.name: ""}
    assert {request["status"] for request in story["requests"]} == {0}
    assert server.uploads()["unfinished"] == []


@pytest.mark.parametrize("library", ["flow", "resumable", "simple-uploader"])
@pytest.mark.parametrize("is_cleaned", [False, True])
def test_page_that_is_open_for_long(
    library: str, is_cleaned: bool, browser: Browser, tmp_path: Path, make_file: MakeFile
) -> None:
    """A page goes on when the chunks that it has sent have expired, removed by now or not: told that the file is not
    complete, it begins again, as the guide says, and sends what is missing.
    """
    server = DemoServer(tmp_path, app="tests.browser.clients", environ={"CLIENTS_EXPIRATION": "4"})
    server.start()
    try:
        file = make_file("film.mp4", SIZE)
        with Proxy(server.port) as proxy:
            client = Client(browser, library, proxy.url, f"{proxy.url}/flow/")
            proxy.let(SIZE // 3)
            client.begin(chunkSize=CHUNK, chunkRetryInterval=200, maxChunkRetries=300)
            client.send(file)
            until(lambda: server.received() >= SIZE // 6, "the server has some chunks")
            browser.evaluate("client.pause()")
            proxy.cut()  # a chunk that was still on its way would prolong the upload
            time.sleep(5)  # until it has expired
            if is_cleaned:
                server.clean()
                assert server.parts() == []
            proxy.let(None)
            browser.evaluate("void (client instanceof Resumable ? client.upload() : client.resume())")
            until(lambda: client.story()["succeeded"].get(file.name, {}).get("complete"), "the file is complete")
            story = client.story()
        assert (story["failed"], story["retries"]) == ({}, 1)
        assert server.digests() == [sha256(file)]
        assert server.log.count("is complete") == 1
        assert "Traceback" not in server.log
    finally:
        server.kill()

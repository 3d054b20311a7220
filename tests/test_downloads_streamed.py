"""GET of finished uploads that are no file on this machine: through the app, or by a link to where they are."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from werkzeug.serving import make_server

from flask_resumable import FlaskResumable
from flask_resumable.downloads.stream import BLOCK
from flask_resumable.interfaces import Storage
from flask_resumable.storage.local import LocalStorage
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import refused
from tests.conformance.tus_client import Tus
from tests.memory_storage import LinkedStorage
from tests.memory_storage import MemoryStorage
from tests.ports import free_port

CONTENT = bytes(range(256)) * 4
RANGES = {"0-0": (0, 1), "10-19": (10, 20), "1000-": (1000, 1024), "-24": (1000, 1024), "0-99999": (0, 1024)}


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def tus(app: Flask, storage: MemoryStorage) -> Tus:
    """A client of an app that streams."""
    return _serve(app, storage, True)


def _serve(app: Flask, storage: Any, downloads: bool | str) -> Tus:
    app.config.update(FLOW_ENABLED=False, RESUMABLE_DOWNLOADS=downloads, TESTING=False)
    FlaskResumable(app, storage=storage)
    return Tus(app.test_client())


def _named(filename: str = "file.bin", filetype: str = "application/octet-stream") -> dict[str, str | None]:
    return {"Upload-Metadata": metadata(filename=filename, filetype=filetype)}


def test_the_whole_file_is_streamed(tus: Tus, storage: MemoryStorage) -> None:
    """All bytes, with their number, as an attachment in a sandbox; the stream is closed."""
    response = tus.get(tus.upload(CONTENT, _named("grüße.bin")))
    assert (response.status_code, response.data) == (200, CONTENT)
    assert response.headers["Content-Length"] == "1024"
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert f"filename*=UTF-8''{quote('grüße.bin')}" in response.headers["Content-Disposition"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert [stream.closed for stream in storage.opened] == [True]


@pytest.mark.parametrize(("asked", "expected"), RANGES.items())
def test_a_range_is_streamed_and_no_more_is_read(
    tus: Tus, storage: MemoryStorage, asked: str, expected: tuple[int, int]
) -> None:
    """206 with those bytes; what is not asked for is not even fetched from the storage."""
    start, stop = expected
    response = tus.get(tus.upload(CONTENT), {"Range": f"bytes={asked}"})
    assert (response.status_code, response.data) == (206, CONTENT[start:stop])
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/1024"
    assert response.headers["Content-Length"] == str(stop - start)
    (stream,) = storage.opened
    assert stream.reads == [(start, stop - start)] and stream.closed


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000"])
def test_a_range_beyond_the_end_is_refused(tus: Tus, storage: MemoryStorage, asked: str) -> None:
    """416 with the length, and nothing is opened."""
    response = tus.get(tus.upload(CONTENT), {"Range": asked})
    refused(response, 416)
    assert response.headers["Content-Range"] == "bytes */1024"
    assert storage.opened == []


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=b-a", "bytes=5-1", "nonsense"])
def test_other_ranges_are_ignored(tus: Tus, asked: str) -> None:
    """Several ranges, other units and nonsense get the whole file, as HTTP allows."""
    response = tus.get(tus.upload(CONTENT), {"Range": asked})
    assert (response.status_code, response.data) == (200, CONTENT)


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-5"}], ids=["whole", "range"])
def test_an_empty_file_is_streamed(tus: Tus, headers: dict[str, str | None]) -> None:
    """No bytes are a file, too."""
    response = tus.get(tus.upload(b""), headers)
    assert (response.status_code, response.data, response.headers["Content-Length"]) == (200, b"", "0")


def test_what_the_client_has_is_not_sent_again(tus: Tus, storage: MemoryStorage) -> None:
    """304 for the file's own ETag and date, 412 for another's; neither opens the storage."""
    url = tus.upload(CONTENT)
    first = tus.get(url).headers
    for headers, status in (
        ({"If-None-Match": first["ETag"]}, 304),
        ({"If-None-Match": first["ETag"], "Range": "bytes=0-5"}, 304),
        ({"If-Modified-Since": first["Last-Modified"]}, 304),
        ({"If-Match": '"another"'}, 412),
        ({"If-None-Match": '"another"'}, 200),
    ):
        response = tus.get(url, headers)
        assert (response.status_code, response.data) == (status, CONTENT if status == 200 else b""), headers
    assert len(storage.opened) == 2


def test_only_the_same_file_is_continued(tus: Tus) -> None:
    """If-Range with the ETag or the date continues; with another, the whole file comes."""
    url = tus.upload(CONTENT)
    first = tus.get(url).headers
    for condition, status in (
        (first["ETag"], 206),
        (first["Last-Modified"], 206),
        ('"another"', 200),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
    ):
        response = tus.get(url, {"Range": "bytes=1000-", "If-Range": condition})
        assert response.status_code == status, condition
        assert response.data == CONTENT[1000 if status == 206 else 0 :]


@pytest.mark.parametrize(("filetype", "shown"), [("image/png", True), ("text/html", False), ("", False)])
def test_only_harmless_types_are_shown(tus: Tus, filetype: str, shown: bool) -> None:
    """What could run is saved, under no type of its own."""
    headers = tus.get(tus.upload(b"abc", _named("a.html", filetype))).headers
    assert headers["Content-Disposition"].partition(";")[0] == ("inline" if shown else "attachment")
    assert headers["Content-Type"] == (filetype if shown else "application/octet-stream")


@pytest.mark.parametrize("filename", ["a\r\nX-Evil: 1", 'q"uote', "../../etc/passwd", "日本", "\0", "x" * 6000])
def test_a_hostile_name_is_only_a_name(tus: Tus, filename: str) -> None:
    """No name breaks the answer or adds a header."""
    response = tus.get(tus.upload(b"abc", _named(filename)))
    assert (response.status_code, response.data) == (200, b"abc")
    assert "X-Evil" not in response.headers and "/" not in response.headers["Content-Disposition"]
    assert response.headers["Content-Disposition"].isascii()


def test_large_files_are_read_in_blocks(tus: Tus, storage: MemoryStorage) -> None:
    """No read is larger than a block, however large the file."""
    content = bytes(3 * BLOCK + 5)
    assert tus.get(tus.upload(content)).data == content
    assert [size for _, size in storage.opened[0].reads] == [BLOCK, BLOCK, BLOCK, 5]


def test_a_file_that_cannot_be_opened_is_unavailable(
    tus: Tus, storage: MemoryStorage, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told before the first byte, and may come again."""
    url = tus.upload(CONTENT)
    kept = storage.contents.copy()
    storage.contents.clear()
    refused(tus.get(url), 503)
    assert "cannot store uploads" in caplog.text
    storage.contents[url.rpartition("/")[2]] = bytearray()
    refused(tus.get(url), 503)
    assert "is 1024 bytes too short" in caplog.text and storage.opened[-1].closed
    storage.contents.update(kept)
    assert tus.get(url).data == CONTENT


def test_a_file_that_ends_early_is_cut_off_and_logged(
    tus: Tus, storage: MemoryStorage, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that has begun says how long it was to be; that it is shorter shows that it failed."""
    url = tus.upload(CONTENT)
    del next(iter(storage.contents.values()))[100:]
    response = tus.get(url)
    assert (response.data, response.headers["Content-Length"]) == (CONTENT[:100], "1024")
    assert "is 924 bytes too short" in caplog.text
    assert storage.opened[0].closed


@pytest.fixture
def port(app: Flask, tus: Tus) -> Iterator[int]:
    """A real server of the app."""
    server = make_server("127.0.0.1", free_port(), app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.live
def test_the_stream_is_closed_when_the_client_leaves(tus: Tus, storage: MemoryStorage, port: int) -> None:
    """A client that goes away in the middle leaves nothing open, and the rest is not read."""
    size = 64 * BLOCK
    path = tus.upload(bytes(size)).removeprefix("http://localhost")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + 30
    while not (storage.opened and storage.opened[0].closed) and time.monotonic() < deadline:
        time.sleep(0.01)
    (stream,) = storage.opened
    assert stream.closed and sum(size for _, size in stream.reads) < size


# --- redirects ---


def test_a_link_leads_to_the_storage(app: Flask) -> None:
    """302 with the storage's link, for as long as is set, under the client's name; nobody keeps it."""
    app.config["RESUMABLE_LINK_LIFETIME"] = 90
    storage = LinkedStorage()
    tus = _serve(app, storage, "redirect")
    url = tus.upload(CONTENT, _named("a/b.png", "image/png"))
    response = tus.get(url, {"Range": "bytes=5-"})
    upload_id = url.rpartition("/")[2]
    assert response.status_code == 302
    assert response.headers["Location"] == f"https://store.example/{upload_id}?signature=abc&expires=90"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.data == b"" and storage.opened == []
    tus.get(tus.upload(CONTENT, _named("page.html", "text/html")))
    minute = timedelta(seconds=90)
    assert storage.wishes == [
        {"expires": minute, "filename": "b.png", "content_type": "image/png", "disposition": "inline"},
        {
            "expires": minute,
            "filename": "page.html",
            "content_type": "application/octet-stream",
            "disposition": "attachment",
        },
    ]


def test_no_link_is_given_to_what_is_not_finished(app: Flask) -> None:
    """404, as for any download; and HEAD tells the offset, as tus has it."""
    storage = LinkedStorage()
    tus = _serve(app, storage, "redirect")
    url = tus.new(10)
    refused(tus.get(url), 404)
    assert tus.head(url).status_code == 200
    assert storage.wishes == []


@pytest.mark.parametrize("downloads", [True, "stream"])
def test_links_are_given_only_if_they_are_wanted(app: Flask, downloads: bool | str) -> None:
    """Unless it is set to redirect, the app streams."""
    tus = _serve(app, LinkedStorage(), downloads)
    assert tus.get(tus.upload(CONTENT)).data == CONTENT


def test_what_cannot_be_linked_is_streamed(app: Flask, tmp_path: Path) -> None:
    """An upload that has no link, or whose storage has none, comes through the app."""

    class Uploads(FlaskResumable):
        def choose_storage(self, upload: Any) -> str | None:
            return upload.filename  # type: ignore[no-any-return]

    app.config.update(FLOW_ENABLED=False, RESUMABLE_DOWNLOADS="redirect")
    storages: dict[str, Storage] = {
        "linked": LinkedStorage(),
        "plain": MemoryStorage(),
        "local": LocalStorage(tmp_path),
    }
    storages["here"] = LinkedStorage()
    Uploads(app, storage=storages)
    tus = Tus(app.test_client())
    for name, status in (("linked", 302), ("plain", 200), ("local", 200), ("here", 200)):
        response = tus.get(tus.upload(CONTENT, _named(name)))
        assert (response.status_code, response.data) == (status, CONTENT if status == 200 else b""), name

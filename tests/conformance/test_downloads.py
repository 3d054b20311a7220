"""GET: off by default; on, it gives finished files as harmlessly as possible."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from werkzeug.datastructures import Headers

from .server import EXPIRED
from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import DEFERRED
from .tus_client import metadata
from .tus_client import refused
from .tus_client import Tus
from .tus_client import UNKNOWN
from .tus_client import words

CONTENT = bytes(range(256)) * 4
INLINE = ["image/png", "image/jpeg", "audio/mpeg", "video/mp4", "text/plain", "application/pdf"]
ATTACHED = [
    "text/html",
    "image/svg+xml",
    "application/xhtml+xml",
    "text/xml",
    "application/javascript",
    "text/css",
    "application/octet-stream",
    "application/x-shockwave-flash",
    "text/html;image/png",
    "image/png\r\nX-Evil: 1",
    "nonsense",
    "",
]


@pytest.fixture
def open_server(serve: Serve) -> Server:
    """An app that lets files be fetched."""
    return serve(DOWNLOADS=True)


def named(
    filename: str | bytes = "file.bin", filetype: str | bytes = "application/octet-stream"
) -> dict[str, str | None]:
    return {"Upload-Metadata": metadata(filename=filename, filetype=filetype)}


def harmless(headers: Headers) -> None:
    """Nothing of the client's can run in the app's origin."""
    assert headers["X-Content-Type-Options"] == "nosniff"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ") and "script" not in policy


def test_downloads_are_off_by_default(server: Server) -> None:
    """GET answers 405 without naming itself, and gives no byte away."""
    url = server.tus.upload(b"secret")
    response = server.tus.get(url)
    refused(response, 405)
    assert "GET" not in words(response.headers["Allow"])
    assert "secret" not in response.text


def test_a_finished_file_can_be_fetched(open_server: Server) -> None:
    """GET answers 200 with every byte, needs no tus header, and says that ranges work."""
    response = open_server.tus.get(open_server.tus.upload(CONTENT, named()))
    assert response.status_code == 200
    assert response.data == CONTENT
    assert response.headers["Content-Length"] == str(len(CONTENT))
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Tus-Resumable"] == "1.0.0"
    harmless(response.headers)


def test_an_empty_file_can_be_fetched(open_server: Server) -> None:
    """No bytes are a file, too."""
    response = open_server.tus.get(open_server.tus.upload(b"", named()))
    assert response.status_code == 200
    assert response.data == b""


@pytest.mark.parametrize("kind", ["unknown", "new", "halfway", "deferred", "terminated", "expired"])
def test_what_is_not_finished_is_not_found(open_server: Server, kind: str) -> None:
    """GET of an upload that is not whole answers 404, and no byte of it leaves."""
    tus = open_server.tus
    url = tus.new(headers=DEFERRED) if kind == "deferred" else tus.new(6)
    if kind != "new":
        tus.patch(url, 0, b"secret"[:3])
    if kind == "terminated":
        tus.delete(url)
    if kind == "expired":
        open_server.clock.advance(**EXPIRED)
    response = tus.get(UNKNOWN if kind == "unknown" else url)
    refused(response, 410 if kind == "expired" and response.status_code == 410 else 404)
    assert "sec" not in response.text


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("0-0", 0, 1),
        ("10-19", 10, 20),
        ("1000-", 1000, 1024),
        ("-24", 1000, 1024),
        ("0-99999", 0, 1024),
        ("1023-1023", 1023, 1024),
    ],
)
def test_a_range_can_be_fetched(open_server: Server, asked: str, start: int, stop: int) -> None:
    """Range answers 206 with those bytes and Content-Range."""
    url = open_server.tus.upload(CONTENT, named())
    response = open_server.tus.get(url, {"Range": f"bytes={asked}"})
    assert response.status_code == 206
    assert response.data == CONTENT[start:stop]
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/1024"
    assert response.headers["Content-Length"] == str(stop - start)
    harmless(response.headers)


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000"])
def test_a_range_beyond_the_end_is_refused(open_server: Server, asked: str) -> None:
    """A range without a byte in the file answers 416, and says how long the file is."""
    response = open_server.tus.get(open_server.tus.upload(CONTENT, named()), {"Range": asked})
    refused(response, 416)
    assert response.headers["Content-Range"] == "bytes */1024"


def test_an_unchanged_file_is_not_sent_again(open_server: Server) -> None:
    """If-None-Match with the file's ETag, and If-Modified-Since with its date, answer 304 without a body."""
    tus = open_server.tus
    url = tus.upload(CONTENT, named())
    first = tus.get(url).headers
    for headers in (
        {"If-None-Match": first["ETag"]},
        {"If-Modified-Since": first["Last-Modified"]},
        {"If-None-Match": "*"},
    ):
        response = tus.get(url, headers)
        assert response.status_code == 304
        assert response.data == b""
        assert response.headers["Tus-Resumable"] == "1.0.0"
    assert tus.get(url, {"If-None-Match": '"another"'}).data == CONTENT


@pytest.mark.parametrize("by_web_server", [False, True])
def test_a_condition_that_fails_gets_no_file(open_server: Server, by_web_server: bool) -> None:
    """If-Match with another ETag answers 412, with nothing of the file, whoever sends files."""
    open_server.app.config["USE_X_SENDFILE"] = by_web_server
    tus = open_server.tus
    url = tus.upload(CONTENT, named())
    response = tus.get(url, {"If-Match": '"another"'})
    assert (response.status_code, response.data) == (412, b"")
    assert "X-Sendfile" not in response.headers
    assert tus.get(url, {"If-Match": tus.get(url).headers["ETag"]}).status_code == 200


def test_a_download_resumes_only_the_same_file(open_server: Server) -> None:
    """If-Range with the ETag continues; with another one the whole file comes."""
    tus = open_server.tus
    url = tus.upload(CONTENT, named())
    tag = tus.get(url).headers["ETag"]
    assert tus.get(url, {"Range": "bytes=1000-", "If-Range": tag}).data == CONTENT[1000:]
    assert tus.get(url, {"Range": "bytes=1000-", "If-Range": '"another"'}).data == CONTENT


def test_files_of_one_size_are_told_apart(open_server: Server) -> None:
    """Two uploads have two ETags."""
    tus = open_server.tus
    urls = [tus.upload(b"abc", named()), tus.upload(b"xyz", named())]
    assert len({tus.get(url).headers["ETag"] for url in urls}) == 2


@pytest.mark.parametrize("filetype", INLINE)
def test_harmless_types_are_shown(open_server: Server, filetype: str) -> None:
    """Types in INLINE_TYPES are shown in place, under their own name. A player of the browser's may load the file once
    more, as the user: in a sandbox it could not.
    """
    headers = open_server.tus.get(open_server.tus.upload(b"abc", named("a file", filetype))).headers
    assert "sandbox" not in headers["Content-Security-Policy"]
    assert "media-src 'self'" in headers["Content-Security-Policy"]
    assert headers["Content-Type"].partition(";")[0] == filetype
    assert headers.get("Content-Disposition", "inline").startswith("inline")
    harmless(headers)


@pytest.mark.parametrize("filetype", ATTACHED)
@pytest.mark.parametrize("filename", ["page.html", "picture.png", "drawing.svg"])
def test_other_types_are_only_saved(open_server: Server, filename: str, filetype: str) -> None:
    """Whatever could run is an attachment, whatever its name says, and its type is not one that runs."""
    response = open_server.tus.get(open_server.tus.upload(b"<script>", named(filename, filetype)))
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert "X-Evil" not in response.headers
    harmless(response.headers)


def test_a_file_without_a_type_is_only_saved(open_server: Server) -> None:
    """No metadata, no guess."""
    response = open_server.tus.get(open_server.tus.upload(b"<html>"))
    assert response.headers["Content-Disposition"].startswith("attachment")
    harmless(response.headers)


def test_the_types_that_are_shown_can_be_chosen(serve: Serve) -> None:
    """INLINE_TYPES is the whole list, not an addition."""
    tus = serve(DOWNLOADS=True, INLINE_TYPES=["text/csv"]).tus
    shown = tus.get(tus.upload(b"a,b", named("a.csv", "text/csv"))).headers
    assert shown.get("Content-Disposition", "inline").startswith("inline")
    saved = tus.get(tus.upload(b"abc", named("a.png", "image/png"))).headers
    assert saved["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "filename", ["grüße.pdf", "日本語.txt", "🎉.zip", "with space.txt", 'quote".txt', "semi;colon.txt", "per%cent.txt"]
)
def test_a_name_survives_the_header(open_server: Server, filename: str) -> None:
    """The name to save under is the client's, encoded as HTTP asks."""
    header = open_server.tus.get(open_server.tus.upload(b"abc", named(filename))).headers["Content-Disposition"]
    extended = re.search(r"filename\*=UTF-8''([^;]+)", header)
    plain = re.search(r'filename="((?:[^"\\]|\\.)*)"', header) or re.search(r"filename=([^;\s]+)", header)
    found = unquote(extended[1]) if extended else re.sub(r"\\(.)", r"\1", plain[1]) if plain else None
    assert found == filename
    assert header.isascii()


@pytest.mark.parametrize(
    "filename",
    [
        "a\r\nSet-Cookie: evil=1",
        "a\nX-Evil: 1",
        "a\rb",
        "a\0b",
        "\r\n\r\n<script>",
        b"\xff\xfe",
        "x" * 6000,
        "",
        "../../etc/passwd",
    ],
)
def test_a_hostile_name_is_only_a_name(open_server: Server, filename: str | bytes) -> None:
    """Line ends, NULs, bytes that are no text and paths in a name neither break the answer nor add headers."""
    response = open_server.tus.get(open_server.tus.upload(b"abc", named(filename)))
    assert response.status_code == 200
    assert response.data == b"abc"
    assert not {"Set-Cookie", "X-Evil"} & set(response.headers.keys())
    assert not [value for value in response.headers.values() if set(value) & set("\r\n\0")]
    harmless(response.headers)


def test_get_takes_nothing_from_a_running_patch(open_server: Server) -> None:
    """A GET during a PATCH answers 404 and the PATCH goes on."""
    tus: Tus = open_server.tus
    url = tus.new(6)
    statuses: list[int] = []
    body = Body(b"abc", lambda: statuses.append(tus.get(url).status_code), b"def")
    assert tus.patch(url, 0, body, announced=6).status_code == 204
    assert statuses == [404]
    assert open_server.finished(url).read_bytes() == b"abcdef"

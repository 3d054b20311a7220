"""What the clients in use rely on, beyond the protocol's letter: tus-js-client, Uppy, and proxies in between."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urljoin

import pytest
from flask import request
from werkzeug.test import TestResponse

from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import final
from .tus_client import metadata
from .tus_client import OCTETS
from .tus_client import PARTIAL
from .tus_client import refused
from .tus_client import Tus
from .tus_client import words

ORIGIN = "https://app.example"
# tus-js-client, lib/upload.ts: "shouldRetry". All other 4xx end the upload for good.
RETRIED_4XX = {409, 423}


def retried(response: TestResponse) -> bool:
    """Whether tus-js-client tries again after this answer."""
    return response.status_code >= 500 or response.status_code in RETRIED_4XX


def fail(upload: object) -> None:
    """A hook of the app that breaks down."""
    raise RuntimeError


def test_an_interrupted_patch_is_retried(server: Server) -> None:
    """A PATCH that a newer request interrupts answers what tus-js-client retries."""
    url = server.tus.new(6)
    response = server.tus.patch(url, 0, Body(b"abc", lambda: server.tus.patch(url, 3, b"d"), b"def"), announced=6)
    assert response.status_code == 423
    assert retried(response)


def test_a_stale_offset_is_retried(server: Server) -> None:
    """After 409 the client asks for the offset and goes on."""
    url = server.tus.new(6)
    server.tus.patch(url, 0, b"abc")
    assert retried(server.tus.patch(url, 0, b"abcdef"))
    assert server.tus.patch(url, server.tus.offset(url), b"def").status_code == 204


def test_storage_trouble_is_retried(server: Server) -> None:
    """A server that cannot store right now answers 5xx, never a final 4xx."""
    url = server.tus.new(6)
    server.tus.patch(url, 0, b"abc")
    (server.folder / ".partial").rename(server.folder / "elsewhere")
    (server.folder / ".partial").write_text("not a folder")
    assert retried(server.tus.patch(url, 3, b"def"))


def test_database_trouble_is_retried(server: Server) -> None:
    """When the records cannot be read every verb answers 503, HEAD 423, and all is as before once they can."""
    tus = server.tus
    url = tus.new(6)
    tus.patch(url, 0, b"abc")
    with closing(sqlite3.connect(server.database)) as connection:
        (table,) = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        connection.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
        refused(tus.head(url), 423)  # tus-js-client would send everything again
        for response in (tus.patch(url, 3, b"def"), tus.delete(url), tus.create(3)):
            refused(response, 503)
        connection.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
    assert tus.offset(url) == 3
    assert tus.patch(url, 3, b"def").status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"


def test_a_failing_completion_is_retried(server: Server) -> None:
    """When the app's on_complete breaks down the client is told to try again, not that all is well."""
    url = server.tus.new(3)
    server.hooks.during["on_complete"] = fail
    assert retried(server.tus.patch(url, 0, b"abc"))


@pytest.mark.parametrize("verb", ["HEAD", "PATCH", "DELETE"])
def test_asking_while_the_upload_completes_is_retried(server: Server, verb: str) -> None:
    """While on_complete runs the answer is 423: not 'done', and not one of the 4xx that make a client give up."""
    tus = server.tus
    url = tus.new(3)
    answers: list[TestResponse] = []

    verbs = {"HEAD": tus.head, "PATCH": lambda url: tus.patch(url, 3), "DELETE": tus.delete}

    def ask(upload: Any) -> None:
        with ThreadPoolExecutor(1) as elsewhere:  # within this request's own context it would share its session
            answers.append(elsewhere.submit(verbs[verb], url).result())

    server.hooks.during["on_complete"] = ask
    assert tus.patch(url, 0, b"abc").status_code == 204
    (answer,) = answers
    refused(answer, 423)
    assert server.hooks.count("on_complete") == 1
    assert tus.head(url).status_code == 200


def test_a_failed_completion_is_never_reported_as_success(server: Server) -> None:
    """HEAD after a failed on_complete runs it again, and shows the end only once it has succeeded."""
    tus = server.tus
    url = tus.new(3)
    server.hooks.during["on_complete"] = fail
    refused(tus.patch(url, 0, b"abc"), 500)
    refused(tus.head(url), 423)  # a 500 would make tus-js-client send everything again
    assert server.hooks.count("on_complete") == 2
    del server.hooks.during["on_complete"]
    response = tus.head(url)
    assert response.status_code == 200
    assert response.headers["Upload-Offset"] == "3"
    assert server.hooks.count("on_complete") == 3
    tus.head(url)
    assert server.hooks.count("on_complete") == 3


def test_the_command_line_makes_up_a_failed_completion(server: Server) -> None:
    """Where no client comes back, ``flask tus complete_pending`` runs the hook."""
    url = server.tus.new(3)
    server.hooks.during["on_complete"] = fail
    server.tus.patch(url, 0, b"abc")
    del server.hooks.during["on_complete"]
    for _ in range(2):
        server.cli("tus", "complete_pending")
    assert server.hooks.count("on_complete") == 2
    assert server.finished(url).read_bytes() == b"abc"


def test_a_resumable_upload_is_never_answered_4xx_by_head(server: Server) -> None:
    """HEAD with a 4xx other than 423 makes the client start from zero: whatever broke off, it answers 200."""
    tus = server.tus
    for breakdown in (Body(b"abc"), Body(b"abc", ConnectionResetError()), Body(b"abc", TimeoutError())):
        url = tus.new(6)
        tus.patch(url, 0, breakdown, announced=6)
        assert tus.head(url).status_code == 200
        assert tus.patch(url, 3, b"def").status_code == 204


def test_an_empty_file_ends_with_its_post(server: Server) -> None:
    """Clients send nothing after a POST of size 0: the upload is complete by its 201 and Location."""
    response = server.tus.create(0, {"Upload-Metadata": metadata(filename="empty")})
    assert response.status_code == 201
    assert server.finished(response.headers["Location"]).read_bytes() == b""
    assert server.hooks.names()[0] == "on_create"
    assert server.hooks.count("on_complete") == 1


@pytest.mark.parametrize("declared", [{"Upload-Length": "6"}, {"Upload-Defer-Length": "1"}])
def test_head_always_speaks_of_the_length(tus: Tus, declared: dict[str, str | None]) -> None:
    """A client that resumes needs Upload-Length, or Upload-Defer-Length: 1 in its place."""
    url = tus.new(headers=declared)
    tus.patch(url, 0, b"abc")
    headers = tus.head(url).headers
    assert {name: headers.get(name) for name in declared} == declared
    assert ("Upload-Length" in headers) != ("Upload-Defer-Length" in headers)


def test_scripts_of_another_origin_can_read_what_they_need(serve: Serve) -> None:
    """Without Access-Control-Expose-Headers a browser hides Location and Upload-Offset from the client."""
    tus = serve(CORS_ORIGINS=[ORIGIN]).tus.with_headers(Origin=ORIGIN)
    created = tus.create(3)
    url = urljoin(tus.endpoint, created.headers["Location"])
    for response, needed in (
        (created, {"Location", "Upload-Expires"}),
        (tus.head(url), {"Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Defer-Length", "Upload-Concat"}),
        (tus.patch(url, 0, b"abc"), {"Upload-Offset", "Upload-Expires"}),
        (tus.patch(url, 0, b"abc"), {"Upload-Offset"}),
    ):
        exposed = {name.lower() for name in words(response.headers["Access-Control-Expose-Headers"])}
        assert {name.lower() for name in needed} <= exposed


@pytest.mark.parametrize("last", [b"", b"def"])
def test_the_deferred_mode_of_tus_js_client(server: Server, last: bytes) -> None:
    """Upload-Length comes with the last, possibly empty, PATCH, whose answer needs Upload-Offset."""
    tus = server.tus
    created = tus.create(headers={"Upload-Defer-Length": "1", "Upload-Metadata": metadata(filename="stream")})
    url = urljoin(tus.endpoint, created.headers["Location"])
    assert tus.patch(url, 0, b"abc").headers["Upload-Offset"] == "3"
    response = tus.patch(url, 3, last, {"Upload-Length": str(3 + len(last))})
    assert response.headers["Upload-Offset"] == str(3 + len(last))
    assert server.finished(url).read_bytes() == b"abc" + last
    assert server.hooks.count("on_complete") == 1


def test_the_parallel_mode_of_tus_js_client(server: Server) -> None:
    """Parts are joined by a list of absolute URLs in a POST without a body or a length, with the metadata."""
    tus = server.tus
    partial = PARTIAL
    urls = []
    for piece in (b"abc", b"def", b"g"):
        response = tus.create_with(piece, len(piece), partial)
        assert response.headers["Upload-Offset"] == str(len(piece))
        urls.append(urljoin(tus.endpoint, response.headers["Location"]))
    assert all(url.startswith("http://") for url in urls)
    response = tus.create(
        headers={**final(*urls), "Upload-Metadata": metadata(filename="whole", filetype="text/plain")}
    )
    assert response.status_code == 201
    url = urljoin(tus.endpoint, response.headers["Location"])
    assert server.finished(url).read_bytes() == b"abcdefg"
    assert [call.hook for call in server.hooks.calls].count("on_complete") == 1


def test_the_data_during_creation_mode_of_tus_js_client(server: Server) -> None:
    """uploadDataDuringCreation goes on from the Upload-Offset of the POST's answer."""
    tus = server.tus
    response = tus.create_with(b"abcd", 6)
    offset = int(response.headers["Upload-Offset"])
    url = urljoin(tus.endpoint, response.headers["Location"])
    assert tus.patch(url, offset, b"ef").status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"


@pytest.mark.parametrize(
    ("raw", "filename"),
    [
        (metadata(filename="grüße.pdf", filetype="application/pdf"), "grüße.pdf"),
        (metadata(relativePath="null", name="cat.jpg", type="image/jpeg"), "cat.jpg"),
        (metadata(name="photo.png", filename="photo.png", type="image/png", filetype="image/png"), "photo.png"),
        (metadata(other="x"), None),
    ],
)
def test_the_names_that_clients_give_are_found(server: Server, raw: str, filename: str | None) -> None:
    """upload.filename is the client's name for the file, under the keys of tus-js-client and of Uppy."""
    seen: list[str | None] = []
    server.hooks.during["on_create"] = lambda upload: seen.append(upload.filename)
    server.tus.new(3, {"Upload-Metadata": raw})
    assert seen == [filename]


def test_the_same_file_again_is_another_upload(server: Server) -> None:
    """The server never resumes by a client's fingerprint: each POST is an upload of its own, with its own events."""
    raw = {"Upload-Metadata": metadata(filename="same", fingerprint="same")}
    first, second = server.tus.upload(b"abc", raw), server.tus.upload(b"abc", raw)
    assert first != second
    assert server.hooks.count("on_complete", first) == server.hooks.count("on_complete", second) == 1


def test_the_hook_can_read_the_file_it_is_told_of(server: Server) -> None:
    """In on_complete the file is there: path, open() and digests work, without a lock in the way."""
    seen: list[Any] = []

    def look(upload: Any) -> None:
        with upload.open() as file:
            seen.extend([file.read(), upload.path.read_bytes(), upload.md5, upload.digest("sha256")])

    server.hooks.during["on_complete"] = look
    server.tus.upload(b"abc")
    assert seen == [
        b"abc",
        b"abc",
        "900150983cd24fb0d6963f7d28e17f72",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ]


def test_the_hook_can_read_the_request(server: Server) -> None:
    """Hooks run inside the request: who uploads, and from where, is at hand."""
    seen: list[tuple[str, str | None]] = []
    for hook in ("on_create", "pre_save", "post_save", "on_complete"):
        server.hooks.during[hook] = lambda upload: seen.append((request.method, request.headers.get("X-Trace")))
    server.tus.with_headers(X_Trace="7").upload(b"abc")
    assert seen == [("POST", "7"), *[("PATCH", "7")] * 3]


def test_an_answer_never_redirects(serve: Serve) -> None:
    """Browsers do not follow a redirect on a preflighted request: with and without the slash works at once."""
    for configured in ("/files/", "/files", "/a/b/files/", "/a/b/files"):
        tus = serve(UPLOAD_URL=configured).tus
        for url in (configured.rstrip("/"), configured.rstrip("/") + "/"):
            assert tus.options(url).status_code == 204
            response = tus.request("POST", url, headers={"Upload-Length": "3", "Content-Type": OCTETS}, body=b"abc")
            assert response.status_code == 201

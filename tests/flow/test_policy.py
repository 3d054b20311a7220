"""What the app and the machine decide."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import abort
from flask import redirect
from flask import request
from werkzeug.wrappers import Response

from flask_resumable import UploadRejected
from flask_resumable.core.upload import Status
from flask_resumable.errors import Unavailable

from .client import Part
from .conftest import Serve
from .site import sample
from .site import Site


def refuse(status: int, message: str = "No.") -> Any:
    """A hook that says no."""

    def hook(upload: Any) -> None:
        raise UploadRejected(status, message)

    return hook


@pytest.mark.parametrize("status", [403, 413, 415, 429])
def test_on_create_refuses_all_first_chunks(site: Site, status: int) -> None:
    """Its status and its words as JSON, for parallel chunks, too, and for both encodings; nothing is left."""
    site.during("on_create", refuse(status, "Not <here>."))
    file = sample(35)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda number: site.client().post(file, number), file.numbers))
    answers.append(site.flow.octet(file, 1))
    assert [(answer.status_code, answer.json) for answer in answers] == [(status, {"error": "Not <here>."})] * 4
    assert (site.uploads(), site.files()) == ([], [])


def test_a_look_at_the_first_bytes(site: Site) -> None:
    """pre_save may look at what is there already; once it refuses, every later chunk gets the same permanent status."""

    def sniff(upload: Any) -> None:
        if upload.offset:
            with upload.open() as stream:
                if stream.read(2) == b"MZ":
                    raise UploadRejected(415, "No programs, please.")

    if site.chunks is None:
        site.during("pre_save", sniff)
    else:
        site.during("pre_save", lambda upload: upload.offset and refuse(415)(upload))
    file = sample(35)
    assert site.flow.post(file, 1, b"MZ34567890").status_code == 200
    for _ in range(2):
        for number in (2, 3):
            assert site.flow.post(file, number).status_code == 415
    assert site.count("on_complete") == 0
    assert site.flow.test(file, 2).status_code == 204


def test_on_complete_refuses(serve: Serve) -> None:
    """Its status; the file is gone, and a chunk sent again does not pass for the whole: 404 for COMPLETED_TTL."""
    site = serve(COMPLETED_TTL=60)
    site.during("on_complete", refuse(415, "A virus."))
    file = sample()
    site.flow.send(file, [1])
    answer = site.flow.post(file, 2)
    assert (answer.status_code, answer.json) == (415, {"error": "A virus."})
    assert site.files() == []
    assert (site.flow.post(file, 2).status_code, site.flow.test(file, 1).status_code) == (404, 404)
    site.server.hooks.during.clear()
    site.server.clock.advance(seconds=61)
    assert site.stored(site.flow.send(file)) == file.content


def test_on_complete_fails(site: Site) -> None:
    """503, never 500; not complete; the data stays, and sending the chunk again completes it."""

    def fail(upload: Any) -> None:
        raise RuntimeError("secret")

    site.during("on_complete", fail)
    file = sample()
    site.flow.send(file, [1])
    for _ in range(2):
        answer = site.flow.post(file, 2)
        assert answer.status_code == 503
        assert "secret" not in answer.text
    assert site.uploads()[0].status is Status.FINISHING
    site.server.hooks.during.clear()
    assert (site.flow.post(file, 2).json or {})["complete"]


@pytest.mark.parametrize("hook", ["on_create", "pre_save", "post_save"])
def test_other_hooks_fail(site: Site, hook: str) -> None:
    """503, and the chunk can be sent again."""

    def fail(upload: Any) -> None:
        raise RuntimeError("secret")

    site.during(hook, fail)
    file = sample()
    assert site.flow.post(file, 1).status_code == 503
    site.server.hooks.during.clear()
    assert site.stored(site.flow.send(file)) == file.content
    assert site.count("on_complete") == 1


@pytest.mark.parametrize("guard", [lambda: abort(401), lambda: redirect("/login")])
def test_who_is_not_signed_in(site: Site, guard: Any) -> None:
    """401 as JSON for every method; a guard's redirect becomes that, too, or flow.js would take a page for a chunk."""

    @site.server.app.before_request
    def sign_in() -> Response | None:
        return guard() if "X-User" not in request.headers else None

    file = sample()
    for answer in (site.flow.test(file, 1), site.flow.post(file, 1), site.flow.status(file), site.flow.cancel(file)):
        assert answer.status_code == 401
        assert answer.json and "error" in answer.json
    assert site.flow.test(file, 1, method="HEAD").status_code == 401
    assert site.client(X_User="anna").post(file, 1).status_code == 200


def test_csrf_protection_stays_on(site: Site) -> None:
    """Without the token 400 as JSON; in a header or in ``query`` it passes, and is not kept."""

    @site.server.app.before_request
    def protect() -> None:
        token = request.headers.get("X-CSRFToken") or request.args.get("csrf_token")
        if request.method not in ("GET", "HEAD", "OPTIONS") and token != "t0ken":
            abort(400, "The CSRF token is missing.")

    file = sample()
    answer = site.flow.post(file, 1)
    assert (answer.status_code, answer.json) == (400, {"error": "The CSRF token is missing."})
    assert site.flow.post(file, 1, headers={"X-CSRFToken": "t0ken"}).status_code == 200
    assert site.flow.octet(file, 2, changes={"csrf_token": "t0ken"}).status_code == 200
    assert not any("t0ken" in row for row in site.server.dump())


def test_too_many_at_once_is_the_apps_to_say(site: Site) -> None:
    """on_create counts what an owner has pending and refuses with 429; finishing one makes room."""

    def count(upload: Any) -> None:
        pending = [other for other in site.uploads() if other.owner == upload.owner and other.status is Status.ACTIVE]
        if len(pending) >= 2:
            raise UploadRejected(429, "Finish something first.")

    site.during("on_create", count)
    files = [sample(name=f"{number}.bin") for number in range(3)]
    assert [site.flow.post(file, 1).status_code for file in files] == [200, 200, 429]
    site.flow.post(files[0], 2)
    assert site.flow.post(files[2], 1).status_code == 200


@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EIO, 503), (errno.EROFS, 503)]
)
def test_a_disk_in_trouble(site: Site, monkeypatch: pytest.MonkeyPatch, number: int, status: int) -> None:
    """Full: 507, broken: 503; the chunk is not marked, and can be sent when the disk is well again."""
    file = sample()
    site.flow.send(file, [1])

    def fail(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    target = "flask_resumable.storage.local.storage.write_all" if site.chunks is None else "secrets.token_hex"
    with monkeypatch.context() as trouble:
        trouble.setattr(target, fail)
        assert site.flow.post(file, 2).status_code == status
        assert site.flow.test(file, 2).status_code == 204
    assert site.stored(site.flow.send(file, [2])) == file.content


def test_no_room_for_what_is_on_its_way(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk beyond what is kept in memory finds the disk full: 507, and then can be sent again."""
    monkeypatch.setattr("flask_resumable.storage.spool.SPOOL_SIZE", 4)
    file = sample(400, 200)

    class Full:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

        def write(self, block: bytes) -> int:
            raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as trouble:
        trouble.setattr("flask_resumable.storage.spool.tempfile.TemporaryFile", lambda **_: Full())
        assert site.flow.post(file, 1).status_code == 507
    assert site.stored(site.flow.send(file)) == file.content


@pytest.mark.parametrize("method", ["find", "add", "get", "amend"])
def test_a_database_in_trouble(site: Site, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """503 wherever it strikes; then the chunk can be sent again, and the file is right."""
    file = sample()
    repository = site.server.app.extensions["resumable"].repository

    def fail(*_: Any, **__: Any) -> Any:
        raise Unavailable()

    with monkeypatch.context() as trouble:
        trouble.setattr(repository, method, fail)
        answer = site.flow.post(file, 1)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert site.stored(site.flow.send(file)) == file.content
    assert (site.count("on_complete"), len(site.uploads())) == (1, 1)


@pytest.mark.parametrize("url", ["/flow", "/flow/"])
@pytest.mark.parametrize("configured", ["/flow", "/flow/"])
def test_both_forms_of_the_url_work(serve_plain: Serve, configured: str, url: str) -> None:
    """With and without the slash, for every method, without a redirect."""
    site = serve_plain(UPLOAD_URL=configured)
    client = site.client()
    client.url = url
    file = sample(name=url)
    assert client.open("OPTIONS").status_code == 204
    assert client.test(file, 1).status_code == 204
    answer = client.send(file)
    assert (site.stored(answer), client.test(file, 1, method="HEAD").status_code) == (file.content, 200)
    client.url = url.rstrip("/") + "/"
    assert client.open("GET", client.spelled(file, 1), path="status/").status_code == 200
    assert client.open("GET", path=(answer.json or {})["id"] + "/").status_code == 200
    assert client.open("GET", path="nothing/here").status_code == 404


def test_every_answer_is_json_and_is_not_kept(site: Site) -> None:
    """no-store and nosniff on all of them; JSON wherever there is a body, with the client's words escaped."""
    file = sample(name="</script><b>.txt")
    flow = site.flow
    answers = [
        flow.test(file, 1),
        flow.post(file, 1),
        flow.test(file, 1),
        flow.post(file, 2, b"x"),
        flow.open("GET"),
        flow.open("POST"),
        flow.status(file),
        flow.open("GET", path="nothing/here"),
        flow.open("GET", path="0" * 32),
        flow.open("POST", path="status"),
        flow.form([Part("file", b"", "f")]),
        flow.cancel(file),
        flow.cancel(file),
        flow.open("OPTIONS"),
    ]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if answer.data:
            assert answer.mimetype == "application/json"
            assert isinstance(answer.json, dict)
            assert b"<b>" not in answer.data
        assert answer.status_code < 500 and answer.status_code // 100 != 3


def test_other_origins_are_answered_as_the_settings_say(serve_plain: Serve) -> None:
    """A preflight and the request itself carry what the browser needs, for the listed origin only."""
    site = serve_plain(CORS_ORIGINS=["https://app.example"])
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-csrftoken"}
    answer = site.flow.open("OPTIONS", headers={"Origin": "https://app.example", **preflight})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "X-CSRFToken" in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers["Access-Control-Max-Age"] == "86400"
    answer = site.flow.post(sample(), 1, headers={"Origin": "https://app.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    answer = site.flow.test(sample(), 1, method="GET")
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert (
        "Access-Control-Allow-Origin" not in site.flow.open("OPTIONS", headers={"Origin": "https://x.example"}).headers
    )

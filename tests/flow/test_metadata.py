"""What is kept of the parameters that the page adds in ``query``."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from flask import request

from .client import Part
from .client import Sample
from .conftest import Serve
from .site import Site

FILE = Sample(b"abc", name="a.png", path="p")
WAYS = ["query", "form before the file", "form after the file"]


def send(site: Site, pairs: list[tuple[str, str]], way: str) -> str:
    """Send the file with these parameters, in addition to its own; the upload's id."""
    own = list(site.flow.spelled(FILE, 1).items())
    if way == "query":
        answer = site.flow.http.post("/flow/?" + urlencode([*own, *pairs]), data=FILE.content)
    else:
        *fields, content = site.flow.parts(FILE, 1)
        more = [Part(name, value.encode()) for name, value in pairs]
        parts = [*fields, *more, content] if way == WAYS[1] else [*fields, content, *more]
        answer = site.flow.form(parts)
    assert answer.status_code == 200, answer.text
    return str((answer.json or {})["id"])


@pytest.mark.parametrize("way", WAYS[:2])
def test_any_name_is_kept(site: Site, way: str) -> None:
    """Brackets, other scripts, blanks, commas, percent signs, repetitions and empty values."""
    pairs = [
        ("user[id]", "7"), ("größe", "klein"), ("日本", "語"), ("a b", "1"), ("a,b", "2"), ("100%25", "x"),
        ("empty", ""), ("tags[]", "one"), ("tags[]", "two, three"), ("tags[]", ""), ("n" * 99, ""), ("lines", "a\nb"),
    ]  # fmt: skip
    if way == "query":
        pairs.append(("line\nend", "x"))
    send(site, pairs, way)
    (upload,) = site.uploads()
    expected = {name: value for name, value in reversed(pairs)}
    assert {name: upload.metadata[name] for name in upload.metadata if name in expected} == expected
    assert upload.metadata.getlist("tags[]") == ["one", "two, three", ""]
    head = site.server.tus.head(f"/files/{upload.id}")
    assert head.headers["Upload-Metadata"] == upload.metadata.raw
    shown = site.server.app.test_cli_runner().invoke(args=["tus", "show", upload.id])
    assert json.loads(shown.output)["metadata"] == dict(upload.metadata)


@pytest.mark.parametrize("way", WAYS)
def test_secrets_are_kept_nowhere(site: Site, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the record, nor in any response or log, nor in what the commands show."""
    names = ["jwt", "accessToken", "X-Auth-Token", "password", "csrf_token", "api_key", "signature", "Authorization"]
    pairs = [
        *((name, "s3cr3t") for name in names),
        ("t", "eyJzM2NyM3Q.e30.s3cr3t"),
        ("jwt", "s3cr3t-2"),
        ("album", "2"),
    ]
    upload_id = send(site, pairs, way)
    (upload,) = site.uploads()
    assert set(upload.metadata) == {"filename", "relativePath", *(["album"] if way != WAYS[2] else [])}
    cli = site.server.app.test_cli_runner()
    shown = [
        str(site.server.tus.head(f"/files/{upload_id}").headers),
        site.flow.open("GET", path=upload_id).text,
        site.flow.open("GET", [*site.flow.spelled(FILE, 1).items(), *pairs], "status").text,
        cli.invoke(args=["tus", "show", upload_id]).output,
        cli.invoke(args=["tus", "list"]).output,
        caplog.text,
    ]
    assert upload_id in shown[1]
    assert "s3cr3t" not in "".join(shown)
    assert b"s3cr3t" not in b"".join(path.read_bytes() for path in site.server.database.parent.rglob("*.sqlite*"))


def test_a_hook_can_still_read_a_secret(plain: Site) -> None:
    """The request has it."""
    seen: list[str | None] = []
    plain.during("on_create", lambda upload: seen.append(request.args.get("token")))
    send(plain, [("token", "s3cr3t")], "query")
    assert seen == ["s3cr3t"]


@pytest.mark.parametrize(
    ("listed", "kept"), [([], set()), (["album"], {"album"}), (("token", "user[id]"), {"token", "user[id]"})]
)
def test_the_app_lists_what_is_kept(serve_plain: Serve, listed: list[str], kept: set[str]) -> None:
    """Then nothing else is, and a name that looks like a secret's is."""
    site = serve_plain(METADATA_PARAMETERS=listed)
    send(site, [("album", "2"), ("token", "t"), ("user[id]", "7"), ("filetype", "image/png")], "query")
    (upload,) = site.uploads()
    assert set(upload.metadata) == {"filename", "relativePath", *kept}


def test_a_type_in_the_query_is_the_type_of_the_download(serve_plain: Serve) -> None:
    """flow.js itself sends none."""
    site = serve_plain(DOWNLOADS=True)
    upload_id = send(site, [("filetype", "image/png")], "query")
    with site.flow.http.get(f"/files/{upload_id}") as got:
        assert (got.mimetype, got.data) == ("image/png", FILE.content)


def test_the_clients_own_names_come_first(serve_plain: Serve) -> None:
    """What the page adds under the same name is the second value."""
    site = serve_plain()
    send(site, [("filename", "b.png"), ("filetype", ""), ("relativePath", "x\\y")], "query")
    (upload,) = site.uploads()
    assert upload.metadata.filename == "a.png"
    assert upload.metadata.getlist("filename") == ["a.png", "b.png"]
    assert upload.metadata.getlist("relativePath") == ["p", "x/y"]


def test_a_path_in_the_query_leads_nowhere_else(plain: Site) -> None:
    """It is checked as the client's own is."""
    own = plain.flow.spelled(FILE, 1, {"relativePath": None})
    answer = plain.flow.http.post("/flow/?" + urlencode({**own, "relativePath": "../x"}), data=FILE.content)
    assert answer.status_code == 400
    assert plain.uploads() == []

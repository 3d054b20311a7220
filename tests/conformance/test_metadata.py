"""tus 1.0, Creation: Upload-Metadata."""

from __future__ import annotations

from pathlib import Path

import pytest

from .server import id_of
from .server import Serve
from .server import Server
from .tus_client import metadata
from .tus_client import refused

HOSTILE_NAMES = [
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\boot.ini",
    "a\r\nX-Evil: 1",
    "a\nX-Evil: 1",
    'a"; filename="b',
    "a\0b",
    "'; DROP TABLE upload; --",
    "{{7*7}}%s%n",
    "x" * 3000,
    "\u202egpj.exe",
    ".",
    "..",
    "",
    b"\xff\xfe\x00binary",
]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("filename d29ybGQ=", {"filename": "world"}),
        ("filename d29ybGQ=,is_confidential", {"filename": "world", "is_confidential": ""}),
        ("a ,b Yg==", {"a": "", "b": "b"}),
        ("a", {"a": ""}),
        ("Name bg==,name bQ==", {"Name": "n", "name": "m"}),
        ("!#$%&'*+-.^_`|~/:;=?@[]{}() YQ==", {"!#$%&'*+-.^_`|~/:;=?@[]{}()": "a"}),
        ("text w6TDtsO8IPCfjok=", {"text": "äöü 🎉"}),
        ("spaces ICAg", {"spaces": "   "}),
    ],
)
def test_metadata_is_decoded_for_the_app(server: Server, raw: str, expected: dict[str, str]) -> None:
    """Keys with base64 values, or with none, reach the hooks decoded and the client as sent."""
    seen: list[dict[str, str]] = []
    server.hooks.during["on_create"] = lambda upload: seen.append(dict(upload.metadata))
    url = server.tus.new(3, {"Upload-Metadata": raw})
    assert seen == [expected]
    assert server.tus.head(url).headers["Upload-Metadata"] == raw


@pytest.mark.parametrize(
    "raw",
    [
        "a YQ==,, b Yg==",
        ",a YQ==",
        ",",
        "a YQ==,a YQ==",
        "a YQ==,b Yg==,a",
        "a YQ== YQ==",
        "a  YQ==",
        "a Y",
        "a YQ",
        "a YQ=",
        "a Y!==",
        "a __8=",
        "a YQ==YQ==",
        "a \xe4",
        "\xe4 YQ==",
        "\u65e5".encode().decode("latin-1") + " YQ==",
        "a\tYQ==",
        "a\x7f YQ==",
    ],
)
def test_malformed_metadata_is_refused(server: Server, raw: str) -> None:
    """Empty, repeated or non-ASCII keys, third words and bad base64 answer 400 and create nothing."""
    with server.unchanged():
        refused(server.tus.create(3, {"Upload-Metadata": raw}), 400)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a YQ==, b Yg==", {"a": "a", "b": "b"}),
        ("a YQ== ,b Yg==", {"a": "a", "b": "b"}),
        ("a YQ==,", {"a": "a"}),
        ("a YQ==, ", {"a": "a"}),
        ("", {}),
    ],
)
def test_harmless_metadata_is_tolerated(server: Server, raw: str, expected: dict[str, str]) -> None:
    """Blanks around commas, a trailing comma and an empty header hurt nobody."""
    seen: list[dict[str, str]] = []
    server.hooks.during["on_create"] = lambda upload: seen.append(dict(upload.metadata))
    server.tus.new(3, {"Upload-Metadata": raw})
    assert seen == [expected]


def test_metadata_has_a_limit(serve: Serve) -> None:
    """A header above MAX_METADATA answers 400 and creates nothing."""
    server = serve(MAX_METADATA=100)
    fits = "a " + "QUFB" * 24
    assert server.tus.create(3, {"Upload-Metadata": fits}).status_code == 201
    with server.unchanged():
        refused(server.tus.create(3, {"Upload-Metadata": fits + "QUFB"}), 400)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_reach_neither_paths_nor_headers(serve: Serve, tmp_path: Path, name: str | bytes) -> None:
    """Whatever the client calls its file, it is stored under the id, and the name comes back as base64 only."""
    server = serve(DOWNLOADS=True)
    raw = metadata(filename=name, filetype=name, relativePath=name)
    url = server.tus.upload(b"abc", {"Upload-Metadata": raw})
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {file for file in files if ".sqlite" not in file} <= {id_of(url), f"{id_of(url)}.lock"}
    shown = server.tus.head(url).headers
    assert shown["Upload-Metadata"] == raw
    got = server.tus.get(url)
    assert got.data == b"abc"
    for headers in (shown, got.headers):
        assert "X-Evil" not in headers
        assert not [value for value in headers.values() if set(value) & set("\r\n\0")]


def test_the_app_sees_what_the_client_said(server: Server) -> None:
    """Hooks get the client's words unharmed: the decoded values and the raw header."""
    seen: list[tuple[str, str, str]] = []
    raw = metadata(filename="grüße.pdf", type="a/b")
    server.hooks.during["on_complete"] = lambda upload: seen.append(
        (upload.filename, upload.metadata["type"], upload.raw_metadata)
    )
    server.tus.upload(b"abc", {"Upload-Metadata": raw})
    assert seen == [("grüße.pdf", "a/b", raw)]

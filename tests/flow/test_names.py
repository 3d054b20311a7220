"""Whatever clients call their files, it never becomes a path."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from .client import Part
from .client import Sample
from .site import sample
from .site import Site

TRAVERSALS = [
    "../x", "../../../../tmp/x", "/etc/passwd", "a/b", "..", ".", "C:\\x", "\\\\host\\share", "~root", "%2e%2e%2fx",
    "con.txt", "NUL", ".partial", "a" * 32, "x; rm -rf /", "<b>x</b>", "\u202etxt.exe", "a\u200bb", "n\u00f6\u00e4",
    "\u65e5\u672c.txt", "\u3000", "\U0001f469\u200d\U0001f680.png", "\ufeff", "'\"`",
]  # fmt: skip
CONTROLS = ["a\0b", "a\nb", "a\r\nSet-Cookie: x=y", "\x1b[31m", "\x7f", "\x85"]


def below(site: Site) -> set[str]:
    """Every file around and below an app, by its path; ids are left out."""
    home = (
        site.server.database.parent.parent if "instance" in str(site.server.database) else site.server.database.parent
    )
    paths = [path.relative_to(home).as_posix() for path in Path(home).rglob("*") if path.is_file()]
    return {re.sub("[0-9a-f]{32}", "<id>", path) for path in paths if ".sqlite" not in path}


@pytest.mark.parametrize("name", TRAVERSALS)
def test_identifiers_are_data(site: Site, name: str) -> None:
    """Dots, slashes, drives, other scripts: stored under an id of the server's own, and found again."""
    file = sample(identifier=name)
    answer = site.flow.send(file)
    assert site.stored(answer) == file.content
    assert site.flow.test(file, 1).status_code == 200
    folder = site.server.folder.name
    assert below(site) <= {f"instance/{folder}/<id>", f"{folder}/<id>"}


@pytest.mark.parametrize("name", CONTROLS)
def test_identifiers_hold_no_control_characters(plain: Site, name: str) -> None:
    """NUL, line ends and their like: 400."""
    assert plain.flow.post(sample(identifier=name), 1).status_code == 400
    assert plain.flow.test(sample(identifier=name), 1).status_code == 400


@pytest.mark.parametrize("length", [1024, 1025])
def test_identifiers_have_a_length(plain: Site, length: int) -> None:
    """None at all: 400; up to 1,024: fine; beyond: 400, counted in characters."""
    status = 200 if length <= 1024 else 400
    assert plain.flow.post(sample(), 1, changes={"identifier": ""}).status_code == 400
    assert plain.flow.post(sample(identifier="i" * length), 1).status_code == status
    assert plain.flow.post(sample(identifier="\u00e9" * length), 1).status_code == status


def test_similar_identifiers_are_different(site: Site) -> None:
    """Case, trailing blanks, accents and their compositions, which some databases fold: each is its own upload."""
    names = ["id", "ID", "id ", " id", "Id", "i\u0301d", "\u00edd", "id\u3000", "id."]
    for name in names:
        site.flow.post(sample(identifier=name), 1)
    assert len(site.uploads()) == len(names)


@pytest.mark.parametrize("name", [*TRAVERSALS, "", "n" * 300, "\u65e5" * 300])
def test_file_names_are_kept_and_never_followed(site: Site, name: str) -> None:
    """The app gets the original in ``upload.filename``; nothing is ever written under it."""
    seen: list[tuple[str | None, str | None]] = []
    site.during("on_complete", lambda upload: seen.append((upload.filename, upload.metadata.get("filename"))))
    file = sample(name=name, identifier="f49", path="p")
    assert site.stored(site.flow.send(file)) == file.content
    assert seen == [(name or None, name or None)]
    assert len(site.files()) == 1


def test_names_have_a_length(plain: Site) -> None:
    """1,024 characters; beyond it 400."""
    assert plain.flow.post(sample(name="n" * 1024, path="p", identifier="i"), 1).status_code == 200
    assert (
        plain.flow.post(sample(name="\U0001f600" * 1000, path="\U0001f600" * 1000, identifier="j"), 1).status_code
        == 200
    )
    assert plain.flow.post(sample(name="n" * 1025, path="p", identifier="i"), 1).status_code == 400
    assert plain.flow.post(sample(name="a\0b", path="p", identifier="i"), 1).status_code == 400


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("dir/sub/f.txt", "dir/sub/f.txt"),
        ("/etc/passwd", "etc/passwd"),
        ("//a///b/./c/", "a/b/c"),
        ("dir\\sub\\f.txt", "dir/sub/f.txt"),
        ("\u65e5\u672c/\u8a9e.txt", "\u65e5\u672c/\u8a9e.txt"),
    ],
)
def test_relative_paths_are_made_plain(site: Site, path: str, kept: str) -> None:
    """The app gets a path without a leading slash, empty segments and dots."""
    seen: list[str] = []
    site.during("on_create", lambda upload: seen.append(upload.metadata["relativePath"]))
    site.flow.post(sample(path=path), 1)
    assert seen == [kept]


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a\\..\\x", "..", "d/" * 33 + "f", "p" * 1025, "a\0b"])
def test_relative_paths_lead_nowhere_else(plain: Site, path: str) -> None:
    """With ``..``, too deep or too long: 400."""
    assert plain.flow.post(sample(path=path), 1).status_code == 400
    assert plain.uploads() == []


def test_what_is_no_utf_8(site: Site) -> None:
    """Bytes that are no UTF-8 become U+FFFD in a form, and stay percent-encoded in a query: never surrogates."""
    file = sample(identifier="i", path="p")
    query = "&".join(f"{key}={quote(value)}" for key, value in site.flow.spelled(file, 1, {"filename": "X"}).items())
    for raw in ("%ff%fe", "%ed%a0%80", "%c3%28"):
        answer = site.flow.http.post("/flow/?" + query.replace("=X", "=" + raw), data=file.piece(1))
        assert answer.status_code == 200
    *fields, content = site.flow.parts(file, 2, {"filename": None})
    assert site.flow.form([*fields, Part("flowFilename", b"\xff\xfe"), content]).status_code == 200
    names = [upload.metadata.filename or "" for upload in site.uploads()]
    assert len(names) == 4 and all("\ufffd" in name or "%" in name for name in names)


def test_long_names_of_other_scripts(site: Site) -> None:
    """300 Chinese characters make a URL that some servers refuse with 400; flow.js then sends the chunk as a form."""
    file = Sample(b"0123456789" * 2, 10, name="\u6f22" * 300)
    length = len(quote(file.name)) * 2
    assert length > 4094  # gunicorn's longest request line, by default; see --limit-request-line
    assert site.stored(site.flow.send(file)) == file.content

r"""File and field names in the forms of browsers and other clients, none of which agree on ``"`` and ``\``."""

from __future__ import annotations

import email.message
import random
from collections.abc import Callable
from urllib.parse import quote

import pytest
import requests

from flask_resumable.core.parameters import form_parameters

from .client import BOUNDARY
from .client import FORM
from .client import form
from .client import Part
from .client import Sample
from .conftest import Serve
from .site import Site

NAMES = [
    "report\\", "\\", "\\\\", "a\\b.txt", "\\\\host\\share\\", 'a"b.txt', 'a\\"b.txt', '"', '\\"', "a;b.txt",
    'a"; name="x', "a; name=flowIdentifier", "%22", "100%", "a%0Ab", ".htaccess", "..", "...", " ",
    "n" * 1000, "\U0001f600" * 1000,
    "größe.txt", "日本\\", "a=b", "'", ",", "a\\;b", "; filename=", "x\\\\\\",
]  # fmt: skip


def browser(name: str) -> str:
    """As the HTML standard says. Backslashes are left alone."""
    return '"' + name.replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22") + '"'


def escaped(name: str) -> str:
    """As HTTP, older versions of curl and Go do."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


ENCODINGS: dict[str, Callable[[str], str]] = {
    "browser": lambda name: "filename=" + browser(name),
    "escaped": lambda name: "filename=" + escaped(name),
    "nothing escaped": lambda name: f'filename="{name}"',
    "quote escaped only": lambda name: 'filename="' + name.replace('"', '\\"') + '"',
    "extended": lambda name: f"filename*=UTF-8''{quote(name, safe='')}",
    "both": lambda name: f"filename={browser(name)}; filename*=UTF-8''{quote(name, safe='')}",
    "continued": lambda name: f"filename*0*=UTF-8''{quote(name[:5], safe='')}; filename*1*={quote(name[5:], safe='')}",
}


def sent(site: Site, disposition: str, name: str, *, separator: bytes = b"; ") -> None:
    """Send a file in a form with this description, and check what became of it."""
    file = Sample(b"abc", name=name or "x", path="p", identifier=str(random.random()))
    *fields, _ = site.flow.parts(file, 1)
    head = b'Content-Disposition: form-data; name="file"' + separator + disposition.encode("utf-8", "surrogateescape")
    body = form(fields, end=b"")
    body += b"--" + BOUNDARY.encode() + b"\r\n" + head + b"\r\nContent-Type: text/plain\r\n\r\nabc\r\n--"
    answer = site.flow.open("POST", data=body + BOUNDARY.encode() + b"--\r\n", content_type=FORM)
    assert answer.status_code == 200, answer.text
    assert site.stored(answer) == b"abc"
    assert site.uploads()[-1].metadata["relativePath"] == "p"
    if name:
        assert name in [upload.metadata.filename for upload in site.uploads()]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_file_name_is_taken(plain: Site, encoding: str) -> None:
    """However the client writes it. The name of the upload is the parameter, as it was."""
    for name in NAMES:
        sent(plain, ENCODINGS[encoding](name), name)
    assert len(plain.uploads()) == len(NAMES)


@pytest.mark.parametrize(
    "disposition",
    [
        "filename=unquoted.txt", "filename=a b.txt", "filename=größe", 'filename="open', 'filename=""', "filename=",
        'FILENAME="a"', 'filename = "a"', 'filename="a";', 'filename="a"; x', "filename*=UTF-8''%ED%A0%80",
        "filename*=UTF-16''a", "filename*=%", 'filename="a\udcff\udcfe"', 'filename="a\udced\udca0\udc80"',
        'filename="a\nb"', 'filename="a\rb"', 'filename="a\0b"', "filename=\"a\"; filename=\"b\"",
    ],
)  # fmt: skip
def test_malformed_names_are_taken(plain: Site, disposition: str) -> None:
    """Nothing depends on them: bytes that are not UTF-8, line breaks, missing quotes."""
    sent(plain, disposition, "")


def test_folded_headers_are_taken(plain: Site) -> None:
    """Libraries for mail fold them."""
    sent(plain, 'filename="a.txt"', "", separator=b";\r\n ")


def test_a_line_break_in_another_header_is_refused(plain: Site) -> None:
    """It is not clear what the client means."""
    file = Sample(b"abc")
    *fields, content = plain.flow.parts(file, 1)
    broken = Part("file", b"abc", "blob", ["Content-Type: text/plain\nX: y"])
    answer = plain.flow.form([*fields, broken])
    assert (answer.status_code, "line break" in answer.text) == (400, True)


@pytest.mark.parametrize("name", [name for name in NAMES if len(name) < 1000])
def test_names_that_requests_sends(plain: Site, name: str) -> None:
    """A real client, with the name in the form's header and in the parameter."""
    file = Sample(b"abc", name=name, path="p", identifier="i")
    fields = plain.flow.spelled(file, 1)
    request = requests.Request("POST", "http://localhost/", data=fields, files={"file": (name, b"abc")}).prepare()
    assert isinstance(request.body, bytes)
    answer = plain.flow.open("POST", data=request.body, content_type=request.headers["Content-Type"])
    assert answer.status_code == 200, answer.text
    (upload,) = plain.uploads()
    assert upload.metadata.filename == name


@pytest.mark.parametrize(
    ("head", "key"),
    [
        ('name="tag\\"', "tag\\"),
        ('name="a\\\\b"', "a\\\\b"),
        ('name="a%22b"', 'a"b'),
        ('name="a\\"b"', 'a"b'),
        ('name="a%0D%0Ab"', "a\r\nb"),
        ("name*=UTF-8''gr%C3%B6%C3%9Fe", "größe"),
        ('name="größe"', "größe"),
        ("name=plain", "plain"),
        ('name="a"b"', 'a"b'),
    ],
)
def test_field_names(plain: Site, head: str, key: str) -> None:
    """They become metadata, so they are decoded as browsers encode them."""
    *fields, content = plain.flow.parts(Sample(b"abc"), 1)
    body = form(fields, end=b"")
    body += f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\nvalue\r\n".encode()
    body += form([content])
    assert plain.flow.form(body).status_code == 200
    (upload,) = plain.uploads()
    assert upload.metadata[key] == "value"


@pytest.mark.parametrize(
    "junk",
    [
        '"\\' * 50_000,
        "; " * 50_000,
        " " * 99_999,
        ";a" * 50_000,
        ';a="' * 50_000,
        ";a=\t" * 30_000,
        "\\" * 99_999,
        ";" + "a" * 99_999,
    ],
)
def test_no_description_takes_long(junk: str) -> None:
    """A pattern that backtracks would not come to an end here."""
    for value in ("form-data" + junk, f"form-data; name={junk}", f'form-data; name="{junk}'):
        form_parameters(value)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("report\\", "report"),
        ("C:\\dir\\a.txt", "a.txt"),
        ("..", None),
        (".htaccess", ".htaccess"),
        ("n" * 1000 + ".tar.gz", "n" * 252 + ".gz"),
        ("n" * 1000, "n" * 255),
        ("a." + "e" * 1000, "a." + "e" * 253),
        ('a";b.txt', 'a";b.txt'),
        ("a\u202etxt.exe", "atxt.exe"),
        ("a%22", "a%22"),
    ],
)
def test_downloads_have_a_harmless_name(serve_plain: Serve, name: str, shown: str | None) -> None:
    """Without folders, never a folder itself, and short enough to be stored, with its extension."""
    site = serve_plain(DOWNLOADS=True)
    upload_id = (site.flow.send(Sample(b"abc", name=name, path="p")).json or {})["id"]
    with site.flow.http.get(f"/files/{upload_id}") as got:
        header = got.headers["Content-Disposition"]
    message = email.message.EmailMessage()
    message["Content-Disposition"] = header
    assert message.get_filename() == (shown or upload_id)

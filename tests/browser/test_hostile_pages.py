"""What pages of others and uploaded files can do to a visitor's browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.tus_client import metadata
from tests.live.raw import Headers
from tests.live.raw import OCTETS
from tests.live.raw import Tus

from .browser import Browser
from .browser import Chromium
from .clients import elsewhere
from .conftest import HERE
from .demo_server import DemoServer
from .test_authentication import Start
from .test_authentication import start as start  # the apps of the guide

pytestmark = pytest.mark.browser

SCRIPT = "window.pwned = top.pwned = 1;"
HTML = f"<!doctype html><script>{SCRIPT}</script>"
SVG = f'<svg xmlns="http://www.w3.org/2000/svg"><script>{SCRIPT}</script></svg>'


@pytest.fixture
def origin() -> Iterator[str]:
    """Where a page is that means no good."""
    with elsewhere({"/": HERE / "hostile.html"}) as url:
        yield url


@pytest.fixture
def visitor(chromium: Chromium) -> Iterator[Browser]:
    """A browser that may complain."""
    with Browser(chromium) as browser:
        yield browser


def kept(server: DemoServer) -> list[str]:
    """The files that the server has."""
    return [path.name for path in server.folder.rglob("*") if path.is_file()]


def upload(server: DemoServer, content: str, **claims: str) -> str:
    """Upload a file, and return its URL."""
    body = content.encode()
    fields: Headers = {"Upload-Length": len(body), "Content-Type": OCTETS, "Upload-Metadata": metadata(**claims)}
    answer = Tus(server.port).request("POST", "/files/", fields, body)
    assert answer.status == 201
    return f"{server.url}/files/{answer.headers['location'].rpartition('/')[2]}"


def test_a_foreign_form_creates_no_upload_of_tus(visitor: Browser, server: DemoServer, origin: str) -> None:
    """No form can send the headers of tus or the draft. Without CSRF protection, it can send chunks of flow.js."""
    visitor.goto(server.url)
    visitor.goto(origin)
    assert visitor.evaluate(f'submitTo("{server.url}/files/")')
    assert kept(server) == []
    assert visitor.evaluate(f'submitTo("{server.url}/flow/")')
    assert len(server.digests()) == 1  # so the form is right


def test_a_foreign_form_is_refused_without_its_token(visitor: Browser, start: Start, origin: str) -> None:
    """With CSRF protection as in the guide, it cannot send chunks either, although the visitor's cookies come along."""
    server = start("flask_wtf")
    visitor.goto(server.url)
    visitor.goto(origin)
    assert visitor.evaluate(f'submitTo("{server.url}/flow/")')
    assert kept(server) == []


@pytest.mark.parametrize(
    ("content", "filename", "filetype"),
    [
        (HTML, "a.html", "text/html"),
        (HTML, "a.xhtml", "application/xhtml+xml"),
        (SVG, "a.svg", "image/svg+xml"),
        (HTML, "a.txt", ""),
    ],
)
def test_a_file_with_a_script_is_only_saved(
    visitor: Browser, server: DemoServer, content: str, filename: str, filetype: str
) -> None:
    """A visitor who follows its link gets a file, and nothing runs."""
    url = upload(server, content, filename=filename, filetype=filetype)
    visitor.goto(server.url)
    visitor.evaluate(f"void document.body.insertAdjacentHTML('afterbegin', '<a id=evil href={url}>A film</a>')")
    assert visitor.download("#evil").read_text() == content
    assert visitor.evaluate("[location.pathname, window.pwned]") == ["/", None]


def test_a_text_that_looks_like_a_page_is_a_text(visitor: Browser, server: DemoServer) -> None:
    """It is shown as it is."""
    visitor.goto(upload(server, HTML, filename="a.txt", filetype="text/plain"))
    assert visitor.evaluate("[document.contentType, document.scripts.length]") == ["text/plain", 0]
    assert visitor.evaluate("document.body.innerText") == HTML


@pytest.mark.parametrize("filetype", ["text/plain", "text/javascript", "image/png", ""])
def test_a_file_is_no_script_for_others(visitor: Browser, server: DemoServer, origin: str, filetype: str) -> None:
    """A page cannot run it, whatever its client claims it to be."""
    url = upload(server, SCRIPT, filename="a.js", filetype=filetype)
    visitor.goto(origin)
    assert visitor.evaluate(f'run("{url}")') == "refused"
    assert visitor.evaluate("window.pwned") is None

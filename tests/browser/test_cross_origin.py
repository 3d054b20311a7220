"""Pages of another origin."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .browser import Browser
from .browser import Chromium
from .clients import elsewhere
from .conftest import HERE
from .demo_server import DemoServer
from .demo_server import ROOT

pytestmark = pytest.mark.browser

CONTENT = bytes(range(250)) * 10
PAGES = {
    "/": HERE / "cross_origin.html",
    "/cross_origin.js": HERE / "cross_origin.js",
    "/tus.min.js": ROOT / "demo/node_modules/tus-js-client/dist/tus.min.js",
}


@pytest.fixture
def other_origin() -> Iterator[str]:
    """Another origin."""
    with elsewhere(PAGES) as url:
        yield url


@pytest.fixture
def upload(chromium: Chromium, other_origin: str) -> Iterator[Callable[[DemoServer], Any]]:
    """Upload from the other origin; returns what tus-js-client came to."""
    with Browser(chromium) as browser:
        browser.goto(other_origin)
        yield lambda server: browser.evaluate(f'uploadTo("{server.url}/files/", {list(CONTENT)})')


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., DemoServer]]:
    """Start the demo with other settings."""
    servers: list[DemoServer] = []

    def start(**settings: Any) -> DemoServer:
        servers.append(DemoServer(tmp_path, **settings))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def test_allowed_origin(
    other_origin: str, start: Callable[..., DemoServer], upload: Callable[[DemoServer], Any]
) -> None:
    """A page of an origin in CORS_ORIGINS uploads and resumes: the browser lets tus-js-client read every header."""
    server = start(CORS_ORIGINS=[other_origin])
    outcome = upload(server)
    assert outcome["methods"] == ["POST", "PATCH", "HEAD", "PATCH", "PATCH"]
    assert outcome["url"].startswith(f"{server.url}/files/")
    assert server.digests() == [hashlib.sha256(CONTENT).hexdigest()]


@pytest.mark.parametrize(
    "settings",
    [
        {"CORS_HEADERS": ["X-API-Key", "traceparent", "baggage"], "CORS_EXPOSE_HEADERS": ["X-Document"]},
        {"CORS_HEADERS": "*", "CORS_EXPOSE_HEADERS": "*", "CORS_CREDENTIALS": True},
    ],
    ids=["listed", "any"],
)
def test_guarded_app(
    other_origin: str, tmp_path: Path, chromium: Chromium, start: Callable[..., DemoServer], settings: dict[str, Any]
) -> None:
    """A page sends and reads headers of the app, with and without cookies, although the app refuses requests without a
    key; and tus-js-client resumes after a 429.
    """
    (tmp_path / "asked").mkdir()
    environ = {"GUARDED": str(tmp_path / "asked")}
    server = start(app="tests.browser.guarded", environ=environ, CORS_ORIGINS=[other_origin], **settings)
    with Browser(chromium) as browser:
        browser.goto(other_origin)
        has_credentials = str("CORS_CREDENTIALS" in settings).lower()
        outcome = browser.evaluate(f'uploadGuarded("{server.url}", {list(CONTENT)}, {has_credentials})')
    assert outcome.get("error") is None
    assert outcome["methods"] == ["POST 201", "PATCH 204", "HEAD 423", "HEAD 200", "PATCH 204", "PATCH 204"]
    assert (outcome["tus"], outcome["flow"]) == (["7", "8"], ["7", "8"])
    assert (outcome["complete"], outcome["refused"]) == (True, 401)
    assert server.digests() == [hashlib.sha256(CONTENT).hexdigest()] * 2


def test_other_origin(start: Callable[..., DemoServer], upload: Callable[[DemoServer], Any]) -> None:
    """A page of any other origin cannot create uploads."""
    server = start(CORS_ORIGINS=["https://example.org"])
    assert "failed to create upload" in upload(server)["error"]
    assert server.uploads()["unfinished"] == []

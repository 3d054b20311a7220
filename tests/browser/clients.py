"""A page with flow.js and its kin, for what the demo does not show; served by the app, or from elsewhere."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import SimpleHTTPRequestHandler
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from flask import Flask
from flask import send_file

from demo.app import create_app as create_demo

from .browser import Browser

HERE = Path(__file__).resolve().parent
PAGES = {
    "/clients/": HERE / "clients.html",
    "/clients/clients.js": HERE / "clients.js",
    "/clients/flow.min.js": HERE / "node_modules/@flowjs/flow.js/dist/flow.min.js",
    "/clients/resumable.js": HERE / "node_modules/resumablejs/resumable.js",
    "/clients/uploader.js": HERE / "node_modules/simple-uploader.js/dist/uploader.js",
}


def create_app() -> Flask:
    """The demo with the page, on the same origin. Uploads expire after CLIENTS_EXPIRATION, in seconds."""
    seconds = float(os.environ.get("CLIENTS_EXPIRATION", "86400"))
    app = create_demo({"RESUMABLE_EXPIRATION": timedelta(seconds=seconds)})
    for url, path in PAGES.items():
        app.add_url_rule(url, url, send_file, defaults={"path_or_file": path})
    return app


@contextmanager
def elsewhere(pages: dict[str, Path]) -> Iterator[str]:
    """A server of another origin, which has pages and takes no uploads."""

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            return str(pages.get(path, HERE / "absent"))

        def log_message(self, *args: object) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Client:
    """One of the libraries, in a page of its own."""

    def __init__(self, browser: Browser, library: str, origin: str, target: str) -> None:
        self.browser = browser
        self.library = library
        self.target = target
        browser.goto(f"{origin}/clients/")

    def begin(self, **options: Any) -> None:
        """Get ready for files."""
        options = {"library": self.library, "target": self.target} | options
        self.browser.evaluate(f"begin({json.dumps(options)})")

    def send(self, *files: Path) -> None:
        self.browser.choose(*files, within="#files")

    def send_folder(self, folder: Path) -> None:
        self.browser.choose(folder, within="#folder")

    def wait(self) -> dict[str, Any]:
        """Wait until the library says that all is over; what happened."""
        self.browser.wait_for('body[data-state="complete"]')
        return self.story()

    def story(self) -> dict[str, Any]:
        """What has happened."""
        story: dict[str, Any] = self.browser.evaluate("story")
        return story

    def count(self, method: str) -> int:
        """How many requests were answered."""
        return sum(1 for request in self.story()["requests"] if request["method"] == method and request["status"])

"""An app with a page for each upload field in docs/browsers.md, with the page's own script."""

from __future__ import annotations

import re
from typing import Any

from flask import abort
from flask import Flask
from flask import send_file

from flask_resumable import FlaskResumable
from tests.prerequisites import ROOT

PAGE = (ROOT / "docs" / "browsers.md").read_text()
PACKAGES = ROOT / "tests" / "browser" / "widgets"
FILES = {
    "tus.min.js": ROOT / "demo/node_modules/tus-js-client/dist/tus.min.js",
    "uppy.min.mjs": ROOT / "demo/node_modules/uppy/dist/uppy.min.mjs",
    "uppy.min.css": ROOT / "demo/node_modules/uppy/dist/uppy.min.css",
    "filepond.min.js": PACKAGES / "node_modules/filepond/dist/filepond.min.js",
    "dropzone-min.js": PACKAGES / "node_modules/dropzone/dist/dropzone-min.js",
}
SCRIPTS = '<!doctype html><link rel="icon" href="data:,"><script src="/static/tus.min.js"></script>'
FIELDS = {
    "FilePond": '<script src="/static/filepond.min.js"></script><form><input type="file" id="file"></form>',
    "Dropzone": '<script src="/static/dropzone-min.js"></script><div id="files" class="dropzone"></div>',
}
AFTER = {"FilePond": "var pond = FilePond.create(document.getElementById('file'))", "Dropzone": ""}


class Uploads(FlaskResumable):
    """Prints what the page's client has done."""

    def on_complete(self, upload: Any) -> None:
        print(f"{upload.filename}: {upload.length} bytes of {upload.metadata.filetype}, {upload.id}", flush=True)

    def post_delete(self, upload: Any) -> None:
        print(f"deleted {upload.id}", flush=True)


def blocks(language: str, mark: str) -> str:
    """The one example that has the mark."""
    (found,) = (code for code in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if mark in code)
    return str(found)


def create_app() -> Flask:
    """The app, without a folder for static files of its own."""
    app = Flask(__name__, static_folder=None)
    app.config.from_prefixed_env()
    Uploads(app)

    @app.get("/static/<name>")
    def static(name: str) -> Any:
        return send_file(FILES.get(name) or abort(404))

    @app.get("/<name>")
    def page(name: str) -> str:
        if name == "Uppy":
            return '<link rel="icon" href="data:,">' + blocks("html", "Uppy")
        return f"{SCRIPTS}{FIELDS[name]}<script>{blocks('js', name + '.')}\n{AFTER[name]}</script>"

    return app

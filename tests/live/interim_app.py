"""An app whose view sends an interim answer, and says whether it did."""

from __future__ import annotations

from flask import Flask
from flask import request

from flask_resumable.wsgi.interim import send_interim


def create_app() -> Flask:
    """For any WSGI server."""
    app = Flask("interim")

    @app.route("/", methods=["GET", "POST"])
    def index() -> str:
        first = send_interim(request.environ, 104, "Upload Resumption Supported", {"Location": "/files/1"})
        size = len(request.get_data())
        second = send_interim(request.environ, 104, "Upload Resumption Supported", {"Upload-Offset": str(size)})
        return f"{first} {second} {size}"

    @app.route("/files/", methods=["OPTIONS"])
    def is_up() -> tuple[str, int]:
        return "", 204

    return app

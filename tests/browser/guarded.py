"""The demo in an app that lets nobody upload without a key, and has limits."""

from __future__ import annotations

import os
from pathlib import Path

from flask import abort
from flask import Flask
from flask import request
from flask import Response

from demo.app import create_app as create_demo


def create_app() -> Flask:
    """GUARDED is a folder in which the processes of the app keep which uploads were asked for."""
    app = create_demo()
    asked = Path(os.environ["GUARDED"])

    @app.before_request
    def guard() -> None:
        if request.blueprint in app.blueprints and request.headers.get("X-API-Key") != "k3y":
            abort(401)
        upload_id = (request.view_args or {}).get("upload_id", "")
        if request.method == "HEAD" and upload_id and not (asked / upload_id).exists():
            (asked / upload_id).touch()
            abort(429)

    @app.after_request
    def mark(response: Response) -> Response:
        response.headers["X-Document"] = "7"
        response.headers["Access-Control-Expose-Headers"] = "X-Own"
        response.headers["X-Own"] = "8"
        return response

    return app

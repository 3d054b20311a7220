"""The app under test, with progress responses that come at once."""

from __future__ import annotations

from flask import Flask

from flask_resumable.protocols.ietf import interim

from . import app


def create_app() -> Flask:
    """For any WSGI server."""
    interim.INTERVALS = (0.0, 0.0, 0.0)
    return app.create_app()

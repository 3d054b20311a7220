"""Cross-origin pages: which may upload, and what they may read of the answers."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Request
from flask import Response

from ..settings.base import ProtocolSettings


def allow_origin(
    request: Request,
    response: Response,
    settings: ProtocolSettings,
    *,
    methods: Sequence[str],
    request_headers: Sequence[str],
    response_headers: Sequence[str],
) -> None:
    """Add what a browser needs to let a page of another origin upload, if the settings name that origin.

    Spec: Fetch, "HTTP extensions for CORS".
    """
    if not settings.cors_origins:
        return
    any_origin = "*" in settings.cors_origins
    if not any_origin:
        response.vary.add("Origin")
    origin = request.headers.get("Origin")
    if origin is None or not (any_origin or origin in settings.cors_origins):
        return
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = "*" if any_origin else origin
    if settings.cors_credentials:
        headers["Access-Control-Allow-Credentials"] = "true"
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        headers["Access-Control-Allow-Methods"] = ", ".join(methods)
        headers["Access-Control-Allow-Headers"] = ", ".join((*request_headers, "Authorization", "X-CSRFToken"))
        headers["Access-Control-Max-Age"] = str(settings.cors_max_age)
    else:
        headers["Access-Control-Expose-Headers"] = ", ".join(response_headers)

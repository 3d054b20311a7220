"""A dialect whose responses are counted."""

from __future__ import annotations

from dataclasses import replace

from flask import request
from flask import Response
from werkzeug.exceptions import HTTPException

from ..interfaces.observer import Observer
from .blueprint import METHODS
from .plug import Dialect
from .responses import ERROR


def observed(dialect: Dialect, observer: Observer) -> Dialect:
    """Return the dialect, with an observer that is told of each response."""

    def finish(response: Response) -> Response:
        response = dialect.finish(response)
        method = request.method if request.method in METHODS else "other"
        observer.responded(dialect.name, method, response.status_code, request.environ.get(ERROR))
        return response

    def on_http_error(error: HTTPException) -> Response:
        cause = getattr(error, "original_exception", None)
        request.environ[ERROR] = type(cause or error).__name__
        return dialect.on_http_error(error)

    return replace(dialect, finish=finish, on_http_error=on_http_error)

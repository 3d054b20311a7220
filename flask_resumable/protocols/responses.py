"""From replies and errors to Flask's responses, for every protocol."""

from __future__ import annotations

from flask import current_app
from flask import request
from flask import Response
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import InternalServerError

from ..errors import ResumableError
from ..errors import Unavailable
from .reply import Reply

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Bare(Response):
    """A response without content, and so without a type."""

    default_mimetype = None


def respond(reply: Reply, content_type: str = TEXT) -> Response:
    """A reply as Flask wants it."""
    if not reply.body:
        return Bare(status=reply.status, headers=reply.headers)
    return Response(reply.body, status=reply.status, headers=reply.headers, content_type=content_type)


def respond_to_error(error: ResumableError, reply: Reply, content_type: str = TEXT) -> Response:
    """An error of ours, as ``reply`` says it; what a hook passed to ``abort()`` goes before that."""
    if isinstance(error, Unavailable):
        current_app.logger.error("%s %s: %s", request.method, request.path, error, exc_info=error)
    if isinstance(error.__cause__, HTTPException):
        return with_details(error.__cause__, reply, content_type)
    return respond(reply, content_type)


def with_details(error: HTTPException, reply: Reply, content_type: str = TEXT) -> Response:
    """The response that ``abort()`` was given, or ours with the error's own headers: Allow, Content-Range ..."""
    if isinstance(error.response, Response):
        return error.response
    response = respond(reply, content_type)
    response.headers.update({name: value for name, value in error.get_headers() if name != "Content-Type"})
    return response


def text_of(error: HTTPException) -> str:
    """What to tell the client of an error of Flask, Werkzeug or a hook; of a bug, only that it is one."""
    if isinstance(error, InternalServerError) and error.original_exception is not None:
        return "The server failed; try again later."
    return error.description or error.name


def is_misleading(response: Response, method: str) -> bool:
    """Whether it is a redirect: a client would follow it to some page and take its 200 for an answer."""
    return 300 <= response.status_code < 400 and method != "GET"

"""Converts replies and errors to Flask responses, for every protocol."""

from __future__ import annotations

from urllib.parse import quote
from urllib.parse import urlencode
from urllib.parse import urlsplit
from urllib.parse import urlunsplit

from flask import current_app
from flask import request
from flask import Response
from flask import url_for
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import InternalServerError

from ..core.grant import PARAMETER
from ..core.printable import printable
from ..errors import ResumableError
from ..errors import Unavailable
from ..wsgi.query import query_of
from .reply import Reply

_TEMPORARY = (408, 425, 429)  # a timeout, too early, too many requests
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
ERROR = "flask_resumable.error"  # in the environ: the name of the error that a request is answered with


class Bare(Response):
    """A response without content, and so without a content type."""

    default_mimetype = None


def respond(reply: Reply, content_type: str = TEXT) -> Response:
    """Convert a reply to a Flask response."""
    if not reply.body and not reply.content:
        return Bare(status=reply.status, headers=reply.headers)
    response = Response(reply.content or reply.body, status=reply.status, content_type=content_type)
    response.headers.update(reply.headers)
    return response


def respond_to_error(error: ResumableError, reply: Reply, content_type: str = TEXT) -> Response:
    """Return ``reply`` as the response to an error. A response that a hook passed to ``abort()`` takes precedence."""
    request.environ[ERROR] = type(error).__name__
    if isinstance(error, Unavailable) and not error.is_logged:
        method, path = printable(request.method), printable(request.path)
        current_app.logger.error("%s %s: %s", method, path, printable(error), exc_info=error)
    if isinstance(error.__cause__, HTTPException):
        return with_details(error.__cause__, reply, content_type)
    return respond(reply, content_type)


def with_details(error: HTTPException, reply: Reply, content_type: str = TEXT) -> Response:
    """Return the response that was passed to ``abort()``, or ``reply`` with the error's own headers, such as Allow."""
    if isinstance(error.response, Response):
        return error.response
    response = respond(reply, content_type)
    response.headers.update({name: value for name, value in error.get_headers() if name != "Content-Type"})
    return response


def text_of(error: HTTPException) -> str:
    """Return what clients are told about an error of Flask, Werkzeug or a hook. Bugs are not described."""
    if isinstance(error, InternalServerError) and error.original_exception is not None:
        return "The server failed; try again later."
    return error.description or error.name


def location_of(upload_id: str, *, endpoint: str | None, is_absolute: bool) -> str:
    """Return the URL of an upload. By default, it is relative to the request's own, which is right behind any proxy.

    :param endpoint: The public URL of the protocol, if the app has set one.
    """
    if endpoint is not None:
        return _with_token(endpoint + upload_id)
    if is_absolute:
        return _with_token(url_for(".resource", upload_id=upload_id, _external=True))
    return _with_token(request.path.rpartition("/")[2] + ("" if request.path.endswith("/") else "/") + upload_id)


def _with_token(url: str) -> str:
    """Add the token that the client has sent in the query, because its later requests need it as well."""
    token = query_of(request).get(PARAMETER) if PARAMETER in request.environ.get("QUERY_STRING", "") else None
    return f"{url}?{urlencode({PARAMETER: token})}" if token else url


def public_url_for(
    endpoint: str,
    upload_id: str,
    *,
    _external: bool = True,
    _scheme: str | None = None,
    _anchor: str | None = None,
    _method: str | None = None,
    **values: object,
) -> str:
    """Return a URL below a public one, which needs neither a request nor ``SERVER_NAME``.

    The options are those of :func:`flask.url_for`. All methods have the same URL here.
    """
    url = urlsplit(endpoint + upload_id)
    query = urlencode({name: value for name, value in values.items() if value is not None}, doseq=True)
    fragment = "" if _anchor is None else quote(_anchor, safe="%!#$&'()*+,/:;=?@")
    if not _external:
        return urlunsplit(("", "", url.path, query, fragment))
    return urlunsplit((_scheme or url.scheme, url.netloc, url.path, query, fragment))


def is_misleading(response: Response, method: str) -> bool:
    """Whether this is a redirect, which a client would follow to some page and take its 200 for success."""
    return 300 <= response.status_code < 400 and method != "GET"


def is_temporary(response: Response) -> bool:
    """Whether the same request may succeed later, although the response says that there is a problem."""
    return response.status_code >= 500 or response.status_code in _TEMPORARY


def retry_as(response: Response, status: int) -> None:
    """Give a response a status after which clients try again, and say when."""
    response.status_code = status
    response.headers.setdefault("Retry-After", "1")

"""Reads the query of a request, which may be anything."""

from __future__ import annotations

from flask import Request
from werkzeug.datastructures import MultiDict

from ..errors import InvalidRequest


def query_of(request: Request) -> MultiDict[str, str]:
    """Return the parameters in the query.

    :raises InvalidRequest: The query has bytes that are not UTF-8. Percent-encoded ones are replaced instead.
    """
    try:
        return request.args
    except UnicodeDecodeError:  # WSGI servers let such bytes through, and Werkzeug would fail
        raise not_utf8() from None


def not_utf8() -> InvalidRequest:
    """Return the error for a query that Werkzeug cannot decode."""
    return InvalidRequest("The query of the URL is not UTF-8; percent-encode its parameters.")

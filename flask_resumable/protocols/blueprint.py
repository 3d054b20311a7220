"""Creates a blueprint for each URL, and sees that every response is in the client's own dialect."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from flask import abort
from flask import Blueprint
from flask import request
from flask import Response
from werkzeug.exceptions import default_exceptions
from werkzeug.exceptions import HTTPException

from ..errors import ConfigurationError
from ..errors import ResumableError
from ..errors import UploadNotFound
from ..wsgi.first_reader import watch_input
from ..wsgi.unread import rest_of
from .cors import add_cors_headers_last
from .cors import is_preflight
from .cors import offer_cors
from .plug import Dialect

# All methods are routed, so that the protocol itself refuses the others. tus can also override the method in a header.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_REACHED = "flask_resumable.reached"  # in the environ: whether a view was called
_OF_CONTENT = ("Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "ETag", "Location")


def blueprints_for(dialects: Iterable[Dialect]) -> dict[str, Blueprint]:
    """Create a blueprint for each dialect, by the dialect's name. Dialects that share a URL share a blueprint.

    :raises ConfigurationError: Two dialects at the same URL cannot be told apart.
    """
    by_url: dict[str, list[Dialect]] = {}
    for dialect in dialects:
        by_url.setdefault(dialect.url, []).append(dialect)
    return {
        dialect.name: blueprint
        for sharers in by_url.values()
        for blueprint in [_mounted(_ordered(sharers))]
        for dialect in sharers
    }


def _ordered(dialects: Sequence[Dialect]) -> list[Dialect]:
    """Sort the dialects: first those that recognize their requests, then the one that takes all others."""
    rest = [dialect for dialect in dialects if dialect.speaks is None]
    if len(rest) > 1:
        keys = " and ".join(f"{dialect.name.upper()}_UPLOAD_URL" for dialect in rest)
        raise ConfigurationError(f"{keys} are the same ({rest[0].url}): set them to different URLs.")
    return [*(dialect for dialect in dialects if dialect.speaks is not None), *rest]


def _mounted(dialects: list[Dialect]) -> Blueprint:
    url = dialects[0].url
    name = f"resumable_{dialects[-1].name}"
    blueprint = Blueprint(name, __name__, url_prefix=url.rstrip("/") or None)
    spoken = _chooser(dialects)

    def on_error(error: ResumableError) -> Response:
        return spoken().on_error(error)

    def on_http_error(error: HTTPException) -> Response:
        return spoken().on_http_error(error)

    def on_bug(error: Exception) -> Response:
        raise error  # so Flask logs it, and asks on_http_error for the response

    def finish(response: Response) -> Response:
        is_lost = request.blueprint != name
        if is_lost and (request.routing_exception is None or not _is_below(url)):
            return response
        dialect = spoken()
        if is_lost:
            response = dialect.on_lost(response.status_code)
        elif _REACHED not in request.environ and _is_page(response):
            response = _as_error(response, dialect)
        response = dialect.finish(response)
        if dialect.cors is not None:
            offer_cors(request, dialect.cors)
        for other in dialects:
            if other is not dialect and other.complement is not None:
                response = other.complement(response)
        if (skip_rest := rest_of(request.environ)) is not None:
            response.call_on_close(skip_rest)
        return response

    views = {rule: _view(rule, dialects, spoken) for dialect in dialects for rule in dialect.rules}

    def answer_preflight(endpoint: str | None, values: dict[str, Any] | None) -> None:
        """Answer preflights before any ``before_request`` function: browsers send them without cookies and tokens."""
        if not is_preflight(request):
            return
        origin = request.headers["Origin"]
        if any(dialect.cors is not None and dialect.cors.origins.allow(origin) for dialect in dialects):
            # Not the view that the app knows, which it may have wrapped to require a login.
            (view,) = (view for view in views.values() if endpoint == f"{name}.{view.__name__}")
            try:
                response = view(**(values or {}))
            except ResumableError as error:
                response = on_error(error)
            abort(response)

    for rule, view in views.items():
        blueprint.add_url_rule(
            rule,
            view_func=view,
            methods=METHODS,
            provide_automatic_options=False,
            strict_slashes=False,  # both would answer a mistake with a redirect
            merge_slashes=False,
        )
    if any(dialect.cors is not None for dialect in dialects):
        blueprint.url_value_preprocessor(answer_preflight)
        blueprint.record(lambda setup: add_cors_headers_last(setup.app))
    blueprint.url_value_preprocessor(watch_input)
    blueprint.register_error_handler(ResumableError, on_error)
    blueprint.register_error_handler(HTTPException, on_http_error)
    # Handlers of the app are for people, but Flask prefers them if they are for a status or for every exception.
    for status in default_exceptions:
        blueprint.register_error_handler(status, on_http_error)
    blueprint.register_error_handler(Exception, on_bug)
    blueprint.after_app_request(finish)
    return blueprint


def _chooser(dialects: Sequence[Dialect]) -> Callable[[], Dialect]:
    """Return a function that finds the dialect of the current request, which by default is the last one."""
    *others, last = dialects
    key = f"flask_resumable.dialect.{last.name}"  # in the environ, because several steps of a request ask

    def find() -> Dialect:
        for dialect in others:
            if dialect.speaks is not None and dialect.speaks(request):
                return dialect
        return last

    def spoken() -> Dialect:
        found: Dialect | None = request.environ.get(key)
        if found is None:
            found = request.environ[key] = find()
        return found

    return spoken if others else lambda: last


def _view(rule: str, dialects: Sequence[Dialect], spoken: Callable[[], Dialect]) -> Callable[..., Response]:
    """Return the view for a rule. Its name becomes the endpoint's name."""
    views = {dialect.name: dialect.rules[rule] for dialect in dialects if rule in dialect.rules}
    only = views[dialects[0].name] if len(dialects) == 1 else None

    def view(**arguments: str) -> Response:
        request.environ[_REACHED] = True
        if only is not None:
            return only(**arguments)
        dialect = spoken()
        if dialect.name not in views:
            raise UploadNotFound(request.path)
        return views[dialect.name](**arguments)

    view.__name__ = [*views.values()][-1].__name__
    return view


def _is_page(response: Response) -> bool:
    """Whether a function of the app that has answered instead of a view did so for people: with a page or a redirect.
    flow.js would take it for success, and tus-js-client for a fault of the server.

    OPTIONS requests are left alone, because some apps answer preflights in this way.
    """
    return request.method != "OPTIONS" and (response.status_code < 400 or response.mimetype == "text/html")


def _as_error(page: Response, dialect: Dialect) -> Response:
    """Return an error of the dialect with the status and the headers of a page, or a 401."""
    error = HTTPException("Sign in first." if page.status_code < 400 else None)
    error.code = 401 if page.status_code < 400 else page.status_code
    response = dialect.on_http_error(error)
    for name, value in page.headers:
        if name not in _OF_CONTENT:
            response.headers.add(name, value)
    response.call_on_close(page.close)
    return response


def _is_below(url: str) -> bool:
    """Whether the request is below ``url``. If routing fails there, no blueprint is known: a dialect answers anyway."""
    return url != "/" and (request.path + "/").startswith(url)

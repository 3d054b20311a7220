"""From dialects to Flask's routes: a blueprint for each URL, whose every answer is in the client's own dialect."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence

from flask import Blueprint
from flask import request
from flask import Response
from werkzeug.exceptions import HTTPException

from ..errors import ConfigurationError
from ..errors import ResumableError
from ..errors import UploadNotFound
from ..wsgi.first_reader import watch_input
from .plug import Dialect

# What is possible is for the protocol to say, in its own way; tus also has a header that replaces the method.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def blueprints_for(dialects: Iterable[Dialect]) -> dict[str, Blueprint]:
    """A blueprint for each dialect, by the dialect's name; those that share a URL share a blueprint.

    :raises ConfigurationError: Two dialects at one URL cannot be told apart.
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
    """Those that know their own requests, then the one that takes the rest."""
    rest = [dialect for dialect in dialects if dialect.speaks is None]
    if len(rest) > 1:
        keys = " and ".join(f"{dialect.name.upper()}_UPLOAD_URL" for dialect in rest)
        raise ConfigurationError(f"{keys} are the same ({rest[0].url}): set different ones.")
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

    def finish(response: Response) -> Response:
        if request.blueprint == name:
            return spoken().finish(response)
        if request.routing_exception is None or not _is_below(url):
            return response
        dialect = spoken()
        return dialect.finish(dialect.on_lost(response.status_code))

    for rule in {rule: None for dialect in dialects for rule in dialect.rules}:
        blueprint.add_url_rule(
            rule,
            view_func=_view(rule, dialects, spoken),
            methods=METHODS,
            provide_automatic_options=False,
            strict_slashes=False,  # either would answer a slip by a redirect
            merge_slashes=False,
        )
    blueprint.url_value_preprocessor(watch_input)
    blueprint.register_error_handler(ResumableError, on_error)
    blueprint.register_error_handler(HTTPException, on_http_error)
    blueprint.after_app_request(finish)
    return blueprint


def _chooser(dialects: Sequence[Dialect]) -> Callable[[], Dialect]:
    """Whose dialect the current request speaks; the last one's if it is nobody's."""
    *others, last = dialects

    def spoken() -> Dialect:
        for dialect in others:
            if dialect.speaks is not None and dialect.speaks(request):
                return dialect
        return last

    return spoken


def _view(rule: str, dialects: Sequence[Dialect], spoken: Callable[[], Dialect]) -> Callable[..., Response]:
    """What answers at a rule. Its name becomes that of the endpoint."""
    views = {dialect.name: dialect.rules[rule] for dialect in dialects if rule in dialect.rules}
    if len(dialects) == 1:
        return views[dialects[0].name]

    def view(**arguments: str) -> Response:
        dialect = spoken()
        if dialect.name not in views:
            raise UploadNotFound(request.path)
        return views[dialect.name](**arguments)

    view.__name__ = [*views.values()][-1].__name__
    return view


def _is_below(url: str) -> bool:
    """Whether the request is below ``url``. If routing fails there, no blueprint is known: a dialect answers anyway."""
    return url != "/" and (request.path + "/").startswith(url)

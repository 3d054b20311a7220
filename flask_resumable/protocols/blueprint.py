"""What the blueprints of all protocols have in common."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from flask import Blueprint
from flask import Response
from werkzeug.exceptions import HTTPException

from ..errors import ResumableError
from ..wsgi.first_reader import watch_input

# What is possible is for the protocol to say, in its own way; tus also has a header that replaces the method.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def protocol_blueprint(
    name: str,
    url: str,
    rules: Sequence[tuple[str, Callable[..., Response]]],
    *,
    on_error: Callable[[Any], Response],
    on_http_error: Callable[[HTTPException], Response],
    finish: Callable[[Response], Response],
) -> Blueprint:
    """A blueprint at ``url`` whose every answer, errors of the framework included, is the protocol's own.

    :param rules: URL rules below ``url``, and their views.
    :param finish: Called for every response of the app; it knows which are its own.
    """
    blueprint = Blueprint(name, __name__, url_prefix=url.rstrip("/") or None)
    for rule, view in rules:
        blueprint.add_url_rule(
            rule,
            view_func=view,
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

"""CORS: lets pages of other origins upload and read the responses.

The app, Flask-CORS and ``after_request`` functions may set the same headers, before or after ours. So ours are added
when all of those have run, and join what is there.

Spec: Fetch, "HTTP extensions for CORS".
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Request
from flask import request
from flask import request_finished
from flask import Response
from werkzeug.datastructures import Headers

from ..core.fields import is_token
from ..core.origins import ANY
from ..core.origins import Origins
from ..settings.base import ProtocolSettings

_OFFERS = "flask_resumable.cors"  # in the environ: the policies that apply to the response
_ASKED_METHOD = "Access-Control-Request-Method"
_ASKED_HEADERS = "Access-Control-Request-Headers"
_ORIGIN = "Access-Control-Allow-Origin"
_EXPOSED = "Access-Control-Expose-Headers"
_ALWAYS_ALLOWED = ("Authorization", "X-CSRFToken", "X-CSRF-Token")  # a wildcard would not cover Authorization
_ALWAYS_EXPOSED = ("Retry-After",)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsPolicy:
    """What pages of other origins may do with a protocol."""

    origins: Origins
    has_credentials: bool
    max_age: int
    methods: Sequence[str]
    request_headers: Sequence[str]
    response_headers: Sequence[str]

    def add_headers(self, request: Request, response: Response) -> None:
        """Add the headers for the page that sent the request, if it is allowed."""
        if not self.origins.are_any:
            response.vary.add("Origin")
        origin = request.headers.get("Origin")
        # Without an Origin header, a response for any origin may still be put into a cache that pages use.
        if not self.origins.are_any if origin is None else not self.origins.allow(origin):
            return
        self._let_in(origin, response.headers)
        if not is_preflight(request):
            _merge(response.headers, _EXPOSED, self._exposed(response.headers))
            return
        if ANY in self.request_headers:
            response.vary.add(_ASKED_HEADERS)
        _merge(response.headers, "Access-Control-Allow-Methods", self.methods)
        _merge(response.headers, "Access-Control-Allow-Headers", self._allowed(request.headers.get(_ASKED_HEADERS, "")))
        response.headers.setdefault("Access-Control-Max-Age", str(self.max_age))

    def _let_in(self, origin: str | None, headers: Headers) -> None:
        """Allow the origin, unless something else already has. There must be only one such header."""
        present = headers.get(_ORIGIN)
        lets_in = present is not None and (
            origin is None or present == origin or (present == ANY and not self.has_credentials)
        )
        if not lets_in:
            headers[_ORIGIN] = ANY if self.origins.are_any or origin is None else origin
        if self.has_credentials:
            headers["Access-Control-Allow-Credentials"] = "true"

    def _allowed(self, asked: str) -> Iterable[str]:
        # The names themselves, because browsers take "*" literally in requests with credentials.
        more = map(str.strip, asked.split(",")) if ANY in self.request_headers else ()
        return [*(name for name in self.request_headers if name != ANY), *filter(is_token, more)]

    def _exposed(self, headers: Headers) -> Iterable[str]:
        names = {name.lower() for name in headers.keys()} - {"set-cookie"} if ANY in self.response_headers else set()
        return [*(name for name in self.response_headers if name != ANY), *sorted(names)]


def cors_policy(
    settings: ProtocolSettings,
    *,
    methods: Sequence[str],
    request_headers: Sequence[str],
    response_headers: Sequence[str],
) -> CorsPolicy | None:
    """Return the policy of a protocol, or ``None`` if only the app's own pages may upload.

    :param request_headers: The headers that clients of the protocol send.
    :param response_headers: The headers that they read.
    """
    if not settings.cors_origins:
        return None
    return CorsPolicy(
        origins=Origins(settings.cors_origins),
        has_credentials=settings.cors_credentials,
        max_age=settings.cors_max_age,
        methods=methods,
        request_headers=(*request_headers, *_ALWAYS_ALLOWED, *settings.cors_headers),
        response_headers=(*response_headers, *_ALWAYS_EXPOSED, *settings.cors_expose_headers),
    )


def is_preflight(request: Request) -> bool:
    """Whether a browser asks if a page of another origin may send a request."""
    return request.method == "OPTIONS" and "Origin" in request.headers and _ASKED_METHOD in request.headers


def offer_cors(request: Request, policy: CorsPolicy) -> None:
    """Let a policy apply to the response to this request."""
    request.environ.setdefault(_OFFERS, []).append(policy)


def add_cors_headers_last(app: object) -> None:
    """Add the CORS headers to responses of an app, after all ``after_request`` functions."""
    request_finished.connect(_add_headers, app)


def _add_headers(app: object, response: Response, **extra: Any) -> None:
    policies: Sequence[CorsPolicy] = request.environ.get(_OFFERS, ())
    for policy in policies:
        policy.add_headers(request, response)


def _merge(headers: Headers, name: str, values: Iterable[str]) -> None:
    """Add values to a header that is a list. Names of headers are the same in upper and lower case."""
    present = [value.strip() for line in headers.getlist(name) for value in line.split(",")]
    known: dict[str, str] = {}
    for value in filter(None, (*present, *values)):
        known.setdefault(value.lower(), value)
    headers[name] = ", ".join(known.values())

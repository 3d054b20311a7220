"""The interface between a protocol and the rest of the extension.

The package of a protocol has ``messages.py`` and ``errors.py`` (pure), ``settings.py``, ``views.py``, and
``server.py``, which combines them into a :class:`Plug`. ``registry.py`` lists the plugs. No other module imports
a protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from flask import Request
from flask import Response
from werkzeug.exceptions import HTTPException

from ..errors import ResumableError
from ..service.uploads import UploadService
from ..settings.base import ProtocolSettings
from .cors import CorsPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A protocol as an app serves it: its views below a URL, and how it responds to errors.

    Several dialects may share a URL. Then :attr:`speaks` tells whether a request is in a dialect, and one dialect takes
    all other requests. A dialect whose clients need something in the responses of the others adds it with
    :attr:`complement`.
    """

    name: str
    url: str  # with a slash at both ends
    server: object  # what its views work with; also ``current_state().protocols[name]``
    rules: Mapping[str, Callable[..., Response]]  # the views by URL rule below ``url``
    on_error: Callable[[ResumableError], Response]
    on_http_error: Callable[[HTTPException], Response]  # for errors of Flask, Werkzeug and hooks
    on_lost: Callable[[int], Response]  # for requests below ``url`` whose routing failed with this status
    finish: Callable[[Response], Response]  # called for every response, including errors
    endpoint: str | None = None  # the public URL, with a slash at its end, if the app has set one
    cors: CorsPolicy | None = None  # ``None`` if only the app's own pages may use it
    speaks: Callable[[Request], bool] | None = None  # ``None`` takes all requests that no other dialect speaks
    complement: Callable[[Response], Response] | None = None  # called for every response of another dialect at ``url``


@dataclass(frozen=True, slots=True, kw_only=True)
class Plug:
    """A protocol, before an app serves it.

    :param prefix: The prefix of its settings in ``app.config``, such as ``"TUS_"``.
    :param reserved: What follows its URL in URLs that are not an upload's, so that no upload may have it as its id.
    :param also_sets: Sections of the app's own settings that the prefix sets, too.
    :param serve: Creates the dialect from the settings and the app's service. It raises ``ConfigurationError`` if the
        app's storage lacks what the protocol needs.
    """

    name: str
    prefix: str
    settings: type[ProtocolSettings]
    serve: Callable[[Any, UploadService], Dialect]
    reserved: frozenset[str] = frozenset()
    also_sets: frozenset[type[Any]] = field(default_factory=frozenset)

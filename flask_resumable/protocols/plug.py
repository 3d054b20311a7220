"""What a protocol is to the rest of the extension: something to plug in.

A protocol's folder has ``messages.py`` and ``errors.py`` (pure), ``settings.py``, ``views.py``, and ``server.py``,
which makes a :class:`Plug` of them. ``registry.py`` lists the plugs; nothing else knows the protocols by name.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A protocol as one app serves it: views below a URL, and its way to answer.

    Several dialects may share a URL. Then :attr:`speaks` says whose a request is; one of them takes all the rest.
    """

    name: str
    url: str  # with slashes at both ends
    server: object  # what its views work with: ``current_state().protocols[name]``
    rules: Mapping[str, Callable[..., Response]]  # URL rules below ``url``, and their views
    on_error: Callable[[ResumableError], Response]
    on_http_error: Callable[[HTTPException], Response]  # errors of Flask, Werkzeug and hooks
    on_lost: Callable[[int], Response]  # routing has failed below ``url``, with this status
    finish: Callable[[Response], Response]  # called for every answer, errors included
    speaks: Callable[[Request], bool] | None = None  # ``None``: all that no other dialect speaks


@dataclass(frozen=True, slots=True, kw_only=True)
class Plug:
    """A protocol, not yet served by any app.

    :param prefix: Of its settings in ``app.config``, such as ``"TUS_"``.
    :param also_sets: Sections of the app's own settings that the prefix sets too.
    :param serve: Makes a dialect of the settings and the app's service.
    :raises ConfigurationError: ``serve`` does, if the app's storage cannot do what the protocol needs.
    """

    name: str
    prefix: str
    settings: type[ProtocolSettings]
    serve: Callable[[Any, UploadService], Dialect]
    also_sets: frozenset[type[Any]] = field(default_factory=frozenset)

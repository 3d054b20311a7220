"""The views of tus 1.0. They contain only what depends on a request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace
from functools import cache
from typing import cast

from flask import request
from flask import Response
from werkzeug.exceptions import HTTPException

from ...core.ids import ID_PATTERN
from ...core.upload import Limits
from ...core.upload import Status
from ...downloads.views import download
from ...errors import MethodNotAllowed
from ...errors import ResumableError
from ...errors import UploadNotFound
from ...state import current_state
from ...state import State
from ...wsgi.body import announced_size
from ...wsgi.body import keeps_trailers
from ...wsgi.first_reader import body_of
from ..reply import Reply
from ..responses import is_misleading
from ..responses import is_temporary
from ..responses import location_of
from ..responses import respond
from ..responses import respond_to_error
from ..responses import retry_as
from ..responses import text_of
from ..responses import with_details
from . import messages as tus
from .errors import reply_error
from .settings import TusSettings

NAME = "tus"


@dataclass(frozen=True, slots=True)
class TusServer:
    """tus, as one app serves it."""

    settings: TusSettings
    policy: tus.Policy
    limits: Limits


@dataclass(frozen=True, slots=True)
class _Site:
    """What a view works with."""

    state: State
    server: TusServer

    @property
    def policy(self) -> tus.Policy:
        """What is offered under this WSGI server. Some servers do not pass on trailers."""
        policy = self.server.policy
        return policy if keeps_trailers(request.environ) else _without_trailers(policy)


Views = dict[str, Callable[[_Site, str], Response]]


def rules_below(url: str) -> dict[str, Callable[..., Response]]:
    """Return the URL rules of tus, with their views."""
    rules: dict[str, Callable[..., Response]] = {"/": collection, "/<upload_id>": resource}
    if url != "/":  # otherwise this would hide the rest of the app
        rules["/<path:rest>"] = elsewhere
    return rules


def collection() -> Response:
    """``/files/``: create uploads, or ask what is supported."""
    return _dispatch(_site(), {"POST": _create, "OPTIONS": _options}, "")


def resource(upload_id: str) -> Response:
    """``/files/<id>``: one upload."""
    site = _site()
    views: Views = {"HEAD": _head, "PATCH": _patch, "OPTIONS": _options}
    if site.server.policy.offers("termination"):
        views["DELETE"] = _delete
    if site.state.settings.downloads:
        views["GET"] = _get
    return _dispatch(site, views, upload_id)


def elsewhere(rest: str) -> Response:
    """Anything else below ``/files/``."""
    raise UploadNotFound(rest)


def _site() -> _Site:
    state = current_state()
    return _Site(state, cast(TusServer, state.protocols[NAME]))


def _dispatch(site: _Site, views: Views, upload_id: str) -> Response:
    method = tus.effective_method(request.method, request.headers)
    if method not in views:
        raise MethodNotAllowed(f"{method} is not supported here; use {', '.join(views)}.", tuple(views))
    tus.check_version(method, request.headers, site.server.policy)
    if upload_id and method != "OPTIONS" and not ID_PATTERN.fullmatch(upload_id):
        raise UploadNotFound(upload_id)
    return views[method](site, upload_id)


@cache
def _without_trailers(policy: tus.Policy) -> tus.Policy:
    return replace(policy, extensions=policy.extensions - {"checksum-trailer"})


def _options(site: _Site, upload_id: str) -> Response:
    return respond(tus.reply_options(site.policy))


def _create(site: _Site, upload_id: str) -> Response:
    policy = site.policy
    if not policy.offers("creation"):
        raise MethodNotAllowed("This server does not let clients create uploads.", ("OPTIONS",))
    creation, content = tus.parse_creation(request.headers, announced_size(request.environ), policy)
    if (grant := site.state.grant()) is not None:
        creation = replace(creation, grant=grant)
    body = None if content is None else body_of(request, site.server.settings.idle_timeout)
    upload = site.state.service.create(
        creation,
        owner=site.state.owner(),
        limits=site.server.limits,
        content=None if content is None or body is None else (content, body),
        unfinished_parts=policy.offers("concatenation-unfinished"),
    )
    settings = site.server.settings
    location = location_of(upload.id, endpoint=settings.endpoint, is_absolute=settings.absolute_location)
    return respond(tus.reply_created(upload, location, policy, with_content=content is not None))


def _head(site: _Site, upload_id: str) -> Response:
    environ = request.environ
    is_alone = not environ.get("wsgi.multithread", True) and not environ.get("wsgi.multiprocess", True)
    upload = site.state.service.look(
        upload_id,
        owner=site.state.owner(),
        may_have_overtaken=not is_alone,
        ends_at_length="Tus-Resumable" in request.headers,
    )
    return respond(tus.reply_head(upload, site.server.policy))


def _patch(site: _Site, upload_id: str) -> Response:
    write = tus.parse_write(request.headers, announced_size(request.environ), site.policy)
    body = body_of(request, site.server.settings.idle_timeout)
    owner = site.state.owner()
    try:
        upload = site.state.service.write(upload_id, write, body, owner=owner, limits=site.server.limits)
    except ResumableError as error:
        return _refuse_with_expiry(site, upload_id, owner, error)
    return respond(tus.reply_written(upload))


def _refuse_with_expiry(site: _Site, upload_id: str, owner: str | None, error: ResumableError) -> Response:
    """Respond with an error and Upload-Expires, which tus 1.0, "Expiration", wants in every response to a PATCH."""
    response = on_error(error)
    with suppress(ResumableError):
        response.headers.update(tus.expiry_headers(site.state.service.find(upload_id, owner=owner)))
    return response


def _delete(site: _Site, upload_id: str) -> Response:
    site.state.service.delete(upload_id, owner=site.state.owner())
    return respond(tus.reply_deleted())


def _get(site: _Site, upload_id: str) -> Response:
    upload = site.state.service.find(upload_id, owner=site.state.owner())
    if upload.status is not Status.COMPLETE or upload.is_partial:
        raise UploadNotFound(upload_id)
    return download(site.state, upload, request)


# --- responses ---


def on_error(error: ResumableError) -> Response:
    """Respond to one of our errors."""
    return respond_to_error(error, reply_error(error))


def on_http_error(error: HTTPException) -> Response:
    """Respond to an error of Flask, Werkzeug or a hook in plain text, since clients cannot use an HTML page."""
    return with_details(error, Reply(status=error.code or 500, body=f"{text_of(error)}\n"))


def on_lost(status: int) -> Response:
    """Respond to a URL that does not exist."""
    method = tus.effective_method(request.method, request.headers)
    return respond(Reply(status=405 if status == 405 else 404, body=f"{method} is not supported here.\n"))


def finish(response: Response) -> Response:
    """Add the headers of every response, including the framework's own errors."""
    method = tus.effective_method(request.method, request.headers)
    if method == "HEAD" and is_temporary(response):
        # tus-js-client takes any failure of HEAD but 423 for "gone", and starts over.
        retry_as(response, 423)
    if is_misleading(response, method):
        response = respond(Reply(status=401, body="Sign in first.\n"))
    for name, value in tus.common_headers(method, response.status_code).items():
        response.headers[name] = value
    return response

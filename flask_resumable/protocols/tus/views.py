"""tus 1.0 over Flask: routes, and nothing that could be decided without a request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache

from flask import Blueprint
from flask import request
from flask import Response
from flask import url_for
from werkzeug.exceptions import HTTPException

from ...core.concat import ID_PATTERN
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
from ..blueprint import METHODS
from ..blueprint import protocol_blueprint
from ..cors import allow_origin
from ..reply import Reply
from ..responses import is_lost_below
from ..responses import is_misleading
from ..responses import respond
from ..responses import respond_to_error
from ..responses import text_of
from ..responses import with_details
from . import messages as tus
from .errors import reply_error

NAME = "resumable_tus"
Views = dict[str, Callable[[State, str], Response]]


def create_blueprint(url: str) -> Blueprint:
    """The blueprint that serves tus at ``url``."""
    rules: list[tuple[str, Callable[..., Response]]] = [("/", collection), ("/<upload_id>", resource)]
    if url != "/":  # else the rest of the app lives there
        rules.append(("/<path:rest>", elsewhere))
    return protocol_blueprint(
        NAME, url, rules, on_error=_on_error, on_http_error=_on_http_error, finish=_finish_response
    )


def collection() -> Response:
    """``/files/``: create, or ask what there is."""
    return _dispatch(current_state(), {"POST": _create, "OPTIONS": _options}, "")


def resource(upload_id: str) -> Response:
    """``/files/<id>``: one upload."""
    state = current_state()
    views: Views = {"HEAD": _head, "PATCH": _patch, "OPTIONS": _options}
    if state.tus.offers("termination"):
        views["DELETE"] = _delete
    if state.settings.downloads:
        views["GET"] = _get
    return _dispatch(state, views, upload_id)


def elsewhere(rest: str) -> Response:
    """Below ``/files/``, but nowhere."""
    raise UploadNotFound(rest)


def _dispatch(state: State, views: Views, upload_id: str) -> Response:
    method = tus.effective_method(request.method, request.headers)
    if method not in views:
        raise MethodNotAllowed(f"{method} is not possible here; {', '.join(views)} are.", tuple(views))
    tus.check_version(method, request.headers, state.tus)
    if upload_id and method != "OPTIONS" and not ID_PATTERN.fullmatch(upload_id):
        raise UploadNotFound(upload_id)
    return views[method](state, upload_id)


def _policy(state: State) -> tus.Policy:
    """What is offered under this server: some do not pass trailers on."""
    return state.tus if keeps_trailers(request.environ) else _without_trailers(state.tus)


@cache
def _without_trailers(policy: tus.Policy) -> tus.Policy:
    return replace(policy, extensions=policy.extensions - {"checksum-trailer"})


def _options(state: State, upload_id: str) -> Response:
    return respond(tus.reply_options(_policy(state)))


def _create(state: State, upload_id: str) -> Response:
    policy = _policy(state)
    if not policy.offers("creation"):
        raise MethodNotAllowed("Uploads cannot be created here.", ("OPTIONS",))
    creation, content = tus.parse_creation(request.headers, announced_size(request.environ), policy)
    body = None if content is None else body_of(request, state.settings.idle_timeout)
    upload = state.service.create(
        creation,
        owner=state.owner(),
        limits=state.limits,
        content=None if content is None or body is None else (content, body),
        unfinished_parts=state.tus.offers("concatenation-unfinished"),
    )
    return respond(tus.reply_created(upload, _location(state, upload.id), with_content=content is not None))


def _head(state: State, upload_id: str) -> Response:
    environ = request.environ
    is_alone = not environ.get("wsgi.multithread", True) and not environ.get("wsgi.multiprocess", True)
    upload = state.service.look(upload_id, owner=state.owner(), may_have_overtaken=not is_alone)
    return respond(tus.reply_head(upload))


def _patch(state: State, upload_id: str) -> Response:
    write = tus.parse_write(request.headers, announced_size(request.environ), _policy(state))
    body = body_of(request, state.settings.idle_timeout)
    owner = state.owner()
    try:
        upload = state.service.write(upload_id, write, body, owner=owner, limits=state.limits)
    except ResumableError as error:
        return _refuse_with_expiry(state, upload_id, owner, error)
    return respond(tus.reply_written(upload))


def _refuse_with_expiry(state: State, upload_id: str, owner: str | None, error: ResumableError) -> Response:
    """tus 1.0, Expiration: every answer to a PATCH tells when the upload expires, refusals included."""
    response = _on_error(error)
    with suppress(ResumableError):
        response.headers.update(tus.expiry_headers(state.service.find(upload_id, owner=owner)))
    return response


def _delete(state: State, upload_id: str) -> Response:
    state.service.delete(upload_id, owner=state.owner())
    return respond(tus.reply_deleted())


def _get(state: State, upload_id: str) -> Response:
    upload = state.service.find(upload_id, owner=state.owner())
    if upload.status is not Status.COMPLETE or upload.is_partial:
        raise UploadNotFound(upload_id)
    return download(state, upload, request)


def _location(state: State, upload_id: str) -> str:
    """Relative to the request's own URL, so that it is right behind any proxy and under any prefix."""
    if state.settings.absolute_location:
        return url_for(".resource", upload_id=upload_id, _external=True)
    return request.path.rpartition("/")[2] + ("" if request.path.endswith("/") else "/") + upload_id


def _on_error(error: ResumableError) -> Response:
    return respond_to_error(error, reply_error(error))


def _on_http_error(error: HTTPException) -> Response:
    """Errors of Flask, Werkzeug and hooks: their status as plain text. A page would be no use to a client."""
    return with_details(error, Reply(status=error.code or 500, body=f"{text_of(error)}\n"))


def _finish_response(response: Response) -> Response:
    """What every answer carries, those of the framework's own errors included."""
    state = current_state()
    method = tus.effective_method(request.method, request.headers)
    if request.blueprint != NAME:
        if not is_lost_below(state.settings.upload_url):
            return response
        status = 405 if response.status_code == 405 else 404
        response = respond(Reply(status=status, body=f"{method} is not possible here.\n"))
    if method == "HEAD" and response.status_code >= 500:
        # tus-js-client takes any failure of HEAD but 423 for "gone", and sends everything again.
        response.status_code = 423
    if is_misleading(response, method):
        response = respond(Reply(status=401, body="Sign in first.\n"))
    for name, value in tus.common_headers(method, response.status_code).items():
        response.headers[name] = value
    allow_origin(
        request,
        response,
        state.settings,
        methods=METHODS,
        request_headers=tus.REQUEST_HEADERS,
        response_headers=tus.RESPONSE_HEADERS,
    )
    return response

"""The views of the IETF draft. They contain only what depends on a request."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace
from datetime import datetime
from typing import cast

from flask import Request
from flask import request
from flask import Response
from werkzeug.exceptions import HTTPException

from ...core.ids import ID_PATTERN
from ...core.upload import Limits
from ...core.upload import Status
from ...core.upload import Upload
from ...errors import BodyIncomplete
from ...errors import MethodNotAllowed
from ...errors import ResumableError
from ...errors import UploadNotFound
from ...errors import UploadRejected
from ...state import current_state
from ...state import State
from ...wsgi.body import announced_size
from ...wsgi.body import proves_end
from ...wsgi.body import RequestBody
from ...wsgi.first_reader import body_of
from ..cors import CorsPolicy
from ..cors import offer_cors
from ..reply import Reply
from ..responses import is_misleading
from ..responses import is_temporary
from ..responses import location_of
from ..responses import respond
from ..responses import respond_to_error
from ..responses import retry_as
from ..responses import text_of
from ..responses import with_details
from . import messages as ietf
from .digests import algorithm_for
from .digests import digest_headers
from .errors import CONTENT_TYPE
from .errors import problem
from .errors import reply_error
from .interim import Announcer
from .interim import may_announce
from .settings import IetfSettings
from .versions import Version
from .versions import version_of

NAME = "ietf"


@dataclass(frozen=True, slots=True)
class IetfServer:
    """The IETF draft, as one app serves it."""

    settings: IetfSettings
    policy: ietf.Policy
    limits: Limits


@dataclass(frozen=True, slots=True)
class _Site:
    """What a view works with."""

    state: State
    server: IetfServer
    version: Version

    def limit_headers(self, upload: Upload) -> Mapping[str, str]:
        return ietf.limit_headers(self.server.policy, self.version, upload, self.state.service.now())

    def location(self, upload: Upload) -> str:
        settings = self.server.settings
        return location_of(upload.id, endpoint=settings.endpoint, is_absolute=settings.absolute_location)


Views = dict[str, Callable[[_Site, str], Response]]


def speaks(request: Request) -> bool:
    """Whether a request is in this protocol."""
    at_upload = bool(request.view_args)
    return ietf.is_spoken(ietf.effective_method(request.method, request.headers), request.headers, at_upload=at_upload)


def rules_below(url: str) -> dict[str, Callable[..., Response]]:
    """Return the URL rules of the IETF draft, with their views."""
    rules: dict[str, Callable[..., Response]] = {"/": collection, "/<upload_id>": resource}
    if url != "/":  # otherwise this would hide the rest of the app
        rules["/<path:rest>"] = elsewhere
    return rules


def collection() -> Response:
    """``/files/``: create uploads, or ask for the limits."""
    return _dispatch({**dict.fromkeys(ietf.CREATING, _create), "OPTIONS": _options}, "")


def resource(upload_id: str) -> Response:
    """``/files/<id>``: one upload."""
    views: Views = {"HEAD": _head, "GET": _head, "PATCH": _append, "DELETE": _delete, "OPTIONS": _options}
    return _dispatch(views, upload_id)


def elsewhere(rest: str) -> Response:
    """Anything else below ``/files/``."""
    raise UploadNotFound(rest)


def _dispatch(views: Views, upload_id: str) -> Response:
    method = ietf.effective_method(request.method, request.headers)
    if method not in views:
        raise MethodNotAllowed(f"{method} is not supported here; use {', '.join(views)}.", tuple(views))
    if method != "OPTIONS":
        ietf.check_version(request.headers, is_upload=views[method] is _create)
        if upload_id and not ID_PATTERN.fullmatch(upload_id):
            raise UploadNotFound(upload_id)
    state = current_state()
    site = _Site(state, cast(IetfServer, state.protocols[NAME]), version_of(request.headers))
    return views[method](site, upload_id)


def _options(site: _Site, upload_id: str) -> Response:
    return respond(ietf.reply_options(ietf.limit_headers(site.server.policy)))


def _create(site: _Site, upload_id: str) -> Response:
    environ = request.environ
    creation, content = ietf.parse_creation(
        request.headers,
        announced_size(environ),
        site.version,
        site.server.policy,
        proves_end=proves_end(environ),
    )
    if (grant := site.state.grant()) is not None:
        creation = replace(creation, grant=grant)
    body = None if content is None else body_of(request, site.server.settings.idle_timeout)
    announcer = _announcer(site, body, is_creation=True)
    is_small = creation.length is not None and creation.length < site.server.policy.min_size
    try:
        upload = site.state.service.create(
            creation,
            owner=site.state.owner(),
            limits=site.server.limits,
            content=None if content is None or body is None else (content, body),
            created=None if announcer is None or is_small else announcer.announce,
        )
    except UploadRejected as error:
        return _refuse(site, error, is_final=True)
    location = site.location(upload)
    if _is_missing_its_end(site, upload):
        response = on_error(BodyIncomplete(upload.offset))
        response.headers["Location"] = location
        return response
    return _respond_last(site, upload, ietf.reply_created(upload, location, site.version, site.limit_headers(upload)))


def _head(site: _Site, upload_id: str) -> Response:
    ietf.check_question(request.headers, site.version)
    environ = request.environ
    is_alone = not environ.get("wsgi.multithread", True) and not environ.get("wsgi.multiprocess", True)
    upload = site.state.service.look(
        upload_id,
        owner=site.state.owner(),
        may_have_overtaken=not is_alone,
        ends_at_length=site.version.ends_at_length,
    )
    return respond(ietf.reply_state(upload, site.version, site.limit_headers(upload)))


def _append(site: _Site, upload_id: str) -> Response:
    environ = request.environ
    write = ietf.parse_append(
        request.headers,
        announced_size(environ),
        site.version,
        site.server.policy,
        proves_end=proves_end(environ),
    )
    body = body_of(request, site.server.settings.idle_timeout)
    _announcer(site, body)
    owner = site.state.owner()
    try:
        upload = site.state.service.write(upload_id, write, body, owner=owner, limits=site.server.limits)
    except UploadRejected as error:
        return _refuse(site, error, is_final=not _exists(site, upload_id, owner))
    if _is_missing_its_end(site, upload):
        raise BodyIncomplete(upload.offset)
    return _respond_last(site, upload, ietf.reply_appended(upload, site.version, site.limit_headers(upload)))


def _respond_last(site: _Site, upload: Upload, reply: Reply) -> Response:
    """Respond to content, with the digest of the upload if it is complete and the client wants it."""
    response = respond(reply)
    algorithm = algorithm_for(request.headers, upload.metadata)
    if algorithm is not None and upload.status is Status.COMPLETE:
        with suppress(ResumableError):  # the upload is complete all the same
            digest = site.state.service.digest(upload, algorithm, site.state.settings.digest_block_size)
            response.headers.update(digest_headers(algorithm, digest))
    return response


def _is_missing_its_end(site: _Site, upload: Upload) -> bool:
    """Whether the client has sent what it takes for all, and the upload is not complete."""
    is_last = site.version.is_last(request.headers)
    has_ended = site.version.may_omit_completeness if is_last is None else is_last
    return has_ended and upload.status is not Status.COMPLETE


def _exists(site: _Site, upload_id: str, owner: str | None) -> bool:
    """Whether an upload is still there, after a hook has refused something."""
    try:
        site.state.service.find(upload_id, owner=owner)
    except ResumableError:
        return False
    return True


def _refuse(site: _Site, error: UploadRejected, *, is_final: bool) -> Response:
    return respond_to_error(error, reply_error(error, site.version, is_final=is_final), CONTENT_TYPE)


def _delete(site: _Site, upload_id: str) -> Response:
    ietf.check_question(request.headers, site.version)
    site.state.service.delete(upload_id, owner=site.state.owner())
    return respond(ietf.reply_deleted())


def _announcer(site: _Site, body: RequestBody | None, *, is_creation: bool = False) -> Announcer | None:
    """Return what sends 104 responses, if there is content and the client may get them."""
    if body is None or body.size == 0:
        return None
    if not may_announce(site.server.settings.interim_responses, request.environ, request.headers):
        return None
    version_headers = ietf.version_headers(request.headers)
    where = (site.location, site.limit_headers) if is_creation else ()
    body.watch = announcer = Announcer(request.environ, version_headers, *where)
    return announcer


# --- responses ---


def on_error(error: ResumableError) -> Response:
    """Respond to one of our errors."""
    reply = reply_error(error, version_of(request.headers))
    response = respond_to_error(error, reply, CONTENT_TYPE)
    state = current_state()
    if reply.status == 413 and NAME in state.protocols:
        server = cast(IetfServer, state.protocols[NAME])
        known: tuple[Upload, datetime] | tuple[()] = ()
        if upload_id := (request.view_args or {}).get("upload_id"):
            with suppress(ResumableError):  # it may be gone, or not exist for this client
                known = state.service.find(upload_id, owner=state.owner()), state.service.now()
        response.headers.update(ietf.limit_headers(server.policy, version_of(request.headers), *known))
    return response


def on_http_error(error: HTTPException) -> Response:
    """Respond to an error of Flask, Werkzeug or a hook as problem details, since clients cannot use an HTML page."""
    status = error.code or 500
    headers = version_of(request.headers).state(is_complete=False)
    reply = Reply(status=status, headers=headers, body=problem(status, text_of(error)))
    return with_details(error, reply, CONTENT_TYPE)


def on_lost(status: int) -> Response:
    """Respond to a URL that does not exist."""
    status = 405 if status == 405 else 404
    return respond(Reply(status=status, body=problem(status, f"{request.method} is not supported here.")), CONTENT_TYPE)


def finish(response: Response) -> Response:
    """Add the headers of every response, including the framework's own errors."""
    if is_misleading(response, ""):
        response = respond(Reply(status=401, body=problem(401, "Sign in first.")), CONTENT_TYPE)
    is_head = ietf.effective_method(request.method, request.headers) == "HEAD"
    if is_head and response.status_code < 500 and is_temporary(response):
        retry_as(response, 503)  # clients take a 4xx for the end of the upload
    for name, value in {**ietf.COMMON, **ietf.version_headers(request.headers)}.items():
        response.headers[name] = value
    return response


def complement(server: IetfServer, cors: CorsPolicy | None, response: Response) -> Response:
    """Add what clients of this protocol need in responses to requests that do not say which protocol they speak.

    These are preflights, other OPTIONS requests, and HEAD requests of clients of the RFC; and GET requests of theirs,
    where it cannot be a download that they want.
    """
    if request.method == "OPTIONS":
        response.headers.update(ietf.limit_headers(server.policy))
    elif "Tus-Resumable" in request.headers:
        return response
    elif request.method == "HEAD" and response.status_code < 300:
        _add_state(server, response)
    elif request.method == "GET" and response.status_code == 405:
        state = _state_of_unfinished(server)
        if state is None:
            return response
        response = state
    else:
        return response
    if cors is not None:
        offer_cors(request, cors)
    return response


def _add_state(server: IetfServer, response: Response) -> None:
    version = version_of(request.headers)
    state = current_state()
    try:
        upload = state.service.find((request.view_args or {}).get("upload_id", ""), owner=state.owner())
    except ResumableError:
        return
    response.headers.update(version.state(is_complete=upload.status is Status.COMPLETE))
    response.headers.update(ietf.limit_headers(server.policy, version, upload, state.service.now()))


def _state_of_unfinished(server: IetfServer) -> Response | None:
    """Respond to GET with the progress of an upload, or ``None`` if there is none or it is complete."""
    upload_id = (request.view_args or {}).get("upload_id", "")
    site = _Site(current_state(), server, version_of(request.headers))
    try:
        if not ID_PATTERN.fullmatch(upload_id) or _is_complete(site, upload_id):
            return None
        return finish(_head(site, upload_id))
    except ResumableError:
        return None


def _is_complete(site: _Site, upload_id: str) -> bool:
    return site.state.service.find(upload_id, owner=site.state.owner()).status is Status.COMPLETE

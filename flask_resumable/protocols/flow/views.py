"""The routes of flow.js, resumable.js and related clients."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping

from flask import g
from flask import request
from flask import Response
from werkzeug.exceptions import HTTPException

from ...core.grant import HEADER
from ...errors import InvalidRequest
from ...errors import MethodNotAllowed
from ...errors import ResumableError
from ...errors import UploadNotFound
from ...wsgi.query import query_of
from ..blueprint import METHODS
from ..reply import Reply
from ..responses import is_misleading
from ..responses import JSON
from ..responses import respond
from ..responses import respond_to_error
from ..responses import text_of
from ..responses import with_details
from . import messages as flow
from . import replies as flow_replies
from .asker import Asker
from .asker import current_server
from .asker import FlowServer
from .errors import message
from .errors import reply_error
from .receive import receive_chunk
from .receive import respond_to_test
from .receive import shaped

REQUEST_HEADERS = ("Content-Type", "Upload-Checksum", HEADER, "X-Requested-With", "X-Request-ID")
RESPONSE_HEADERS = ("Allow",)


def rules() -> dict[str, Callable[..., Response]]:
    """The URL rules of flow.js, with their views."""
    return {"/": collection, "/status": status, "/<upload_id>": resource}


def collection() -> Response:
    """Test for a chunk, receive one, or cancel the file that the parameters name, at ``/flow/``."""
    server = current_server()
    views = dict.fromkeys(("POST", "PUT", "PATCH"), receive_chunk) | {"DELETE": _cancel, "OPTIONS": _options}
    for method in server.settings.test_methods:
        if method in ("GET", "HEAD"):
            views[method] = _ask
    return _dispatch(views, server)


def status() -> Response:
    """Return what is missing of the file that the parameters name, at ``/flow/status``."""

    def view(asker: Asker) -> Response:
        file = flow.parse_file(_query(), asker.server.policy)
        last = flow.Chunk(file=file, number=file.total_chunks).span
        return respond(flow_replies.reply_status(file.total_size, asker.look(file), last), JSON)

    return _dispatch({"GET": view, "HEAD": view, "OPTIONS": _options}, current_server())


def resource(upload_id: str) -> Response:
    """Show or cancel one upload, by the id in every response, at ``/flow/<id>``."""

    def show(asker: Asker) -> Response:
        upload = asker.find(upload_id)
        return respond(flow_replies.reply_status(upload.length, upload), JSON)

    def cancel(asker: Asker) -> Response:
        asker.cancel(asker.find(upload_id))
        return respond(Reply(status=204))

    views = {"GET": show, "HEAD": show, "DELETE": cancel, "OPTIONS": _options}
    return _dispatch(views, current_server())


def _dispatch(views: Mapping[str, Callable[[Asker], Response]], server: FlowServer) -> Response:
    if request.method not in views:
        raise MethodNotAllowed(f"{request.method} is not supported here; use {', '.join(views)}.", tuple(views))
    return views[request.method](Asker(server))


def _options(asker: Asker) -> Response:
    return respond(Reply(status=204, headers={"Allow": ", ".join(METHODS)}))


def _ask(asker: Asker) -> Response:
    return respond_to_test(asker, _query())


def _cancel(asker: Asker) -> Response:
    file = flow.parse_file(_query(), asker.server.policy)
    upload = asker.look(file)
    if upload is None:
        raise UploadNotFound(file.identifier)
    asker.cancel(upload)
    return respond(Reply(status=204))


def _query() -> flow.Parameters:
    return flow.merge(query_of(request).items(multi=True))


def _parameters() -> Mapping[str, str]:
    """Return the parameters that were known when the error occurred."""
    known: Mapping[str, str] | None = g.get("flow_parameters")
    if known is None:
        try:
            known = query_of(request)
        except InvalidRequest:
            known = {}
    return known


def on_error(error: ResumableError) -> Response:
    """Respond to an error of this package."""
    parameters = _parameters()
    dialect = flow.dialect_of(parameters)
    reply = reply_error(
        error,
        dialect="flow" if dialect is None else dialect.name,
        permanent=current_server().settings.permanent_errors,
    )
    return respond_to_error(error, *shaped(reply, parameters))


def on_http_error(error: HTTPException) -> Response:
    """Respond to an error of Flask, Werkzeug or a hook.

    A failed hook becomes a 503, so that the client tries again. After a 500 it would give up the file.
    """
    status = 503 if error.code in (None, 500) else error.code
    return with_details(error, *shaped(Reply(status=status or 503, body=message(text_of(error))), _parameters()))


def on_lost(status: int) -> Response:
    """Respond to a URL below this one that does not exist."""
    return respond(Reply(status=404, body=message("No such URL.")), JSON)


def finish(response: Response) -> Response:
    """Add the headers that every response has, including those to errors of the framework."""
    if response.status_code >= 300 and is_misleading(response, ""):
        response = respond(Reply(status=401, body=message("Sign in first.")), JSON)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response

"""flow.js, resumable.js and their kin over Flask: routes, and nothing that could be decided without a request."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from html import escape

from flask import g
from flask import request
from flask import Response
from werkzeug.exceptions import HTTPException

from ...core.checksum import Checksum
from ...core.upload import Creation
from ...core.upload import Upload
from ...errors import InvalidRequest
from ...errors import MethodNotAllowed
from ...errors import ResumableError
from ...errors import UploadExpired
from ...errors import UploadNotFound
from ...interfaces.chunks import IncomingChunk
from ...wsgi.first_reader import body_of
from ..blueprint import METHODS
from ..cors import allow_origin
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
from .chunk_request import Intake
from .errors import message
from .errors import reply_error

REQUEST_HEADERS = ("Content-Type", "Upload-Checksum", "X-Requested-With", "X-Request-ID")
HTML = "text/html; charset=utf-8"  # an iframe would offer JSON as a download


def rules() -> dict[str, Callable[..., Response]]:
    """The URL rules of flow.js, with their views."""
    return {"/": collection, "/status": status, "/<upload_id>": resource}


def collection() -> Response:
    """``/flow/``: test a chunk, send one, or cancel the file that the parameters name."""
    state = current_server()
    views = dict.fromkeys(("POST", "PUT", "PATCH"), _receive) | {"DELETE": _cancel, "OPTIONS": _options}
    views |= {method: _ask for method in state.settings.test_methods if method in ("GET", "HEAD")}
    return _dispatch(views, state)


def status() -> Response:
    """``/flow/status``: all that is missing of the file that the parameters name."""

    def view(asker: Asker) -> Response:
        file = flow.parse_file(request.args, asker.state.policy)
        last = flow.Chunk(file=file, number=file.total_chunks).span
        return respond(flow_replies.reply_status(file.total_size, asker.look(file), last), JSON)

    return _dispatch({"GET": view, "HEAD": view, "OPTIONS": _options}, current_server())


def resource(upload_id: str) -> Response:
    """``/flow/<id>``: one upload, by the id that every answer tells."""

    def show(asker: Asker) -> Response:
        upload = asker.find(upload_id)
        return respond(flow_replies.reply_status(upload.length, upload), JSON)

    def cancel(asker: Asker) -> Response:
        asker.cancel(asker.find(upload_id))
        return respond(Reply(status=204))

    views = {"GET": show, "HEAD": show, "DELETE": cancel, "OPTIONS": _options}
    return _dispatch(views, current_server())


def _dispatch(views: Mapping[str, Callable[[Asker], Response]], state: FlowServer) -> Response:
    if request.method not in views:
        raise MethodNotAllowed(f"{request.method} is not possible here; {', '.join(views)} are.", tuple(views))
    return views[request.method](Asker(state))


def _options(asker: Asker) -> Response:
    return respond(Reply(status=204, headers={"Allow": ", ".join(METHODS)}))


def _ask(asker: Asker) -> Response:
    return _test(asker, flow.merge(request.args.items(multi=True)))


def _test(asker: Asker, parameters: Mapping[str, str]) -> Response:
    chunk = flow.parse_chunk(parameters, asker.state.policy)
    upload = asker.look(chunk.file)
    if upload is None or not flow_replies.is_stored(upload, chunk.span):
        return respond(flow_replies.reply_missing())
    return respond(flow_replies.reply_stored(upload), JSON)


def _receive(asker: Asker) -> Response:
    state = asker.state
    body = body_of(request, state.settings.idle_timeout)
    state.chunks.let_go()
    arrival = _Arrival(asker)
    intake = Intake(
        request,
        body,
        file_field=state.settings.file_field,
        max_size=state.policy.max_body,
        spool=state.chunks.spool,
        decide=arrival.decide,
        place=arrival.place,
    )
    try:
        intake.read()
        if not intake.has_file:
            if request.method not in state.settings.test_methods:
                raise InvalidRequest(f"The form has no file in its field {state.settings.file_field!r}.")
            return _test(asker, intake.parameters)
        return arrival.store(intake)
    finally:
        g.flow_parameters = intake.known  # an error has to be told in the client's way
        intake.close()


class _Arrival:
    """A chunk that comes in, from the moment its parameters are known."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._state = asker.state
        self._chunk: flow.Chunk | None = None
        self._upload: Upload | None = None
        self._decided_by: Mapping[str, str] = {}

    def decide(self, parameters: Mapping[str, str]) -> bool:
        """Find the upload or make it; whether the chunk's bytes are wanted."""
        if _is_whole_file(parameters):
            return True
        chunk = flow.parse_chunk(parameters, self._state.policy)
        if chunk.file.total_size == 0:
            return True  # it would be finished at once, and there is still no proof that it is empty
        if None in chunk.file.identity and request.mimetype == "multipart/form-data":
            return True  # what is missing may come behind the file
        self._prepare(chunk)
        self._decided_by = parameters
        assert self._upload is not None
        return not self._upload.received.has(chunk.span) or not chunk.span.size

    def _prepare(self, chunk: flow.Chunk) -> None:
        state, file = self._state, chunk.file
        creation = Creation(
            length=file.total_size,
            metadata=file.metadata(state.policy),
            client_key=self._asker.key(file),
            storage=state.layout(file.chunk_size, file.total_chunks),
        )
        self._upload = state.keys.prepare(creation, owner=self._asker.owner, limits=state.limits)
        self._chunk = chunk

    def place(self) -> tuple[IncomingChunk, int] | None:
        """Where the chunk can be put while it comes in, and its size; not if it must be verified before."""
        if self._chunk is None or self._upload is None or "Upload-Checksum" in request.headers:
            return None
        span = self._chunk.span
        incoming = self._state.chunks.receive(self._upload, span)
        return None if incoming is None else (incoming, span.size)

    def store(self, intake: Intake) -> Response:
        """Check the chunk and place it, or make known that it is in its place."""
        parameters = intake.parameters
        chunk = self._chunk
        if _is_whole_file(parameters):
            file = flow.parse_file(parameters, self._state.policy, whole=intake.size)
            chunk = flow.Chunk(file=file, number=1)
        elif chunk is None or parameters != self._decided_by:  # fields came behind the file
            chunk = flow.parse_chunk(parameters, self._state.policy)
        expected = chunk.span.size
        if intake.size != expected:
            raise InvalidRequest(f"Chunk {chunk.number} must have {expected} bytes, not {intake.size}.")
        _verify(intake)
        upload = self._stored(intake, chunk)
        reply, content_type = _shaped(flow_replies.reply_stored(upload), parameters)
        return respond(reply, content_type)

    def _stored(self, intake: Intake, chunk: flow.Chunk) -> Upload:
        limits = self._state.limits
        if intake.incoming is not None:
            assert self._upload is not None
            # What the app makes its clients send along may come behind the file; which chunk it is may not.
            if not self._is_placed_as(chunk):
                raise InvalidRequest("The fields behind the file say something else than those before it.")
            return self._state.chunks.settle(self._upload, chunk.span, intake.incoming, limits)
        if self._upload is None or self._chunk != chunk:
            self._prepare(chunk)
        assert self._upload is not None
        assert intake.content is not None
        try:
            return self._state.chunks.store(self._upload, chunk.span, intake.content, limits)
        except (UploadExpired, UploadNotFound):
            if not intake.is_kept:
                raise
        # It has gone while the chunk came in. Unless it left a tombstone, this is the first chunk of the next one.
        intake.content.seek(0)
        self._prepare(chunk)
        return self._state.chunks.store(self._upload, chunk.span, intake.content, limits)

    def _is_placed_as(self, chunk: flow.Chunk) -> bool:
        known = self._chunk
        if known is None or known == chunk:
            return known is not None
        return known.number == chunk.number and self._asker.key(known.file) == self._asker.key(chunk.file)


def _verify(intake: Intake) -> None:
    """An optional checksum of the chunk, spelt as in tus."""
    header = request.headers.get("Upload-Checksum")
    if header is None or intake.content is None or not intake.size:
        return
    checksum = Checksum.from_header(header)
    hasher = checksum.hasher()
    while block := intake.content.read(256 * 1024):
        hasher.update(block)
    checksum.check(hasher)
    intake.content.seek(0)


def _cancel(asker: Asker) -> Response:
    file = flow.parse_file(request.args, asker.state.policy)
    upload = asker.look(file)
    if upload is None:
        raise UploadNotFound(file.identifier)
    asker.cancel(upload)
    return respond(Reply(status=204))


def _is_whole_file(parameters: Mapping[str, str]) -> bool:
    """Whether this comes from fusty-flow: a form, an identifier, and no numbers."""
    return request.mimetype == "multipart/form-data" and flow.is_whole_file(parameters)


def _shaped(reply: Reply, parameters: Mapping[str, str]) -> tuple[Reply, str]:
    """A reply as the client can read it, and its type. fusty-flow reads a page in an iframe, and sees no status."""
    if not _is_whole_file(parameters):
        return reply, JSON
    return Reply(status=reply.status, headers=reply.headers, body=escape(reply.body, quote=False)), HTML


def _parameters() -> Mapping[str, str]:
    """What is known of them when an error is answered."""
    known: Mapping[str, str] = g.get("flow_parameters", request.args)
    return known


def on_error(error: ResumableError) -> Response:
    """An error of ours."""
    parameters = _parameters()
    dialect = flow.dialect_of(parameters)
    reply = reply_error(
        error,
        dialect="flow" if dialect is None else dialect.name,
        permanent=current_server().settings.permanent_errors,
    )
    return respond_to_error(error, *_shaped(reply, parameters))


def on_http_error(error: HTTPException) -> Response:
    """Errors of Flask, Werkzeug and hooks. A hook that failed is called again; 500 would end the file."""
    status = 503 if error.code in (None, 500) else error.code
    return with_details(error, *_shaped(Reply(status=status or 503, body=message(text_of(error))), _parameters()))


def on_lost(status: int) -> Response:
    """There is no such place."""
    return respond(Reply(status=404, body=message("There is nothing here.")), JSON)


def finish(response: Response) -> Response:
    """What every answer carries, those of the framework's own errors included."""
    if is_misleading(response, ""):
        response = respond(Reply(status=401, body=message("Sign in first.")), JSON)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    allow_origin(
        request,
        response,
        current_server().settings,
        methods=METHODS,
        request_headers=REQUEST_HEADERS,
        response_headers=("Allow",),
    )
    return response

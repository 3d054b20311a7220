"""The requests about one chunk: those that test for it, and those that send it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from html import escape

from flask import g
from flask import request
from flask import Response

from ...core.checksum import Checksum
from ...core.grant import PARAMETER
from ...core.upload import ChunkWrite
from ...core.upload import Creation
from ...core.upload import Upload
from ...errors import InvalidRequest
from ...errors import UploadRejected
from ...wsgi.first_reader import body_of
from ..reply import Reply
from ..responses import JSON
from ..responses import respond
from . import messages as flow
from . import replies as flow_replies
from .asker import Asker
from .chunk_request import ChunkRequest

HTML = "text/html; charset=utf-8"  # an iframe would offer JSON as a download


def respond_to_test(asker: Asker, parameters: flow.Parameters) -> Response:
    """Tell the client whether the server has a chunk."""
    if PARAMETER in parameters:
        asker.note_token(parameters)
    chunk = flow.parse_chunk(parameters, asker.server.policy)
    upload = asker.look(chunk.file)
    if upload is None or not flow_replies.is_stored(upload, chunk.span):
        return respond(flow_replies.reply_missing())
    return respond(flow_replies.reply_stored(upload), JSON)


def receive_chunk(asker: Asker) -> Response:
    """Store a chunk and describe its upload."""
    server = asker.server
    body = body_of(request, server.settings.idle_timeout)
    server.chunks.release_connection()
    arriving = ChunkRequest(request, body, file_field=server.settings.file_field, max_size=server.policy.max_body)
    try:
        if arriving.find_file():
            upload = _stored(asker, arriving)
            return respond(*shaped(flow_replies.reply_stored(upload), arriving.parameters))
        if request.method not in server.settings.test_methods:
            raise InvalidRequest(f"The form has no file in its field {server.settings.file_field!r}.")
        return respond_to_test(asker, arriving.parameters)
    except Exception:
        g.flow_parameters = arriving.known  # the error handler needs to know the client
        raise
    finally:
        arriving.close()


def _stored(asker: Asker, arriving: ChunkRequest) -> Upload:
    """Store the chunk and return its upload. The steps are parameters, decision, content and record."""
    chunks, limits = asker.server.chunks, asker.server.limits
    try:
        checksum = _checksum()
        wish = _wish_before(asker, arriving.parameters)
        if wish is None:
            transfer = chunks.keep(asker.owner, limits)
        else:
            # A chunk with a checksum must not be in its place before it is verified.
            transfer = chunks.begin(wish, asker.owner, limits, in_place=checksum is None)
    except Exception:  # hooks can raise anything
        arriving.drain()
        raise
    with closing(transfer):
        hasher = None if checksum is None else checksum.hasher()
        try:
            arriving.receive(transfer, hasher)
        except UploadRejected:  # by on_progress
            arriving.drain()
            raise
        if wish is None:
            wish = _wish_after(asker, arriving.parameters, arriving.size)
        elif arriving.has_later_parameters:
            chunk = flow.parse_chunk(arriving.parameters, asker.server.policy)
            if asker.key(chunk.file) != wish.creation.client_key:
                # The app's own parameters may come after the file, but those that identify the chunk may not.
                if not transfer.is_kept:
                    raise InvalidRequest("The fields after the file contradict those before it.")
                wish = _wish(asker, chunk)
        if arriving.size != (size := wish.span.size):
            raise InvalidRequest(f"Chunk {wish.span.number} must have {size} bytes, not {arriving.size}.")
        if checksum is not None and hasher is not None:
            checksum.check(hasher)
        return transfer.finish(wish)


def _checksum() -> Checksum | None:
    """Return the checksum of the chunk, if there is one. The header is that of tus."""
    header = request.headers.get("Upload-Checksum")
    return None if header is None else Checksum.from_header(header)


def _wish_before(asker: Asker, parameters: flow.Parameters) -> ChunkWrite | None:
    """Return what the client wants to write, or ``None`` if that is not known before the content was read."""
    if PARAMETER in parameters:
        asker.note_token(parameters)
    if flow.dialect_of(parameters) is None or is_whole_file(parameters):
        return None
    chunk = flow.parse_chunk(parameters, asker.server.policy)
    if chunk.file.total_size == 0:
        return None  # it would be finished at once, before it is known that the content is empty
    if None in chunk.file.identity and request.mimetype == "multipart/form-data":
        return None  # the missing parameters may come after the file
    return _wish(asker, chunk)


def _wish_after(asker: Asker, parameters: flow.Parameters, size: int) -> ChunkWrite:
    """Return what the client wants to write, after its content of ``size`` bytes was read."""
    if PARAMETER in parameters:
        asker.note_token(parameters)
    if is_whole_file(parameters):
        file = flow.parse_file(parameters, asker.server.policy, whole=size)
        return _wish(asker, flow.Chunk(file=file, number=1))
    return _wish(asker, flow.parse_chunk(parameters, asker.server.policy))


def _wish(asker: Asker, chunk: flow.Chunk) -> ChunkWrite:
    file = chunk.file
    creation = Creation(
        length=file.total_size,
        metadata=file.metadata(asker.server.policy),
        client_key=asker.key(file),
        protocol="flow",
        grant=asker.grant,
        storage=asker.server.layout(file.chunk_size, file.total_chunks),
    )
    return ChunkWrite(creation=creation, span=chunk.span)


def is_whole_file(parameters: Mapping[str, str]) -> bool:
    """Whether the client is fusty-flow, which sends a form with an identifier but no numbers."""
    return request.mimetype == "multipart/form-data" and flow.is_whole_file(parameters)


def shaped(reply: Reply, parameters: Mapping[str, str]) -> tuple[Reply, str]:
    """Return the reply in a form that the client can read, and its media type.

    fusty-flow reads a page in an iframe, and does not see the status.
    """
    if not is_whole_file(parameters):
        return reply, JSON
    return Reply(status=reply.status, headers=reply.headers, body=escape(reply.body, quote=False)), HTML

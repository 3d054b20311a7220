"""Finished uploads back to the browser, harmlessly."""

from __future__ import annotations

from pathlib import Path

from flask import current_app
from flask import Request
from flask import Response
from flask import send_file
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import is_resource_modified

from ..core.disposition import content_disposition
from ..core.upload import Upload
from ..state import State
from .stream import Excerpt

DEFAULT_TYPE = "application/octet-stream"


def download(state: State, upload: Upload, request: Request) -> Response:
    """The file, whole or in ranges. Shown by the browser only if its type is allow-listed; sniffed never.

    Spec: RFC 9110 "Range Requests", "Conditional Requests".
    """
    claimed = (upload.metadata.filetype or "").partition(";")[0].strip().lower()
    is_inline = claimed in state.settings.inline_types
    content_type = claimed if is_inline else DEFAULT_TYPE
    path = state.storage.path(upload)
    if path is not None:
        response = _from_path(path, upload, content_type, is_inline=is_inline)
    else:
        response = _elsewhere(state, upload, content_type, is_inline=is_inline) or _streamed(
            state, upload, request, content_type, is_inline=is_inline
        )
    response.headers["X-Content-Type-Options"] = "nosniff"
    # Whatever it is, it runs no script and loads nothing in the app's origin.
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _from_path(path: Path, upload: Upload, content_type: str, *, is_inline: bool) -> Response:
    return send_file(
        path,
        mimetype=content_type,
        as_attachment=not is_inline,
        download_name=_download_name(upload),
        conditional=True,
        etag=upload.id,
        last_modified=upload.created_at,
    )


def _elsewhere(state: State, upload: Upload, content_type: str, *, is_inline: bool) -> Response | None:
    """The way to where the storage itself gives the file out, if that is wanted and can be."""
    links = state.storage.capabilities.links
    if state.settings.downloads != "redirect" or links is None:
        return None
    url = links.presigned_url(
        upload,
        expires=state.settings.link_lifetime,
        filename=_download_name(upload),
        content_type=content_type,
        disposition="inline" if is_inline else "attachment",
    )
    if url is None:
        return None
    response = Response(status=302)
    response.location = url
    response.headers["Cache-Control"] = "no-store"  # the link runs out, and is for who asked
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _streamed(state: State, upload: Upload, request: Request, content_type: str, *, is_inline: bool) -> Response:
    """The file through this process, a block at a time. Nothing is opened for an answer that has no content."""
    assert upload.length is not None
    response = Response(content_type=content_type)
    kind = "inline" if is_inline else "attachment"
    response.headers["Content-Disposition"] = content_disposition(kind, _download_name(upload))
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "no-cache"
    response.set_etag(upload.id)
    response.last_modified = upload.created_at
    response.make_conditional(request)
    if response.status_code == 200:
        start, stop = _asked_for(request, response, upload.length)
        stream = state.storage.open(upload)
        response.response = Excerpt(stream, start, stop, name=f"Upload {upload.id}", logger=current_app.logger)
        response.content_length = stop - start
    return response


def _asked_for(request: Request, response: Response, length: int) -> tuple[int, int]:
    """The bytes to send: one range, if that is asked for and the client's part is of this very file; else all.

    :raises RequestedRangeNotSatisfiable: No byte of it is in the file.
    """
    asked = request.range
    is_changed = "If-Range" in request.headers and is_resource_modified(
        request.environ, response.headers["ETag"], None, response.last_modified, ignore_if_range=False
    )
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1 or is_changed or length == 0:
        return 0, length
    found = asked.range_for_length(length)
    if found is None or found[0] is None or found[1] is None:
        raise RequestedRangeNotSatisfiable(length)
    start, stop = found[0], found[1]
    response.status_code = 206
    response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{length}"
    return start, stop


def _download_name(upload: Upload) -> str:
    """The client's name for the file as a name only: no folders, nothing that could end a header."""
    name = (upload.metadata.filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable())[:255] or upload.id

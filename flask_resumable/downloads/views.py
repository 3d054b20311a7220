"""Serves finished uploads to browsers, safely."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from flask import current_app
from flask import Request
from flask import Response
from flask import send_file
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import is_resource_modified

from ..core.disposition import claimed_type
from ..core.disposition import content_disposition
from ..core.disposition import content_policy
from ..core.disposition import DEFAULT_TYPE
from ..core.disposition import download_name
from ..core.disposition import object_type
from ..core.processing import Processing
from ..core.processing import ProcessingState
from ..core.processing import RETRY_AFTER
from ..core.upload import Upload
from ..errors import Unavailable
from ..state import State
from .stream import Excerpt


def download(state: State, upload: Upload, request: Request) -> Response:
    """Return a response with the file or a range of it. The browser shows it only if its type is in the allow-list.

    Spec: RFC 9110 "Range Requests", "Conditional Requests".
    """
    if upload.processing is not None and upload.processing.state is not ProcessingState.READY:
        return _withheld(upload.processing)
    claimed = claimed_type(upload)
    is_inline = claimed in state.settings.inline_types
    content_type = claimed if is_inline else DEFAULT_TYPE
    path = state.storage.path(upload)
    if path is not None:
        response = _by_nginx(state, path, upload) or _from_path(path, upload, content_type, is_inline=is_inline)
    else:
        response = _elsewhere(state, upload, content_type, is_inline=is_inline) or _streamed(
            state, upload, request, content_type, is_inline=is_inline
        )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = content_policy(content_type)
    return response


def _withheld(processing: Processing) -> Response:
    """Tell the client that the app does not offer the file yet, or never will. Spec: RFC 8470 "425 (Too Early)"."""
    if processing.state is ProcessingState.PROCESSING:
        response = Response("This file is being processed; try again later.\n", 425)
        response.headers["Retry-After"] = str(RETRY_AFTER)
    else:
        response = Response(f"{processing.reason or 'This file could not be processed.'}\n", 410)
    response.content_type = "text/plain; charset=utf-8"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    response.headers.update(processing.headers())
    return response


def _by_nginx(state: State, path: Path, upload: Upload) -> Response | None:
    """Leave the file to nginx, with its ranges and conditions, if that is configured and nginx serves its folder."""
    if state.settings.downloads != "x-accel-redirect":
        return None
    location = _location(state.settings.accel_locations or {}, os.path.abspath(path))
    if location is None:
        return None
    # nginx drops the headers that disarm scripts, unless its configuration adds them again.
    content_type, kind = object_type(upload, state.settings.inline_types)
    response = Response(content_type=content_type)
    response.headers["Content-Disposition"] = content_disposition(kind, download_name(upload))
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Redirect"] = location
    return response


def _location(locations: Mapping[str, str], path: str) -> str | None:
    """Return the URL path at which nginx serves a file, or ``None``. The innermost folder counts."""
    found = [(folder, location) for location, folder in locations.items() if path.startswith(folder.rstrip("/") + "/")]
    if not found:
        return None
    folder, location = max(found, key=lambda pair: len(pair[0]))
    return quote(location) + quote(os.fsencode(os.path.relpath(path, folder)))


def _from_path(path: Path, upload: Upload, content_type: str, *, is_inline: bool) -> Response:
    try:
        response = send_file(
            path,
            mimetype=content_type,
            as_attachment=not is_inline,
            download_name=download_name(upload),
            conditional=True,
            etag=upload.id,
            last_modified=upload.created_at,
        )
    except OSError as error:  # a disk is away, or somebody has removed the file
        raise Unavailable("This file cannot be read right now; try again later.") from error
    if response.status_code == 412:  # Werkzeug would send the file along
        response.close()
        response.headers.pop("X-Sendfile", None)
        response.set_data(b"")
    if "X-Sendfile" in response.headers:  # web servers decode it
        response.headers["X-Sendfile"] = quote(os.fsencode(os.path.abspath(path)))
    response.headers.setdefault("Accept-Ranges", "bytes")  # older versions of Werkzeug say so only for ranges
    return response


def _elsewhere(state: State, upload: Upload, content_type: str, *, is_inline: bool) -> Response | None:
    """Redirect to a link of the storage, if that is configured and the storage has one."""
    links = state.storage.capabilities.links
    if state.settings.downloads != "redirect" or links is None:
        return None
    url = links.presigned_url(
        upload,
        expires=state.settings.link_lifetime,
        filename=download_name(upload),
        content_type=content_type,
        disposition="inline" if is_inline else "attachment",
    )
    if url is None:
        return None
    response = Response(status=302)
    response.location = url
    response.headers["Cache-Control"] = "no-store"  # the link expires, and is meant for this client only
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _streamed(state: State, upload: Upload, request: Request, content_type: str, *, is_inline: bool) -> Response:
    """Stream the file through this process. Nothing is opened if the response has no content."""
    assert upload.length is not None
    response = Response(content_type=content_type)
    kind = "inline" if is_inline else "attachment"
    response.headers["Content-Disposition"] = content_disposition(kind, download_name(upload))
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
    """Return the bytes to send: the requested range, if it is a single one and of this very file, else all of them.

    :raises RequestedRangeNotSatisfiable: No byte of the range exists.
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

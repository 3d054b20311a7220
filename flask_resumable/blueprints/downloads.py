"""Finished uploads back to the browser, harmlessly."""

from __future__ import annotations

from flask import Request
from flask import Response
from flask import send_file

from ..sansio.upload import Upload
from ..state import State

DEFAULT_TYPE = "application/octet-stream"


def download(state: State, upload: Upload, request: Request) -> Response:
    """The file, whole or in ranges. Shown by the browser only if its type is allow-listed; sniffed never.

    Spec: RFC 9110 "Range Requests", "Conditional Requests".
    """
    claimed = (upload.metadata.filetype or "").partition(";")[0].strip().lower()
    is_inline = claimed in state.settings.inline_types
    path = state.storage.path(upload)
    response = send_file(
        path if path is not None else state.storage.open(upload),
        mimetype=claimed if is_inline else DEFAULT_TYPE,
        as_attachment=not is_inline,
        download_name=_download_name(upload),
        conditional=path is not None,
        etag=upload.id,
        last_modified=upload.created_at,
    )
    if path is None:
        response.make_conditional(request, accept_ranges=True, complete_length=upload.length)
    response.headers["X-Content-Type-Options"] = "nosniff"
    # Whatever it is, it runs no script and loads nothing in the app's origin.
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _download_name(upload: Upload) -> str:
    """The client's name for the file as a name only: no folders, nothing that could end a header."""
    name = (upload.metadata.filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable())[:255] or upload.id

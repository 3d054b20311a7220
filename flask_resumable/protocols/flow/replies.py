"""The replies about an upload to flow.js and related clients."""

from __future__ import annotations

import json

from ...core.ranges import ChunkSpan
from ...core.upload import Status
from ...core.upload import Upload
from ..reply import Reply


def is_stored(upload: Upload, chunk: ChunkSpan) -> bool:
    """Whether the reply may say that the server has a chunk.

    It must not while the upload has all its bytes but is not complete: the client would leave, and no request would
    complete the upload. If the client sends the chunk again, that request waits until the upload is complete.
    """
    is_at_rest = upload.status is Status.COMPLETE or (upload.status is Status.ACTIVE and not upload.is_ready)
    return is_at_rest and upload.received.has(chunk)


def describe(upload: Upload) -> dict[str, object]:
    """Return what every 200 contains.

    All of them have it, because the client passes on the last response, not the one that completed the file.
    """
    described: dict[str, object] = {
        "id": upload.id,
        "status": upload.status.value,
        "received": upload.received.total,
        "length": upload.length,
        "complete": upload.status is Status.COMPLETE,
    }
    if upload.max_size is not None:
        described["maxSize"] = upload.max_size
    if upload.answer is not None:
        described["answer"] = upload.answer.value
    if upload.processing is not None:
        described["processing"] = upload.processing.to_json()
    return described


def reply_stored(upload: Upload) -> Reply:
    """Return the reply for a chunk that the server has.

    It is a 200, or the 201 of the app's answer. resumable.js accepts only these, and flow.js retries after a 204.
    """
    answer = upload.answer
    body = json.dumps(describe(upload)) + "\n"
    if answer is None:
        return Reply(status=200, body=body)
    return Reply(status=201 if answer.status == 201 else 200, headers=answer.bare_headers, body=body)


def reply_missing() -> Reply:
    """Return the reply for a chunk that the server does not have.

    It is a 204, because both clients give up the file after a 404.
    """
    return Reply(status=204)


def reply_status(length: int | None, upload: Upload | None, last: ChunkSpan | None = None) -> Reply:
    """Return what is missing as ``[start, stop)`` pairs of bytes, so that clients need not test for each chunk.

    :param length: The length of the file, for an upload that does not exist.
    :param last: The last chunk. It counts as missing until the upload is complete; see :func:`is_stored`.
    """
    if upload is None:
        known: dict[str, object] = {"id": None, "status": "unknown", "received": 0, "length": length, "complete": False}
        missing = [(0, length)] if length else []
    elif upload.is_pending:
        known = describe(upload) | {"status": Status.FINISHING.value}
        missing = [] if last is None else [(last.start, last.stop)]
    else:
        known = describe(upload)
        is_open = upload.status in (Status.NEW, Status.ACTIVE)
        missing = list(upload.received.missing(upload.length or 0)) if is_open else []
    headers = {} if upload is None or upload.answer is None else upload.answer.bare_headers
    return Reply(status=200, headers=headers, body=json.dumps({**known, "missing": missing}) + "\n")

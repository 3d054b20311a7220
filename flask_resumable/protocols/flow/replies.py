"""What flow.js and its kin are told of an upload."""

from __future__ import annotations

import json

from ...core.ranges import ChunkSpan
from ...core.upload import Status
from ...core.upload import Upload
from ..reply import Reply


def is_stored(upload: Upload, chunk: ChunkSpan) -> bool:
    """Whether a client may be told that a chunk is here.

    Not while the upload has all its bytes and is not complete: the client would leave, and nobody would come to see
    that it is completed. With a chunk that it is made to send again, it waits for that.
    """
    is_at_rest = upload.status is Status.COMPLETE or (upload.status is Status.ACTIVE and not upload.is_ready)
    return is_at_rest and upload.received.has(chunk)


def describe(upload: Upload) -> dict[str, object]:
    """What every 200 says: the client hands over whichever answer came last, not the one that completed the file."""
    described: dict[str, object] = {
        "id": upload.id,
        "status": upload.status.value,
        "received": upload.received.total,
        "length": upload.length,
        "complete": upload.status is Status.COMPLETE,
    }
    if upload.answer is not None:
        described["answer"] = upload.answer.content.decode(errors="replace")
    return described


def reply_stored(upload: Upload) -> Reply:
    """The chunk is here. Always 200: resumable.js takes nothing else but 201, flow.js retries on 204."""
    return Reply(status=200, body=json.dumps(describe(upload)) + "\n")


def reply_missing() -> Reply:
    """The chunk is not here: 204. A 404 would end the whole file in both clients."""
    return Reply(status=204)


def reply_status(length: int | None, upload: Upload | None, last: ChunkSpan | None = None) -> Reply:
    """What is missing, as ``[start, stop)`` pairs of bytes, so that nobody must ask for each chunk.

    :param length: Of the file, for an upload that is not known here.
    :param last: The last chunk, which is missing for as long as the upload waits to be completed: see ``is_stored``.
    """
    if upload is None:
        known: dict[str, object] = {"id": None, "status": "unknown", "received": 0, "length": length, "complete": False}
        missing = [(0, length)] if length else []
    elif upload.is_due:
        known = describe(upload) | {"status": Status.FINISHING.value}
        missing = [] if last is None else [(last.start, last.stop)]
    else:
        known = describe(upload)
        is_open = upload.status in (Status.NEW, Status.ACTIVE)
        missing = list(upload.received.missing(upload.length or 0)) if is_open else []
    return Reply(status=200, body=json.dumps({**known, "missing": missing}) + "\n")

"""Converts uploads to the fields of a record and back, for any database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.answer import Answer
from ..core.concat import Concat
from ..core.metadata import UploadMetadata
from ..core.processing import Processing
from ..core.processing import ProcessingState
from ..core.ranges import ByteRanges
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import Unavailable

FORMAT = 1  # the version of the records written here; see docs/models.md

# The fields that make up an Upload, apart from those that only the repository reads.
FIELDS = (
    "id",
    "client_key",
    "request_key",
    "signed_until",
    "owner",
    "protocol",
    "status",
    "length",
    "offset",
    "chunks",
    "raw_metadata",
    "concat",
    "awaits_completion",
    "request_count",
    "answer",
    "processing_state",
    "processing_reason",
    "format",
    "storage",
    "max_size",
    "reserved",
    "created_at",
    "updated_at",
    "expires_at",
    "claimed_until",
    "claimed_by",
    "fence",
    "claim_message",
    "version",
)
# The fields that are only for queries, the repository's own or the app's, and for remembered digests.
OWN_FIELDS = ("concat_kind", "digests", "filename", "removable_at")
# The fields that a save writes: those that can change after creation, apart from claims and digests. The indexes of
# other fields are left alone.
STATE_FIELDS = (
    "status",
    "length",
    "offset",
    "chunks",
    "awaits_completion",
    "request_count",
    "reserved",
    "storage",
    "updated_at",
    "expires_at",
    "removable_at",
)


def upload_from(record: Mapping[Any, Any]) -> Upload:
    """Return a record as a frozen upload. Its times must be aware.

    :raises Unavailable: A later version of this package wrote the record, in a format that this version does not know.
    """
    if (record["format"] or FORMAT) > FORMAT:
        raise Unavailable(
            f"The record of upload {record['id']} has format {record['format']}, but this version of flask_resumable "
            f"supports formats up to {FORMAT} only: upgrade flask_resumable."
        )
    return Upload(
        id=record["id"],
        client_key=record["client_key"],
        request_key=record["request_key"],
        signed_until=record["signed_until"],
        owner=record["owner"],
        protocol=record["protocol"],
        status=Status(record["status"]),
        length=record["length"],
        received=_received(record["offset"], record["chunks"]),
        metadata=UploadMetadata(record["raw_metadata"]),
        concat=None if record["concat"] is None else Concat.from_header(record["concat"]),
        awaits_completion=bool(record["awaits_completion"]),
        request_count=record["request_count"] or 0,
        answer=None if record["answer"] is None else Answer.from_record(record["answer"]),
        processing=None if record["processing_state"] is None else processing_from(record),
        storage=record["storage"] or {},
        max_size=record["max_size"],
        reserved=record["reserved"],
        created_at=record["created_at"],
        updated_at=record["updated_at"],
        expires_at=record["expires_at"],
        claimed_until=record["claimed_until"],
        claimed_by=record["claimed_by"],
        fence=record["fence"],
        claim_message=record["claim_message"],
        version=record["version"],
    )


def _received(offset: int, chunks: Mapping[str, Any] | None) -> ByteRanges:
    if not chunks:
        return ByteRanges.prefix(offset)
    unit = chunks["unit"]
    return ByteRanges(offset, unit, int(chunks["bits"], 16) << offset // unit, chunks["end"])


def _chunks(received: ByteRanges) -> dict[str, Any] | None:
    """Return the chunks beyond the offset, as hex digits whose lowest bit is the chunk that contains the offset."""
    if not received.chunks:
        return None
    return {
        "unit": received.unit,
        "end": received.end,
        "bits": f"{received.chunks >> received.offset // received.unit:x}",
    }


def state_of(upload: Upload) -> dict[str, Any]:
    """Return the fields that a save writes: ``STATE_FIELDS``."""
    return {
        "status": upload.status.value,
        "length": upload.length,
        "offset": upload.offset,
        "chunks": _chunks(upload.received),
        "awaits_completion": upload.awaits_completion,
        "request_count": upload.request_count,
        "reserved": upload.reserved,
        "storage": dict(upload.storage) or None,
        "updated_at": upload.updated_at,
        "expires_at": upload.expires_at,
        "removable_at": upload.removable_at,
    }


def values_of(upload: Upload) -> dict[str, Any]:
    """Return all fields that describe the upload."""
    return {
        **state_of(upload),
        "client_key": upload.client_key,
        "request_key": upload.request_key,
        "signed_until": upload.signed_until,
        "owner": upload.owner,
        "protocol": upload.protocol,
        "raw_metadata": upload.metadata.raw,
        "concat": None if upload.concat is None else upload.concat.raw,
        "concat_kind": _concat_kind(upload),
        "filename": _filename(upload),
        "answer": answer_of(upload),
        **processing_of(upload.processing),
        "format": FORMAT,
        "max_size": upload.max_size,
        "created_at": upload.created_at,
    }


def claim_of(upload: Upload) -> dict[str, Any]:
    """Return the fields that describe the claim on the upload, as it was last read."""
    return {
        "claimed_until": upload.claimed_until,
        "claimed_by": upload.claimed_by,
        "fence": upload.fence,
        "claim_message": upload.claim_message,
        "version": upload.version,
    }


def _concat_kind(upload: Upload) -> str | None:
    if upload.concat is None:
        return None
    return "final" if upload.concat.is_final else "partial"


def processing_from(record: Mapping[Any, Any]) -> Processing:
    """Return what a record says about the app's processing."""
    return Processing(ProcessingState(record["processing_state"]), record["processing_reason"])


def processing_of(processing: Processing | None) -> dict[str, Any]:
    """Return the fields that say how far the app's processing is. No save of an upload writes them."""
    return {
        "processing_state": None if processing is None else processing.state.value,
        "processing_reason": None if processing is None else processing.reason,
    }


def _filename(upload: Upload) -> str | None:
    """Return the client's file name, without NUL, which PostgreSQL cannot store."""
    name = upload.metadata.filename
    return None if name is None else name.replace("\0", "\N{REPLACEMENT CHARACTER}")


def answer_of(upload: Upload) -> dict[str, Any] | None:
    """Return the app's answer as it is stored in a record."""
    return None if upload.answer is None else upload.answer.to_record()

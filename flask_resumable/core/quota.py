"""How much an owner may have in uploads that are not finished."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ..errors import QuotaExceeded
from ..errors import TooLarge
from .replacing import replace
from .upload import Status
from .upload import Upload


@dataclass(frozen=True, slots=True)
class Quota:
    """How many unfinished uploads an owner may have, and how many bytes they may reserve.

    ::

        class Uploads(FlaskResumable):
            def quota(self, owner: str) -> Quota | None:
                plan = db.session.get(User, int(owner)).plan
                return Quota(uploads=3, bytes=plan.space - plan.used)

    :param uploads: The maximum number of unfinished uploads; ``None`` means no limit.
    :param bytes: The maximum number of bytes that they have together, once they are finished; ``None`` means no limit.
    :raises ValueError: A number is not an integer.
    """

    uploads: int | None = None
    bytes: int | None = None

    def __post_init__(self) -> None:
        for name, value in {"uploads": self.uploads, "bytes": self.bytes}.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise ValueError(f"Quota({name}={value!r}): must be an integer, or None for no limit.")


@dataclass(frozen=True, slots=True)
class Usage:
    """How many unfinished uploads an owner has, and how many bytes they reserve."""

    uploads: int = 0
    bytes: int = 0


def takes_quota(upload: Upload, now: datetime) -> bool:
    """Whether an upload counts for the quota of its owner. It does not once it is complete, leaving or expired.

    A complete part of a concatenation counts, with its bytes only, until a final upload has them.
    """
    return upload.reserved is not None and not upload.is_expired(now)


def usage_of(uploads: Iterable[Upload]) -> Usage:
    """Return what uploads that count take up together."""
    counted = [*uploads]
    unfinished = sum(upload.status is not Status.COMPLETE for upload in counted)
    return Usage(unfinished, sum(upload.reserved or 0 for upload in counted))


def reserve(upload: Upload, quota: Quota, usage: Usage) -> Upload:
    """Return a new upload with the bytes that it reserves, if they are left.

    An upload of unknown length reserves its maximum size, or all that is left if that is less, and cannot become
    larger. A final upload reserves nothing, because its parts do.

    :raises TooLarge: The upload would not even fit if the owner had no others.
    :raises QuotaExceeded: It does not fit until others are finished, or removed.
    """
    if quota.uploads is not None and usage.uploads >= quota.uploads:
        raise QuotaExceeded(
            f"You have {usage.uploads} unfinished uploads, and may have at most {max(0, quota.uploads)}; "
            "finish or cancel one first."
        )
    if upload.is_final:
        return replace(upload, reserved=0)
    if quota.bytes is None:
        return replace(upload, reserved=upload.length or upload.max_size or 0)
    if upload.length is not None and upload.length > max(0, quota.bytes):
        raise TooLarge(f"You may upload at most {max(0, quota.bytes)} bytes.", max(0, quota.bytes))
    left = quota.bytes - usage.bytes
    if upload.length is None and left > 0:
        size = left if upload.max_size is None else min(left, upload.max_size)
        return replace(upload, reserved=size, max_size=size)
    if upload.length is None or upload.length > left:
        raise QuotaExceeded(
            f"Your unfinished uploads leave {max(0, left)} of {max(0, quota.bytes)} bytes, which is not enough for "
            "another one; finish or cancel one first."
        )
    return replace(upload, reserved=upload.length)

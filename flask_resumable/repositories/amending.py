"""Changes to a record without a claim, by *read, then update if nobody else has changed it*; for any database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from ..core.upload import Upload
from ..errors import UploadLocked

TRIES = 100  # against others that change the same record; in each round, one of them succeeds


def amended(
    read: Callable[[], Upload],
    write: Callable[[Upload, Upload], bool],
    change: Callable[[Upload], Upload],
    now: datetime,
    known: Upload | None,
) -> Upload:
    """Save what ``change`` makes of the record. See :meth:`~flask_resumable.interfaces.StateRepository.amend`.

    :param read: Returns the record as it is.
    :param write: Saves the second upload if the record still is the first one, and returns whether it was. It raises
        the fence as well: a request that slept through the end of its claim must not undo the change.
    """
    # A claim in what the caller has read may be gone by now.
    known = None if known is None or known.is_claimed(now) else known
    for _ in range(TRIES):
        just_read, known = known, None
        upload = just_read or read()
        if upload.is_claimed(now):
            raise UploadLocked
        changed = change(upload)
        if changed is upload:
            if just_read is None:
                return upload
            continue  # no update has shown that it is still so
        changed = replace(changed, updated_at=now)
        if write(upload, changed):
            return replace(changed, version=upload.version + 1)
    raise UploadLocked

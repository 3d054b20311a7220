"""The error tree: what can go wrong, as data.

No status codes live here: each protocol has one table that turns these into HTTP (``protocols/<name>/errors.py``)::

    ResumableError
    ├── ConfigurationError      a setting is wrong; raised at start, names every bad key
    ├── InvalidRequest          the request cannot be understood
    │   ├── UnsupportedVersion      of the protocol
    │   ├── UnsupportedMediaType    the body is not declared as upload content
    │   ├── LengthRequired          this server cannot deliver a body of unknown length
    │   └── MethodNotAllowed
    ├── UploadNotFound          never existed, was removed, or belongs to somebody else
    ├── UploadExists            an id was used twice
    ├── KeyReused               an idempotency key was used for two different uploads
    ├── UploadExpired           the time to finish has passed
    ├── UploadClosed            accepts no bytes (a final upload)
    ├── UploadRejected          a hook said no
    │   └── RemovalRefused          the database said no: something of the app's refers to the record
    ├── OffsetMismatch          the content does not start where the upload ends
    ├── LengthConflict          the declared length contradicts what is known
    ├── TooLarge                passes the length or a limit
    ├── ChecksumMismatch        the content is not what the client announced
    ├── BodyIncomplete          the client left, or fell silent, before the end of its body
    ├── UploadLocked            another request is finishing the upload right now
    ├── ClaimLost               a newer request took the upload over
    ├── BytesLost               saved bytes are missing in the storage
    └── Unavailable             state or storage cannot be reached for now
        ├── StorageFull             no room left for the bytes
        └── StorageRefuses          the storage does not do what is asked of it, however often
"""

from __future__ import annotations


class ResumableError(Exception):
    """Anything this package raises on purpose."""


class ConfigurationError(ResumableError):
    """Settings are wrong; the message names each of them."""


class InvalidRequest(ResumableError):
    """The request is malformed; the message says which part and what is expected."""


class UnsupportedVersion(InvalidRequest):
    """The protocol version asked for is not spoken here."""


class UnsupportedMediaType(InvalidRequest):
    """The body's Content-Type is not the one for upload content."""


class LengthRequired(InvalidRequest):
    """The WSGI server cannot deliver a body without Content-Length."""


class MethodNotAllowed(InvalidRequest):
    """The method means nothing on this resource."""

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class UploadNotFound(ResumableError):
    """No such upload, or none that the asker may know of."""

    def __init__(self, upload_id: str) -> None:
        super().__init__("There is no such upload; create a new one.")
        self.upload_id = upload_id


class UploadExists(ResumableError):
    """The id is taken."""


class KeyReused(ResumableError):
    """An idempotency key names two uploads that are not the same."""


class UploadExpired(ResumableError):
    """The upload was not finished in time."""

    def __init__(self, message: str = "The time to finish this upload has passed; create a new one.") -> None:
        super().__init__(message)


class UploadClosed(ResumableError):
    """The upload takes no bytes from clients."""


class UploadRejected(ResumableError):
    """A hook refuses the upload; raise it from ``on_create``, ``pre_save``, ``pre_delete`` or ``on_complete``.

    :param status: The HTTP status for the client, 400 to 599.
    :param message: One line for the person who uploads.
    """

    def __init__(self, status: int = 403, message: str = "The upload was refused.") -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"UploadRejected takes a status from 400 to 599, not {status}.")
        super().__init__(message)
        self.status = status


class RemovalRefused(UploadRejected):
    """The database does not let the record go, by a foreign key of the app's for instance. The upload is as it was.

    :param reason: What the database says, for the log; clients are not told the names of tables.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(409, "The app still refers to this upload; it was not removed.")
        self.reason = reason


class OffsetMismatch(ResumableError):
    """The content does not start at the upload's offset. Both in bytes."""

    def __init__(self, expected: int, provided: int) -> None:
        super().__init__(
            f"The upload is at offset {expected}, not {provided}; ask for the offset and go on from there."
        )
        self.expected = expected
        self.provided = provided


class LengthConflict(ResumableError):
    """A length was declared twice, or lies below the offset."""


class TooLarge(ResumableError):
    """More bytes than allowed. ``limit`` in bytes."""

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class ChecksumMismatch(ResumableError):
    """The received content does not have the announced checksum."""

    def __init__(self) -> None:
        super().__init__("The content does not match its checksum and was discarded; send it again.")


class BodyIncomplete(ResumableError):
    """The body ended before its announced end; what arrived is kept unless a checksum guards it.

    :param offset: How far the upload is now, in bytes.
    """

    def __init__(self, offset: int) -> None:
        super().__init__("The body did not arrive completely; ask for the offset and go on from there.")
        self.offset = offset


class UploadLocked(ResumableError):
    """Another request holds the upload and may not be interrupted."""

    def __init__(self) -> None:
        super().__init__("Another request is working on this upload; try again in a moment.")


class ClaimLost(ResumableError):
    """A newer request has taken the upload over; this one may write nothing more."""

    def __init__(self) -> None:
        super().__init__("A newer request has taken this upload over; ask for the offset and go on from there.")


class BytesLost(ResumableError):
    """The storage lacks bytes that were saved: it lost power, or somebody removed them.

    :param offset: Up to where they are there.
    """

    def __init__(self, offset: int) -> None:
        super().__init__("The server lost a part of this upload; ask for the offset and go on from there.")
        self.offset = offset


class Unavailable(ResumableError):
    """State or storage does not answer; the upload is as it was."""

    def __init__(self, message: str = "The server cannot store uploads right now; try again later.") -> None:
        super().__init__(message)


class StorageFull(Unavailable):
    """There is no room for more bytes."""

    def __init__(self) -> None:
        super().__init__("The server has no room left; try again later.")


class StorageRefuses(Unavailable):
    """The storage does not do what is asked of it, and will not until somebody changes its settings or ours."""

    def __init__(self, message: str = "The storage refuses this upload; the server's log says why.") -> None:
        super().__init__(message)

"""The exceptions that the package raises.

They carry no HTTP status: each protocol maps them to responses in one table (``protocols/<name>/errors.py``)::

    ResumableError
    ├── ConfigurationError      settings or arguments are wrong; lists every problem
    ├── InvalidRequest          the request is malformed
    │   ├── UnsupportedVersion      the protocol version is not supported
    │   ├── UnsupportedMediaType    the Content-Type is not the one for upload content
    │   ├── LengthRequired          the WSGI server cannot deliver a body of unknown length
    │   └── MethodNotAllowed
    ├── UploadNotFound          never existed, was removed, or belongs to another owner
    ├── UploadExists            the id or a key is already taken
    ├── IdTaken                 the id that the app chose is already taken
    ├── KeyReused               one idempotency key was used for two different uploads
    ├── UploadExpired           the upload was not completed in time
    ├── UploadClosed            the upload accepts no content (a final upload)
    │   └── UploadCompleted         it is complete
    ├── UploadRejected          a hook refused
    │   └── RemovalRefused          the database refused, because something still refers to the record
    ├── QuotaExceeded           the owner has too much in unfinished uploads
    ├── TokenRefused            a signed token is missing, damaged, expired or used
    ├── OffsetMismatch          the content does not start at the upload's offset
    ├── LengthConflict          the declared length contradicts what is known
    ├── TooLarge                the content exceeds a limit
    │   └── BeyondLength        the content exceeds the upload's length
    ├── ChecksumMismatch        the content does not have the announced checksum
    ├── BodyIncomplete          the client disconnected or went silent in the middle of its body
    │   └── ServerStopping          the server stops, and has saved what it received
    ├── UploadLocked            another request holds the upload and must not be interrupted
    ├── ClaimLost               a newer request took over the upload
    ├── BytesLost               the storage no longer has bytes that were saved
    └── Unavailable             the database or the storage cannot be reached right now
        ├── StorageFull             no space left
        └── StorageRefuses          the storage rejects the operation, and retrying does not help
"""

from __future__ import annotations


class ResumableError(Exception):
    """The base class of all errors that this package raises on purpose."""


class ConfigurationError(ResumableError):
    """Raised at start-up when settings or arguments are wrong. The message lists every problem."""


class InvalidRequest(ResumableError):
    """Raised for a malformed request. The message says which part is wrong and what is expected."""


class UnsupportedVersion(InvalidRequest):
    """Raised when the client asks for a protocol version that is not supported. Spec: tus 1.0 "Tus-Resumable"."""


class UnsupportedMediaType(InvalidRequest):
    """Raised when the Content-Type of a body is not the one for upload content."""


class LengthRequired(InvalidRequest):
    """Raised when the WSGI server cannot deliver a body without a Content-Length."""


class MethodNotAllowed(InvalidRequest):
    """Raised when a resource does not support the request's method. ``allowed`` lists the methods it does support."""

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class UploadNotFound(ResumableError):
    """Raised when no such upload exists, or this client must not learn that it exists."""

    def __init__(self, upload_id: str) -> None:
        super().__init__("This upload does not exist; create a new one.")
        self.upload_id = upload_id


class UploadExists(ResumableError):
    """Raised when the id or a key of a new upload is already taken."""


class IdTaken(ResumableError):
    """Raised when the id that the app chose for a new upload is already taken by another one."""

    def __init__(self) -> None:
        super().__init__("Another upload has the same id already; remove it first, or send this file as another one.")


class KeyReused(ResumableError):
    """Raised when an idempotency key is used again for a different upload."""


class UploadExpired(ResumableError):
    """Raised when an upload was not completed before it expired. Spec: tus 1.0 "Expiration"."""

    def __init__(self, message: str = "This upload has expired; create a new one.") -> None:
        super().__init__(message)


class UploadClosed(ResumableError):
    """Raised when content is sent to an upload that accepts none."""


class UploadCompleted(UploadClosed):
    """Raised when content is sent to an upload that its client has declared complete."""

    def __init__(self) -> None:
        super().__init__("This upload is complete and accepts no more content.")


class UploadRejected(ResumableError):
    """Raise this in a hook to refuse an upload.

    These may refuse: ``on_create``, ``pre_save``, ``on_progress``, ``on_complete``, ``pre_delete``, and the hooks that
    choose an id, a storage or a folder::

        class Uploads(FlaskResumable):
            def on_create(self, upload: Upload) -> None:
                if upload.metadata.filetype != "image/png":
                    raise UploadRejected(415, "Only PNG images are accepted.")

    :param status: The HTTP status of the response, 400 to 599.
    :param message: One line for the person who uploads.
    :raises ValueError: ``status`` is out of range.
    """

    def __init__(self, status: int = 403, message: str = "The server rejected this upload.") -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"UploadRejected takes a status from 400 to 599, not {status}.")
        super().__init__(message)
        self.status = status


class RemovalRefused(UploadRejected):
    """Raised when the database refuses to delete an upload's record, for example because of a foreign key.

    The upload is unchanged.

    :param reason: What the database says. It goes to the log only, so that clients do not learn the names of tables.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(409, "The upload was not removed because the app still refers to it.")
        self.reason = reason


QUOTA_RETRY = 30  # seconds until a client may try again; its owner's other uploads must be finished first


class QuotaExceeded(ResumableError):
    """Raised when an owner cannot create another upload until some are finished or removed. The message says why."""


class TokenRefused(ResumableError):
    """Raised when a signed token is missing or does not allow the request. The message says why."""


class OffsetMismatch(ResumableError):
    """Raised when content does not start at the upload's offset. Both numbers are in bytes.

    Spec: tus 1.0 "PATCH"; IETF draft "Upload Append".
    """

    def __init__(self, expected: int, provided: int) -> None:
        super().__init__(
            f"The upload is at offset {expected}, not {provided}; request the current offset and resume from there."
        )
        self.expected = expected
        self.provided = provided


class LengthConflict(ResumableError):
    """Raised when a length is declared twice, or is smaller than the offset.

    Spec: tus 1.0 "Upload-Defer-Length"; IETF draft "Upload-Length".
    """


class TooLarge(ResumableError):
    """Raised when a client sends more bytes than ``limit``."""

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class BeyondLength(TooLarge):
    """Raised when a client sends more bytes than it declared."""


class ChecksumMismatch(ResumableError):
    """Raised when the received content does not have the announced checksum.

    Spec: tus 1.0 "Checksum"; RFC 9530 for the IETF draft.
    """

    def __init__(self) -> None:
        super().__init__("The content does not match its checksum and was discarded; send it again.")


class BodyIncomplete(ResumableError):
    """Raised when a body ends early. The bytes that arrived are kept, unless a checksum covers them.

    :param offset: The upload's offset after that, in bytes.
    """

    def __init__(self, offset: int) -> None:
        super().__init__("The request body was cut short; request the current offset and resume from there.")
        self.offset = offset


class ServerStopping(BodyIncomplete):
    """Raised when the server stops receiving a body because it is about to shut down or restart."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.args = ("The server is restarting; request the current offset and resume from there.",)


class UploadLocked(ResumableError):
    """Raised when another request holds the upload and must not be interrupted."""

    def __init__(self) -> None:
        super().__init__("Another request is working on this upload; try again in a moment.")


class ClaimLost(ResumableError):
    """Raised when a newer request has taken over the upload, so that this one must not write any more."""

    def __init__(self) -> None:
        super().__init__("A newer request took over this upload; request the current offset and resume from there.")


class BytesLost(ResumableError):
    """Raised when the storage lacks bytes that were saved, after a power failure or because somebody deleted them.

    :param offset: How many bytes are left from the start, without a gap.
    """

    def __init__(self, offset: int) -> None:
        super().__init__("The server lost part of this upload; request the current offset and resume from there.")
        self.offset = offset


class Unavailable(ResumableError):
    """Raised when the database or the storage cannot be reached. The upload is unchanged."""

    is_logged = False  # whether the cause is in the log already

    def __init__(self, message: str = "The server cannot store uploads right now; try again later.") -> None:
        super().__init__(message)


class StorageFull(Unavailable):
    """Raised when the storage has no space left, or not enough for the content that a request announces."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or "The server has no space left; try again later.")


class StorageRefuses(Unavailable):
    """Raised when the storage rejects an operation and will do so until somebody changes its settings or the app's."""

    def __init__(self, message: str = "The storage rejects this upload; see the server's log for the reason.") -> None:
        super().__init__(message)

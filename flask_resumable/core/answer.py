"""The response that the app gives to the request that completes an upload."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Self

MAX_BODY = 16 * 1024  # in bytes; the body is stored in the upload's record
_OURS = ("upload-", "tus-", "content-length", "transfer-encoding", "connection", "location")


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to the request that completes an upload. Return it from ``on_complete``.

    ::

        def on_complete(self, upload: Upload) -> Answer:
            photo = Photo(path=str(upload.path))
            db.session.add(photo)
            db.session.flush()
            return Answer(json.dumps({"id": photo.id}), {"Content-Type": "application/json"}, 201)

    It is stored with the upload, so that a client that lost it gets it again. How much of it a client sees depends on
    the protocol; see "Hooks" in the README.

    :param body: Up to 16 KiB.
    :param headers: Header fields to add. They cannot replace those of the protocol.
    :param status: 200 to 299.
    :raises ValueError: The body is too long, or the status or a header field is invalid.
    """

    body: str | bytes = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200

    def __post_init__(self) -> None:
        if not 200 <= self.status < 300:
            raise ValueError(
                f"Answer takes a status from 200 to 299, not {self.status}; raise UploadRejected to refuse."
            )
        if len(self.content) > MAX_BODY:
            raise ValueError(f"The body of an Answer may be at most {MAX_BODY} bytes, not {len(self.content)}.")
        for name, value in self.headers.items():
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"{name!r} is not a valid name for a header field.")
            if not value.isprintable() or not value.isascii():
                raise ValueError(f"{value!r} is not a valid value for the header field {name}.")

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        return self.body.encode() if isinstance(self.body, str) else self.body

    @property
    def added_headers(self) -> dict[str, str]:
        """The header fields, without those that the protocol sets itself."""
        return {name: value for name, value in self.headers.items() if not name.lower().startswith(_OURS)}

    def to_record(self) -> dict[str, Any]:
        """Return a form that can be stored as JSON."""
        is_text = isinstance(self.body, str)
        body = {"text": self.body} if is_text else {"base64": base64.b64encode(self.content).decode()}
        return {"status": self.status, "headers": dict(self.headers), **body}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the answer that :meth:`to_record` was called on."""
        body = record["text"] if "text" in record else base64.b64decode(record["base64"])
        return cls(body, record["headers"], record["status"])

"""The response that the app gives to the request that completes an upload."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Self

MAX_BODY = 16 * 1024  # in bytes; the body is stored in the upload's record
MAX_HEADERS = 4 * 1024  # in bytes; proxies refuse responses whose headers exceed 4 to 8 KiB
# Clients send a chunk again after any other status, 204 included (flow.js, resumable.js, simple-uploader).
STATUSES = (200, 201, 202)
_OURS = ("upload-", "tus-", "content-length", "transfer-encoding", "connection", "keep-alive", "location", "date")
# What must not be stored and sent again, or does not fit a body that is stored as it is.
_REFUSED = ("set-cookie", "www-authenticate", "content-encoding", "content-range", "trailer", "access-control-")


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to the request that completes an upload. Return it from ``on_complete``.

    ::

        def on_complete(self, upload: Upload) -> Answer:
            photo = Photo(path=str(upload.path))
            db.session.add(photo)
            db.session.flush()
            return Answer(json.dumps({"id": photo.id}), {"Content-Type": "application/json"}, 201)

    What a view may return works as well: ``return {"id": photo.id}, 201``. It becomes an ``Answer``, which is stored
    with the upload, so that a client that lost it gets it again. How much of it a client sees depends on the protocol;
    see ``docs/after-completion.md``.

    :param body: Up to 16 KiB.
    :param headers: Header fields to add, up to 4 KiB. They cannot replace those of the protocol.
    :param status: 200, 201 or 202. After any other status, some clients send the last chunk again.
    :raises ValueError: The body or the headers are too long, or the status or a header field is not allowed.
    """

    body: str | bytes = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(
                f"on_complete can answer with the status 200, 201 or 202, not {self.status}: after any other, some "
                "clients send the last chunk again. Raise UploadRejected to refuse the upload."
            )
        if len(self.content) > MAX_BODY:
            raise ValueError(f"The body of an Answer may be at most {MAX_BODY} bytes, not {len(self.content)}.")
        if sum(len(name) + len(value) + 4 for name, value in self.headers.items()) > MAX_HEADERS:
            raise ValueError(f"The headers of an Answer may have at most {MAX_HEADERS} bytes.")
        for name, value in self.headers.items():
            if name.lower().startswith(_REFUSED):
                raise ValueError(
                    f"An Answer cannot have the header field {name}, because it is stored and sent again. Set it with "
                    "after_this_request instead."
                )
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

    @property
    def bare_headers(self) -> dict[str, str]:
        """The same without those that describe the body, for responses that do not have it."""
        return {name: value for name, value in self.added_headers.items() if not name.lower().startswith("content-")}

    @property
    def value(self) -> Any:
        """The body as a value for JSON: what it contains if it is JSON, otherwise text."""
        text = self.content.decode(errors="replace")
        kind = next((value for name, value in self.headers.items() if name.lower() == "content-type"), "")
        if kind.partition(";")[0].strip().lower() == "application/json":
            try:
                return json.loads(text)
            except ValueError:  # the app's mistake, which must not keep the client from its answer
                pass
        return text

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

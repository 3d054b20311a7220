"""The app's own final answer to the request that completes an upload."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Self

MAX_BODY = 16 * 1024  # bytes; it is kept in the upload's record
_OURS = ("upload-", "tus-", "content-length", "transfer-encoding", "connection", "location")


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``on_complete`` returns to have a say in the final answer. It is kept, for clients that lost it.

    How much of it a client sees depends on the protocol: see the guide to hooks.

    :param body: Up to 16 KiB.
    :param headers: Header fields to add. Those of the protocol itself stay as they are.
    :raises ValueError: Something is not possible in an answer.
    """

    body: str | bytes = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200

    def __post_init__(self) -> None:
        if not 200 <= self.status < 300:
            raise ValueError(f"The status of an Answer is from 200 to 299, not {self.status}; to refuse, raise.")
        if len(self.content) > MAX_BODY:
            raise ValueError(f"The body of an Answer has {MAX_BODY} bytes at most, not {len(self.content)}.")
        for name, value in self.headers.items():
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"{name!r} is not the name of a header field.")
            if not value.isprintable() or not value.isascii():
                raise ValueError(f"The value of {name} is not one of a header field: {value!r}.")

    @property
    def content(self) -> bytes:
        """The body in bytes."""
        return self.body.encode() if isinstance(self.body, str) else self.body

    @property
    def added_headers(self) -> dict[str, str]:
        """The header fields, without those that are the protocol's."""
        return {name: value for name, value in self.headers.items() if not name.lower().startswith(_OURS)}

    def to_record(self) -> dict[str, Any]:
        """As JSON can keep it."""
        is_text = isinstance(self.body, str)
        body = {"text": self.body} if is_text else {"base64": base64.b64encode(self.content).decode()}
        return {"status": self.status, "headers": dict(self.headers), **body}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """What :meth:`to_record` made."""
        body = record["text"] if "text" in record else base64.b64decode(record["base64"])
        return cls(body, record["headers"], record["status"])

"""What a signed token allows: to create one upload, and to work on that upload afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from datetime import UTC
from typing import Any
from typing import Self

HEADER = "Upload-Token"
PARAMETER = "upload_token"  # in the query, or in a form, for clients that cannot set headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The content of a token. Sizes are in bytes."""

    nonce: str  # tells this token from all others
    expires_at: datetime  # when the upload must have been created
    owner: str | None = None
    max_size: int | None = None
    length: int | None = None  # if set, the upload must have exactly this length
    metadata: Mapping[str, str] = field(default_factory=dict)  # replaces what the client says

    @property
    def request_key(self) -> str:
        """The ``request_key`` of the upload, which is unique. It does not give the token away."""
        return hashlib.sha256(json.dumps(["token", self.nonce]).encode()).hexdigest()

    def to_payload(self) -> dict[str, Any]:
        """Return the content as JSON that is as short as possible."""
        found = {
            "n": self.nonce,
            "t": int(self.expires_at.timestamp()),
            "o": self.owner,
            "s": self.max_size,
            "l": self.length,
            "m": dict(self.metadata) or None,
        }
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Return the content of a token whose signature was verified."""
        return cls(
            nonce=payload["n"],
            expires_at=datetime.fromtimestamp(payload["t"], UTC),
            owner=payload.get("o"),
            max_size=payload.get("s"),
            length=payload.get("l"),
            metadata=payload.get("m") or {},
        )

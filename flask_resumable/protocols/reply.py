"""A response that does not depend on Flask."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP response, before it is converted to a Flask response."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    content: bytes = b""  # what to send instead of ``body`` if it may not be text

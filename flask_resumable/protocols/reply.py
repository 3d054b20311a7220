"""What goes back to the client."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP response, not yet a Flask one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""

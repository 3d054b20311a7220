"""What goes back to the client, and what headers look like from here."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import Protocol


class Fields(Protocol):
    """Request headers or form fields: anything with ``get``."""

    def get(self, key: str, /) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP response, not yet a Flask one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""

"""The model: what may be true of an upload, and so what may be answered about it.

It knows no storage, database or process. Where a cut connection or a killed process leaves something open, it has a
range of offsets or a set of fates, and each answer narrows them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from dataclasses import field
from typing import Any

FOUND, EXPIRED, MISSING = "found", "expired", "missing"


def content_of(number: int, size: int) -> bytes:
    """The bytes of an upload, of which no two parts are alike."""
    return random.Random(number).randbytes(size)


@dataclass(eq=False)
class Upload:
    """An upload of tus or the draft. What is true of it is between the extremes that are noted here."""

    path: str
    owner: str
    content: bytes  # what its client sends in all
    has_length: bool  # whether the server has been told how long that is
    kind: str  # "whole", "part" or "final"
    dies: tuple[float, float]  # it expires between these times if it is not complete
    parts: tuple[Upload, ...] = ()
    low: int = 0  # the server has said that it has so much
    high: int = 0  # it has been sent no more than that
    is_complete: bool = False
    may_be_complete: bool = False  # all of its parts have been complete at the same time
    is_gone: bool = False
    may_be_gone: bool = False
    holders: list[Any] = field(default_factory=list)  # requests whose bodies hang

    def __repr__(self) -> str:
        state = "gone" if self.is_gone else "complete" if self.is_complete else f"{self.low}..{self.high}"
        return f"<{self.kind} {self.path[-6:]} {state} of {len(self.content)}>"

    def fates(self, owner: str, now: float) -> set[str]:
        """What a request of this owner may be told."""
        if owner != self.owner or self.is_gone:
            return {MISSING}
        fates = {MISSING} if self.may_be_gone else set()
        if self.is_complete and self.kind != "part":
            return fates | {FOUND}
        parts = [part.fates(owner, now) for part in self.parts]  # without them, a final upload cannot be completed
        if now >= self.dies[0] or any(part != {FOUND} for part in parts):
            fates.add(EXPIRED)
        # A request that receives content keeps its upload from expiring, and may be alive or not.
        if self.may_be_complete or self.holders or (now < self.dies[1] and all(FOUND in part for part in parts)):
            fates.add(FOUND)
        return fates

    def is_at(self, offset: int) -> None:
        """The server has said so. It may not take that back, nor have more than it was sent."""
        assert self.low <= offset <= self.high, f"{self!r} cannot be at {offset}"
        self.low = self.high = offset

    def may_reach(self, offset: int) -> None:
        """Bytes up to there have been sent, and it is open how many were kept."""
        self.high = max(self.high, min(offset, len(self.content)))

    @property
    def completions(self) -> range:
        """How often on_complete may have taken effect."""
        if self.kind == "part" or (self.kind == "whole" and self.high < len(self.content)):
            return range(1)
        return range(1, 2) if self.is_complete else range(2)

    def cleaned(self, now: float) -> None:
        """The cleaner has run: what has expired is gone, unless a request works on it or it is complete."""
        if EXPIRED in self.fates(self.owner, now) and now >= self.dies[0]:
            self.may_be_gone = True
            self.is_gone = now >= self.dies[1] and not self.holders and self.high < len(self.content)


@dataclass(eq=False)
class File:
    """A file that a flow.js client sends in chunks. It is named by the client, so it may begin again under its name."""

    owner: str
    name: str
    content: bytes
    chunk: int
    dies: tuple[float, float]
    id: str | None = None
    has: set[int] = field(default_factory=set)
    may_have: set[int] = field(default_factory=set)  # these, too, or not
    completed_at: float | None = None
    cancelled_at: float | None = None
    was_there: bool = True  # whether it is certain that there was something to cancel

    def __repr__(self) -> str:
        return f"<file {self.name} {sorted(self.has)} of {len(self.content)}>"

    def begins_again(self, dies: tuple[float, float]) -> None:
        """The server does not know it any more."""
        self.id, self.dies = None, dies
        self.has, self.may_have = set(), set()
        self.completed_at = self.cancelled_at = None
        self.was_there = True

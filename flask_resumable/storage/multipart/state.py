"""What the record of an unfinished upload says about its bytes in the store.

Parts of a multipart upload have numbers, and whichever request sends a number last wins, even one that has been
overtaken. So a writer first notes in the record up to which number it may be sending parts (``busy``). A writer that
finds such a note of another's keeps away from these numbers (``tainted``): it puts its parts into objects of their own
instead, which are copied in at the end.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from dataclasses import replace
from typing import Any
from typing import Self

from ...core.upload import JSONObject
from ...errors import BytesLost
from .geometry import Geometry

STAGED = "@"  # begins a part that is an object of its own; others are tags


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipartState:
    """The bytes in order: ``parts``, then ``tails``, which are the beginning of the part that comes next."""

    geometry: Geometry
    multipart: str | None = None
    parts: tuple[str, ...] = ()  # tags, or STAGED and the name of a helper
    tails: tuple[tuple[str, int], ...] = ()  # names of helpers, and sizes
    busy: int = 0  # parts below this number may be on their way, if they are not in `parts`
    tainted: int = 0  # the same, by writers that are no more
    superseded: tuple[str, ...] = ()  # helpers that were needed before

    @classmethod
    def read(cls, stored: JSONObject, fitting: Geometry) -> Self:
        """What a record says, or the state of a new upload, with the geometry that is fitting now."""
        if "part_size" not in stored:
            return cls(geometry=fitting)
        return cls(
            geometry=Geometry(stored["part_size"], stored.get("growth", 0)),
            multipart=stored.get("multipart"),
            parts=tuple(stored.get("parts", ())),
            tails=tuple((name, size) for name, size in stored.get("tails", ())),
            busy=stored.get("busy", 0),
            tainted=stored.get("tainted", 0),
            superseded=tuple(stored.get("superseded", ())),
        )

    def to_json(self) -> JSONObject:
        """For the record."""
        values: dict[str, Any] = {
            "multipart": self.multipart,
            "parts": list(self.parts),
            "tails": [list(tail) for tail in self.tails],
            "busy": self.busy,
            "tainted": self.tainted,
            "superseded": list(self.superseded),
            "growth": self.geometry.step,
        }
        return {"part_size": self.geometry.first, **{name: value for name, value in values.items() if value}}

    @property
    def next_number(self) -> int:
        """The part that is to be filled."""
        return len(self.parts) + 1

    def end_of_parts(self, length: int | None) -> int:
        """Up to which byte there are parts."""
        return self.geometry.stop(len(self.parts), length) if self.parts else 0

    def stop(self, length: int | None) -> int:
        """Up to which byte there is anything."""
        return self.end_of_parts(length) + sum(size for _, size in self.tails)

    def taken_over(self) -> MultipartState:
        """For a new writer: what another has noted that it would do, it may still be doing."""
        if not self.parts:  # nothing is lost by starting anew, and nobody else knows the new multipart upload
            return replace(self, multipart=None, busy=0, tainted=0)
        return replace(self, busy=0, tainted=max(self.busy, self.tainted))

    def without_superseded(self, gone: Collection[str]) -> MultipartState:
        """With what is left to be removed of the helpers that were needed before."""
        return replace(self, superseded=tuple(name for name in self.superseded if name not in gone))

    def cut(self, start: int, length: int | None) -> MultipartState:
        """Without what lies after ``start``: those bytes were lost, or never counted.

        :raises BytesLost: There is less than that.
        """
        kept = len(self.parts)
        while kept and self.geometry.stop(kept, length) > start:
            kept -= 1
        tails = self.tails if kept == len(self.parts) else ()
        end = self.geometry.stop(kept, length) if kept else 0
        while tails and end + sum(size for _, size in tails) > start:
            tails = tails[:-1]
        found = end + sum(size for _, size in tails)
        if found < start:
            raise BytesLost(found)
        if (kept, tails) == (len(self.parts), self.tails):
            return self
        named = {part.removeprefix(STAGED) for part in self.parts[kept:] if part.startswith(STAGED)}
        named |= {name for name, _ in self.tails[len(tails) :]}
        # A multipart upload of which nothing is left may be what was lost.
        multipart = self.multipart if kept else None
        return replace(
            self,
            multipart=multipart,
            parts=self.parts[:kept],
            tails=tails,
            tainted=self.tainted if multipart else 0,
            superseded=(*self.superseded, *sorted(named)),
        )

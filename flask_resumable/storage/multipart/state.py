"""What the record of an unfinished upload says about its bytes in the store.

If two requests send a part with the same number, the last one wins, even if it was overtaken. So a writer first notes
in the record up to which number it may send parts (``busy``). A writer that finds such a note from another one avoids
these numbers (``tainted``): it stores its parts as separate objects, which are copied into the upload at the end.
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

STAGED = "@"  # the prefix of a part that is a separate object; other parts are tags


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipartState:
    """The bytes in order: ``parts``, then ``tails``, which are the beginning of the next part."""

    geometry: Geometry
    multipart: str | None = None
    parts: tuple[str, ...] = ()  # tags, or STAGED and the name of a helper
    tails: tuple[tuple[str, int], ...] = ()  # names of helpers, and sizes
    busy: int = 0  # parts below this number that are not in `parts` may be being sent
    tainted: int = 0  # the same, by earlier writers
    superseded: tuple[str, ...] = ()  # helpers that are no longer needed

    @classmethod
    def read(cls, stored: JSONObject, fitting: Geometry) -> Self:
        """Return the state in a record, or that of a new upload with the geometry ``fitting``."""
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
        """Return a form that can be stored in the record."""
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
        """The number of the part that is being filled."""
        return len(self.parts) + 1

    def end_of_parts(self, length: int | None) -> int:
        """Return where the parts end, in bytes."""
        return self.geometry.stop(len(self.parts), length) if self.parts else 0

    def stop(self, length: int | None) -> int:
        """Return where the bytes end."""
        return self.end_of_parts(length) + sum(size for _, size in self.tails)

    def taken_over(self) -> MultipartState:
        """Return the state for a new writer. The previous one may still be sending the parts that it noted."""
        if not self.parts:  # a new multipart upload costs nothing, and no other writer knows it
            return replace(self, multipart=None, busy=0, tainted=0)
        return replace(self, busy=0, tainted=max(self.busy, self.tainted))

    def without_superseded(self, gone: Collection[str]) -> MultipartState:
        """Return the state without the superseded helpers that are gone."""
        return replace(self, superseded=tuple(name for name in self.superseded if name not in gone))

    def cut(self, start: int, length: int | None) -> MultipartState:
        """Return the state without the bytes after ``start``, which were lost or never counted.

        :raises BytesLost: There are fewer than ``start`` bytes.
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
        # If no part is left, the multipart upload itself may have been lost.
        multipart = self.multipart if kept else None
        return replace(
            self,
            multipart=multipart,
            parts=self.parts[:kept],
            tails=tails,
            tainted=self.tainted if multipart else 0,
            superseded=(*self.superseded, *sorted(named)),
        )

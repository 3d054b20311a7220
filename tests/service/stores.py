"""Records and bytes in memory of which tests say what is wrong with them, and that notice what is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from datetime import datetime

from flask_resumable.core.health import CheckResult
from flask_resumable.core.selection import ALL
from flask_resumable.core.selection import Selection
from flask_resumable.core.upload import JSONObject
from flask_resumable.core.upload import Upload
from flask_resumable.errors import Unavailable
from flask_resumable.interfaces import StorageCapabilities
from flask_resumable.repositories.memory import MemoryRepository
from tests.memory_storage import MemoryStorage


class Records(MemoryRepository):
    """Records that other processes see, too. Notes how many are read at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []

    def is_in_memory(self) -> bool:
        return False

    def expired(self, now: datetime, *, limit: int, after: Upload | None = None) -> Sequence[Upload]:
        return self._noted(super().expired(now, limit=limit, after=after))

    def pending(self, *, limit: int, after: str = "") -> Sequence[Upload]:
        return self._noted(super().pending(limit=limit, after=after))

    def list(self, selection: Selection = ALL, *, limit: int, after: str = "") -> Sequence[Upload]:
        return self._noted(super().list(selection, limit=limit, after=after))

    def ids_with_unfinished_bytes(self, upload_ids: Sequence[str]) -> set[str]:
        self.read.append(len(upload_ids))
        return super().ids_with_unfinished_bytes(upload_ids)

    def _noted(self, found: Sequence[Upload]) -> Sequence[Upload]:
        self.read.append(len(found))
        return found


class Bytes(MemoryStorage):
    """A storage with all that maintenance can ask of one."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = StorageCapabilities(verification=self, health=self, space=self, concatenation=self)
        self.leftovers: list[tuple[str, datetime]] = []  # names, and when they were written
        self.is_reachable = True
        self.looked: Callable[[Upload], object] = lambda upload: None  # called after each look at an upload's bytes
        self.room: int | None = None
        self.asked: list[bool] = []

    def verify(self, upload: Upload) -> list[str]:
        lost = upload.received.total - len(self.contents.get(upload.id, b""))
        self.looked(upload)
        return [f"{lost} bytes are missing."] if lost else []

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        for name, written in self.leftovers:
            if written < older_than:
                yield name, lambda name=name: len(self.contents.pop(name))  # type: ignore[misc]
        if not self.is_reachable:
            raise Unavailable

    def concatenate(self, upload: Upload, parts: Sequence[Upload], fence: int) -> JSONObject:
        self.contents[upload.id] = bytearray(b"".join(self.contents[part.id] for part in parts))
        return {}

    def free(self, upload: Upload) -> int | None:
        return self.room

    def check(self, now: datetime, *, quick: bool) -> Iterator[CheckResult]:
        self.asked.append(quick)
        yield CheckResult("bytes", "ok", f"It is {now:%H:%M}.")

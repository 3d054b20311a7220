"""The service on records and bytes in memory, with an app whose hooks are noted, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from typing import Any
from typing import Self

from flask_resumable.core.answer import Answer
from flask_resumable.core.upload import Creation
from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import Upload
from flask_resumable.core.upload import Write
from flask_resumable.interfaces.observer import Cleanup
from flask_resumable.interfaces.observer import Observer
from flask_resumable.interfaces.observer import Removal
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.service.uploads import UploadService
from tests.bodies import PlainBody
from tests.memory_storage import MemoryStorage

HOUR = timedelta(hours=1)
LEASE = timedelta(seconds=6)


class Content(PlainBody):
    """A body that has arrived, all of it or up to a cut."""

    def __init__(self, content: bytes, *, size: int | None = None) -> None:
        self.size = len(content) if size is None else size
        self._content = content
        self._blocks: list[bytes] = []

    @contextmanager
    def incoming(self, room: int) -> Iterator[Self]:
        self.is_whole = len(self._content) == self.size
        self._blocks = [block for block in (self._content[:room],) if block]
        yield self

    def take(self) -> bytes:
        return self._blocks.pop(0) if self._blocks else b""


class Facts(Observer):
    """Notes what an observer is told."""

    def __init__(self) -> None:
        self.noted: list[tuple[object, ...]] = []

    def created(self, upload: Upload) -> None:
        self.noted.append(("created", upload.status.value))

    def completed(self, upload: Upload) -> None:
        self.noted.append(("completed", upload.status.value, upload.request_count))

    def removed(self, upload: Upload, why: Removal) -> None:
        self.noted.append(("removed", why.value))

    def took_over(self, upload: Upload) -> None:
        self.noted.append(("took over", upload.offset))

    def rescued(self, upload: Upload, size: int) -> None:
        assert upload.offset >= size
        self.noted.append(("rescued", size))

    def cleaned(self, run: Cleanup) -> None:
        self.noted.append(("cleaned", run.removed, run.bytes, run.orphans, run.failed))


class Site:
    """One app."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)
        self.called: list[str] = []  # hooks, in order
        self.told: list[str] = []  # observers, in order
        self.during: dict[str, Callable[[Any], Answer | None]] = {}  # what hooks do
        self.facts = Facts()
        self.repository = MemoryRepository()
        self.storage = MemoryStorage()
        self.limits = Limits(expiration=HOUR)
        self.without: set[str] = {"on_progress"}  # hooks that the app does not have; that one depends on time
        self.options: dict[str, Any] = {}
        self.service = self.restarted()

    def restarted(self, **options: Any) -> UploadService:
        """The service of a new process, with what it is to know besides."""
        self.options |= options
        self.service = UploadService(
            self.repository,
            self.storage,
            self,
            now=lambda: self.now,
            observer=self.facts,
            **{"lease": LEASE, "completed_ttl": timedelta(minutes=5), "cancelled_ttl": timedelta(minutes=2)}
            | self.options,
        )
        return self.service

    # --- what the service calls ---

    def named(self, name: str) -> Callable[[Any], Answer | None] | None:
        if name in self.without:
            return None

        def hook(upload: Any) -> Answer | None:
            self.called.append(name)
            return self.during[name](upload) if name in self.during else None

        return hook

    def observer(self, name: str) -> Callable[[Any], object]:
        return lambda upload: self.told.append(name)

    # --- what tests do ---

    def create(self, length: int | None, content: bytes | None = None, **wishes: Any) -> Upload:
        """A new upload, with content if there is some."""
        body = None if content is None else (Write(start=0, size=len(content)), Content(content))
        return self.service.create(Creation(length=length, **wishes), owner=None, limits=self.limits, content=body)

    def write(self, upload: Upload, start: int, content: bytes, *, size: int | None = None) -> Upload:
        """Content; ``size``: what the client has announced, if it leaves before it has sent all."""
        body = Content(content, size=size)
        return self.service.write(upload.id, Write(start=start, size=body.size), body, owner=None, limits=self.limits)

    def saved(self, upload: Upload) -> Upload:
        """The record."""
        return self.repository.get(upload.id)

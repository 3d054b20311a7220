"""One request that receives content, step by step: what arrives when, what the storage can do, and what is noted."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from typing import Any
from typing import Self

import pytest

from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.upload import advance
from flask_resumable.core.upload import JSONObject
from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.core.upload import Write
from flask_resumable.errors import ClaimLost
from flask_resumable.interfaces import Piped
from flask_resumable.interfaces import StorageCapabilities
from flask_resumable.interfaces import WriterCapabilities
from flask_resumable.interfaces.observer import Activity
from flask_resumable.interfaces.observer import Kind
from flask_resumable.interfaces.observer import Observer
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.service.claims import ClaimedUpload
from flask_resumable.service.claims import Claims
from flask_resumable.service.transfer import Receiver
from tests.bodies import PlainBody
from tests.own_time import Clock

ID = "a" * 32
LEASE = timedelta(seconds=10)
LARGE = b"x" * 64 * 1024  # a block of a size that suggests that there is more
END = b""
START = datetime(2026, 1, 2, tzinfo=UTC)
MANY = 32 * 1024 * 1024


class Body(PlainBody):
    """What arrives: blocks, and in between what happens while the request waits for the next one."""

    def __init__(self, *arrives: bytes | Piped | Callable[[], object], size: int | None = None) -> None:
        self.size = size
        self.did: list[str] = []
        self.before: Callable[[], object] = lambda: None
        self.trailers: dict[str, str] = {}
        self.stops_soon = True
        self.arrives = [*arrives]
        self.room: int | None = None
        self._is_over = False

    @contextmanager
    def incoming(self, room: int) -> Iterator[Self]:
        self.room = room
        self.before()
        yield self

    def comes(self, *blocks: bytes | Piped) -> None:
        """Let content arrive at once; ``END`` lets the body end."""
        self.arrives[:0] = blocks

    def take(self) -> Any:
        assert not self._is_over, "Nothing is taken after the end."
        self.did.append("take")
        if self.arrives and callable(self.arrives[0]):
            return None
        block = self.arrives.pop(0) if self.arrives else END
        self._is_over = block == END
        return block

    def wait(self) -> None:
        self.did.append("wait")
        if self.arrives and callable(self.arrives[0]):
            step = self.arrives[0]
            step()  # until it is over, nothing more has arrived but what it lets come
            self.arrives.remove(step)

    def pause(self) -> None:
        self.did.append("pause")

    def interrupt(self) -> None:
        self.did.append("interrupt")

    def stop(self) -> bool:
        self.did.append("stop")
        return self.stops_soon

    def trailer(self, name: str) -> str | None:
        return self.trailers.get(name)


@dataclass
class Paced:
    """A storage that makes bytes durable in parts of four."""

    site: Site
    is_due: bool = False
    did: list[str] = field(default_factory=list)

    def checkpoint(self, *, counts: bool) -> tuple[int, JSONObject]:
        self.did.append(f"checkpoint {counts}")
        size = len(self.site.writer.content) // 4 * 4
        return (size if counts else 0), {"parts": size // 4}

    def saved(self) -> None:
        self.did.append(f"saved {self.site.saved.offset}")

    def conclude(self, *, counts: bool) -> tuple[int, JSONObject]:
        self.did.append(f"conclude {counts}")
        return (len(self.site.writer.content) if counts else 0), {"rest": True}


class Noting:
    """Notes progress beside the bytes."""

    is_counted: bool

    def __init__(self) -> None:
        self.checks = 0
        self.is_lost = False

    def check(self) -> None:
        self.checks += 1
        if self.is_lost:
            raise ClaimLost


class Writer:
    """Bytes in memory. What a test does in between is a part of storing a block, or of making it durable."""

    def __init__(self, site: Site) -> None:
        self.content = b""
        self.piped = 0
        self.flushes = 0
        self.storing: Callable[[], object] = lambda: None
        self.flushing: Callable[[], object] = lambda: None
        self.capabilities = WriterCapabilities()
        self._site = site

    def write(self, block: bytes | memoryview, /) -> None:
        self.storing()
        self.content += block

    def write_piped(self, block: Piped, /) -> None:
        self.storing()
        self.piped += block.size

    def flush(self) -> JSONObject:
        self.flushes += 1
        self.flushing()
        return {}


class Records(MemoryRepository):
    """Counts what is saved."""

    def __init__(self, did: list[str]) -> None:
        super().__init__()
        self.saves = 0
        self._did = did

    def save(self, upload: Upload, *arguments: Any, **options: Any) -> None:
        self.saves += 1
        super().save(upload, *arguments, **options)

    def release_connection(self) -> None:
        self._did.append("release connection")


class Seen(Observer):
    """Notes what is told of the content of requests."""

    kinds = frozenset({Kind.RECEIVE})

    def __init__(self) -> None:
        self.told: list[object] = []

    def doing(self, kind: Kind, operation: str, upload: Upload | None = None) -> AbstractContextManager[Activity]:
        assert upload is not None
        self.told.append((kind, operation, upload.id))
        told = self.told

        class Told(Activity):
            def note(self, name: str, value: str | int) -> None:
                told.append((name, value))

        @contextmanager
        def lasts() -> Iterator[Activity]:
            yield Told()
            told.append("ended")

        return lasts()


class Site:
    """An upload of nine bytes, the first two of which are there, and a request that continues it."""

    limits = Limits(max_size=2**40)

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
        self.clock = Clock(monkeypatch)
        self.now = START
        self.did: list[str] = []
        self.listening: list[str] = []
        self.listeners: set[str] = set()
        self.space: int | None = None
        self.has_progress = False
        self.reported: list[int] = []
        self.capabilities = StorageCapabilities(space=self)
        self.observer: Observer = Observer()
        self.repository = Records(self.did)
        self.writer = Writer(self)
        self.claimed: ClaimedUpload
        about: dict[str, Any] = {"length": 9, "received": ByteRanges.prefix(2), **fields}
        self.repository.add(Upload(id=ID, status=Status.ACTIVE, created_at=self.now, **about), until=None)

    # --- what the receiver calls ---

    def free(self, upload: Upload) -> int | None:
        assert upload.id == ID
        return self.space

    def called(self, name: str, upload: Upload) -> None:
        self.did.append(f"{name} at {upload.offset}")

    def report(self, upload: Upload, write: Write, position: int, limits: Limits) -> None:
        self.reported.append(advance(upload, write.start, position, limits, self.now).offset)

    @contextmanager
    def opened(self, upload: Upload, start: int, fence: int) -> Iterator[Writer]:
        assert (upload.id, fence) == (ID, self.saved.fence)
        self.did.append(f"open at {start}")
        yield self.writer

    def add(self, claimed: ClaimedUpload) -> None:
        assert claimed is self.claimed
        self.listening.append("add")

    def discard(self, claimed: ClaimedUpload) -> None:
        assert claimed is self.claimed
        self.listening.append("discard")

    # --- what tests do ---

    def receive(self, body: Body, start: int = 2, **write: Any) -> Upload:
        """Receive the body in a request. Return the record as it is before the claim is released."""
        storage: Any = _Storage(self)
        listener: Any = self
        progress: Any = self if self.has_progress else None
        claims = Claims(self.repository, storage, lease=LEASE, now=lambda: self.now, observer=Observer())
        receiver = Receiver(
            self.repository,
            storage,
            self.called,
            lambda name: name in self.listeners,
            listener,
            lambda: self.now,
            self.observer,
            progress,
        )
        taken = claims.take_free(ID, owner=None)
        assert taken is not None
        self.claimed = taken
        self.repository.saves = 0
        with claims.keep(taken):
            try:
                receiver.receive(taken, Write(start=start, size=body.size, **write), body, self.limits)
            finally:
                self.at_end = self.saved
        return self.at_end

    @property
    def transfer(self) -> Any:
        """The transfer, as other requests see it."""
        assert self.claimed.transfer is not None
        return self.claimed.transfer

    @property
    def saved(self) -> Upload:
        """The record."""
        return self.repository.get(ID)

    def paced(self) -> Paced:
        """Let the storage decide when to save."""
        paced = Paced(self)
        self.writer.capabilities = WriterCapabilities(paced=paced)
        return paced

    def piped(self) -> None:
        """Let the storage take what is in pipes."""
        self.writer.capabilities = WriterCapabilities(pipes=self.writer)

    def noting(self) -> Noting:
        """Let the storage note progress."""
        noting = Noting()
        self.writer.capabilities = WriterCapabilities(progress=noting)
        return noting


class _Storage:
    def __init__(self, site: Site) -> None:
        self.capabilities = site.capabilities
        self.writer = site.opened


def whole(*arrives: Any, **options: Any) -> Body:
    """A body that is not cut."""
    body = Body(*arrives, **options)
    body.is_whole = True
    return body

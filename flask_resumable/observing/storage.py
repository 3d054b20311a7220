"""A storage whose calls are measured, and whose bytes are counted."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from typing import BinaryIO

from ..core.upload import JSONObject
from ..core.upload import Upload
from ..interfaces import Concatenates
from ..interfaces import IncomingChunk
from ..interfaces import Moves
from ..interfaces import Piped
from ..interfaces import PlacesChunks
from ..interfaces import Slot
from ..interfaces import Storage
from ..interfaces import Writer
from ..interfaces.observer import Kind
from ..interfaces.observer import Observer


class ObservedStorage:
    """Passes all calls on to a storage, and tells an observer of those that take time."""

    def __init__(self, storage: Storage, observer: Observer) -> None:
        self._storage = storage
        self._observer = observer
        can = storage.capabilities
        self.capabilities = replace(
            can,
            chunks=None if can.chunks is None else _ObservedChunks(can.chunks, observer),
            concatenation=None if can.concatenation is None else _ObservedConcatenation(can.concatenation, observer),
            moves=None if can.moves is None else _ObservedMoves(can.moves, observer),
        )
        self.path = storage.path
        self.orphans: Callable[[datetime], Iterator[tuple[str, Callable[[], int]]]] = storage.orphans

    @contextmanager
    def writer(self, upload: Upload, start: int, fence: int) -> Iterator[Writer]:
        with self._storage.writer(upload, start, fence) as writer:
            yield _ObservedWriter(writer, self._observer, upload)

    def finish(self, upload: Upload, fence: int) -> JSONObject:
        with self._observer.doing(Kind.STORAGE, "publish", upload):
            return self._storage.finish(upload, fence)

    def open(self, upload: Upload) -> BinaryIO:
        with self._observer.doing(Kind.STORAGE, "open", upload):
            return self._storage.open(upload)

    def delete(self, upload: Upload) -> None:
        with self._observer.doing(Kind.STORAGE, "delete", upload):
            self._storage.delete(upload)

    def remove_orphans(self, upload: Upload) -> None:
        with self._observer.doing(Kind.STORAGE, "remove_orphans", upload):
            self._storage.remove_orphans(upload)


class _ObservedWriter:
    def __init__(self, writer: Writer, observer: Observer, upload: Upload) -> None:
        self._writer = writer
        self._observer = observer
        self._upload = upload
        self.capabilities = writer.capabilities
        self._meter = observer.meter(upload)
        if self._meter is None:
            self.write = writer.write  # type: ignore[method-assign]  # nothing is measured for each block
        elif (pipes := writer.capabilities.pipes) is not None:
            self._write_piped = pipes.write_piped
            self.capabilities = writer.capabilities._replace(pipes=self)

    def write(self, block: bytes | memoryview, /) -> None:
        self._writer.write(block)
        assert self._meter is not None
        self._meter(len(block))

    def write_piped(self, block: Piped, /) -> None:
        self._write_piped(block)
        assert self._meter is not None
        self._meter(block.size)

    def flush(self) -> JSONObject:
        with self._observer.doing(Kind.STORAGE, "sync", self._upload):
            return self._writer.flush()


class _ObservedChunks:
    def __init__(self, chunks: PlacesChunks, observer: Observer) -> None:
        self._chunks = chunks
        self._observer = observer
        self.layout = chunks.layout
        self.spool = chunks.spool

    @contextmanager
    def placing(self, upload: Upload, number: int, start: int) -> Iterator[Slot]:
        with self._chunks.placing(upload, number, start) as slot:
            yield _ObservedSlot(slot, self._observer, upload, start)

    def receiving(self, upload: Upload, number: int, start: int, size: int) -> IncomingChunk | None:
        incoming = self._chunks.receiving(upload, number, start, size)
        return None if incoming is None else _ObservedIncoming(incoming, self._observer, upload, start)


class _ObservedSlot:
    def __init__(self, slot: Slot, observer: Observer, upload: Upload, start: int) -> None:
        self._slot = slot
        self._observer = observer
        self._upload = upload
        self._start = start

    def fill(self, content: BinaryIO) -> None:
        with self._observer.doing(Kind.RECEIVE, "chunk", self._upload) as activity:
            self._slot.fill(content)
            size = content.tell()
            activity.note("request.offset", self._start)
            activity.note("request.size", size)
            if (meter := self._observer.meter(self._upload)) is not None:
                meter(size)


class _ObservedIncoming:
    """The activity lasts until the chunk is closed."""

    def __init__(self, incoming: IncomingChunk, observer: Observer, upload: Upload, start: int) -> None:
        self._incoming = incoming
        self._observer = observer
        self._upload = upload
        self._meter = observer.meter(upload)
        self._size = 0
        self._stack = ExitStack()
        self._activity = self._stack.enter_context(observer.doing(Kind.RECEIVE, "chunk", upload))
        self._activity.note("request.offset", start)
        self.is_first = incoming.is_first

    def write(self, block: bytes | memoryview, /) -> None:
        self._incoming.write(block)
        self._count(len(block))

    def write_piped(self, block: Piped, /) -> None:
        self._incoming.write_piped(block)
        self._count(block.size)

    def _count(self, size: int) -> None:
        self._size += size
        if self._meter is not None:
            self._meter(size)

    @contextmanager
    def settling(self) -> Iterator[object]:
        with ExitStack() as stack:
            with self._observer.doing(Kind.STORAGE, "sync", self._upload):
                settled = stack.enter_context(self._incoming.settling())
            yield settled

    def withdraw(self) -> None:
        self._incoming.withdraw()
        self._end()

    def close(self) -> None:
        try:
            self._incoming.close()
        finally:
            self._end()

    def _end(self) -> None:
        self._activity.note("request.size", self._size)
        self._stack.close()


class _ObservedConcatenation:
    def __init__(self, concatenation: Concatenates, observer: Observer) -> None:
        self._concatenation = concatenation
        self._observer = observer

    def concatenate(self, upload: Upload, parts: Sequence[Upload], fence: int) -> JSONObject:
        with self._observer.doing(Kind.STORAGE, "concatenate", upload):
            return self._concatenation.concatenate(upload, parts, fence)


class _ObservedMoves:
    def __init__(self, moves: Moves, observer: Observer) -> None:
        self._moves = moves
        self._observer = observer
        self.settle_moves = moves.settle_moves
        self.delete = moves.delete

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> JSONObject:
        with self._observer.doing(Kind.STORAGE, "move", upload):
            return self._moves.move(upload, target, overwrite=overwrite)

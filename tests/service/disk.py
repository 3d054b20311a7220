"""The same app with uploads on a disk, which others can use at the worst moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask_resumable.core.upload import Upload
from flask_resumable.interfaces.chunks import IncomingChunk
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.service.cleanup import Cleaner
from flask_resumable.service.cleanup import Report
from flask_resumable.service.uploads import UploadService
from flask_resumable.storage.local import LocalStorage
from flask_resumable.storage.local.chunk_folder import ChunkFolder

from .site import HOUR
from .site import Site


class Repository(MemoryRepository):
    """It notes whether a connection of the app's is in use: by itself, or by a hook."""

    is_used = False

    def get(self, upload_id: str) -> Upload:
        self.is_used = True
        return super().get(upload_id)

    def find(self, key: str) -> Upload:
        self.is_used = True
        return super().find(key)

    def release_connection(self) -> None:
        self.is_used = False


class Disk(LocalStorage):
    """Others can do something just before a chunk gets its place."""

    def __init__(self, folder: Path, *, chunks: ChunkFolder | None = None) -> None:
        super().__init__(folder, durability="none", chunks=chunks)
        self.before: Callable[[], object] = lambda: None

    def _others_act(self) -> None:
        act, self.before = self.before, lambda: None
        act()

    def receiving(self, upload: Upload, number: int, start: int, size: int) -> IncomingChunk | None:
        self._others_act()
        return super().receiving(upload, number, start, size)

    def placing(self, upload: Upload, number: int, start: int) -> Any:
        self._others_act()
        return super().placing(upload, number, start)


class DiskSite(Site):
    """It calls all uploads the same if it is told a name.

    :param merges: Whether chunks are kept in a folder of their own until all are there.
    :param reports: Whether the app wants to know the progress.
    """

    chosen: str | None = None

    def __init__(self, home: Path, *, merges: bool = False, reports: bool = False) -> None:
        self.progress: list[int] | None = [] if reports else None
        super().__init__()
        self.folder = home / "uploads"
        self.disk = Disk(self.folder, chunks=ChunkFolder(self.folder / "chunks") if merges else None)
        self.records = self.repository = Repository()
        self.service = UploadService(
            self.records,
            self.disk,
            self,
            lease=timedelta(seconds=6),
            completed_ttl=timedelta(minutes=5),
            cancelled_ttl=timedelta(minutes=2),
            now=lambda: self.now,
            observer=self.facts,
            choose_id=lambda upload: self.chosen,
        )

    def named(self, name: str) -> Callable[[Any], Any] | None:
        if name == "on_progress":
            return None if self.progress is None else self._note_progress
        hook = super().named(name)

        def using(upload: Any) -> Any:
            self.records.is_used = True
            return hook(upload) if hook else None

        return hook and using

    def _note_progress(self, upload: Any) -> None:
        assert self.progress is not None
        self.progress.append(upload.offset)

    def forget(self) -> None:
        """All uploads expire, and are removed without a trace."""
        self.now += HOUR
        [*Cleaner(self.service, batch=9).delete_expired(Report(), orphans_after=HOUR)]
        assert self.records.list(limit=9) == []

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

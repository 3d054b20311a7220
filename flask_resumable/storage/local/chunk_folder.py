"""Chunks in a folder of their own, merged when the last has come.

The way of older flow.js servers, for apps that want to change chunks as they are merged (decrypt, unpack), or to keep
them. It costs a copy of the file at the end; chunks that are placed in the file at once (``storage.py``) cost none.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ...core.ids import ID_PATTERN
from ...core.ranges import chunk_spans
from ...core.ranges import ChunkSpan
from ...core.upload import Upload
from ...errors import BytesLost
from .files import copy_range
from .files import copy_stream
from .files import size_of

PreProcess = Callable[[BinaryIO, BinaryIO], object]  # reads a chunk from the first, writes what is to be merged


class ChunkFolder:
    """A folder with a folder for each upload, ``<id>``, and in that a file for each chunk, ``<number>.chunk``.

    Chunks that are kept are in ``<id>.kept`` when their upload is finished.

    :param directory: Where they are.
    :param pre_process: What to put each chunk through when it is merged; it may change its length.
    :param keep: Whether chunks stay when their upload is finished.
    """

    def __init__(self, directory: Path, *, pre_process: PreProcess | None = None, keep: bool = False) -> None:
        self._directory = directory
        self._pre_process = pre_process
        self._keep = keep

    def store(self, upload: Upload, number: int, content: BinaryIO, sync: Callable[[int], None]) -> None:
        """Keep one chunk: whole, or not at all."""
        folder = self._folder(upload)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{number}.{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as target:
                copy_stream(content, target)
                target.flush()
                sync(target.fileno())
            temporary.replace(self._chunk(upload, number))
        finally:
            temporary.unlink(missing_ok=True)

    def check(self, upload: Upload) -> None:
        """Whether all chunks are there, as they were received.

        :raises BytesLost: One is not.
        """
        for chunk in _chunks(upload):
            try:
                found = self._chunk(upload, chunk.number).stat().st_size
            except FileNotFoundError:
                raise BytesLost(chunk.start) from None
            if found != chunk.size:
                raise BytesLost(chunk.start)

    @property
    def changes_size(self) -> bool:
        """Whether a merged file may be longer or shorter than its chunks."""
        return self._pre_process is not None

    def problems(self, upload: Upload) -> list[str]:
        """What is wrong with the chunks that the record counts as received, in plain words."""
        found = []
        for chunk in _chunks(upload):
            if upload.received.has(chunk):
                file = self._chunk(upload, chunk.number)
                there = size_of(file)
                if there is None:
                    found.append(f"Chunk {chunk.number}, {file}, is missing.")
                elif there != chunk.size:
                    found.append(f"Chunk {chunk.number}, {file}, has {there} bytes, not {chunk.size}.")
        return found

    def merge(self, upload: Upload, target: BinaryIO) -> None:
        """Write all chunks in order, each put through the app's callback."""
        for chunk in _chunks(upload):
            with self._chunk(upload, chunk.number).open("rb") as source:
                if self._pre_process is None:
                    copy_range(source.fileno(), target.fileno(), chunk.start, chunk.size)
                else:
                    self._pre_process(source, target)

    def finish(self, upload: Upload) -> None:
        """The file is published: drop its chunks, unless they are to be kept."""
        folder = self._folder(upload)
        if not self._keep:
            return self._remove_folder(folder)
        if folder.exists():
            for file in folder.iterdir():
                if file.suffix != ".chunk":
                    file.unlink()  # its process died before it was whole
            folder.rename(self._kept(upload))  # else the cleaner would take them for orphans

    def delete(self, upload: Upload) -> None:
        """Remove all chunks of an upload."""
        self._remove_folder(self._folder(upload))
        self._remove_folder(self._kept(upload))

    @staticmethod
    def _remove_folder(folder: Path) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)

    def orphans(self, older_than: float) -> Iterator[tuple[str, Callable[[], int]]]:
        """Folders that were last touched before ``older_than``, in seconds since 1970."""
        if not self._directory.is_dir():
            return
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    is_ours = ID_PATTERN.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
                    if is_ours and entry.stat().st_mtime < older_than:
                        yield entry.name, partial(self._remove, Path(entry.path))

    @staticmethod
    def _remove(folder: Path) -> int:
        freed = sum(chunk.stat().st_size for chunk in folder.iterdir())
        shutil.rmtree(folder)
        return freed

    def _folder(self, upload: Upload) -> Path:
        if not ID_PATTERN.fullmatch(upload.id):
            raise ValueError(f"{upload.id!r} is not an upload id.")
        return self._directory / upload.id

    def _kept(self, upload: Upload) -> Path:
        return self._folder(upload).with_suffix(".kept")

    def _chunk(self, upload: Upload, number: int) -> Path:
        return self._folder(upload) / f"{number}.chunk"


def _chunks(upload: Upload) -> Iterator[ChunkSpan]:
    assert upload.length is not None
    return chunk_spans(upload.storage["chunk_size"], upload.storage["chunks"], upload.length)

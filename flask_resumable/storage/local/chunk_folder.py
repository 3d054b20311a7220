"""Keeps chunks in a separate folder, and merges them when the last one has arrived.

Older flow.js servers work like this. It is for apps that change chunks when they are merged (decrypt or unpack them),
or that want to keep them. Merging copies the file at the end; chunks that are written straight into the file
(``storage.py``) avoid that.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ...core.ids import NAME_PATTERN
from ...core.ranges import chunk_spans
from ...core.ranges import ChunkSpan
from ...core.upload import Upload
from ...errors import BytesLost
from .files import copy_range
from .files import copy_stream
from .files import make_folders
from .files import size_of
from .files import sync_directory

_CHUNK = re.compile(r"[0-9]+\.(?:chunk|[0-9a-f]{16})")  # complete, or cut off

PreProcess = Callable[[BinaryIO, BinaryIO], object]  # reads a chunk from the first, and writes to the second


class ChunkFolder:
    """A folder for chunks, with a folder for each upload, ``<id>``, and a file for each chunk, ``<number>.chunk``.

    ::

        def decrypt(source, target):
            target.write(cipher.decrypt(source.read()))

        storage = LocalStorage("uploads", chunks=ChunkFolder(Path("chunks"), pre_process=decrypt))
        FlaskResumable(app, storage=storage)

    If chunks are kept, they are in ``<id>.kept`` once their upload is complete.

    :param directory: The folder.
    :param pre_process: Called with each chunk and the merged file, two binary streams. It may change the length.
    :param keep: Whether to keep chunks after their upload is complete.
    """

    def __init__(self, directory: Path, *, pre_process: PreProcess | None = None, keep: bool = False) -> None:
        self._directory = directory
        self._pre_process = pre_process
        self._keep = keep

    def store(
        self, upload: Upload, number: int, content: BinaryIO, sync: Callable[[int], None], *, is_durable: bool
    ) -> None:
        """Store one chunk, completely or not at all."""
        folder = self._folder(upload)
        make_folders(str(folder), is_durable=is_durable)
        temporary = folder / f"{number}.{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as target:
                copy_stream(content, target)
                target.flush()
                sync(target.fileno())
            temporary.replace(self._chunk(upload, number))
            if is_durable:
                sync_directory(str(folder))  # a chunk without its name would be lost
        finally:
            temporary.unlink(missing_ok=True)

    def check(self, upload: Upload) -> None:
        """Check that all chunks exist and have their size.

        :raises BytesLost: A chunk does not.
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
        """Describe what is wrong with the chunks that the record counts as received."""
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
        """Write all chunks in order, each processed by the app's callback."""
        for chunk in _chunks(upload):
            with self._chunk(upload, chunk.number).open("rb") as source:
                if self._pre_process is None:
                    copy_range(source.fileno(), target.fileno(), chunk.start, chunk.size)
                else:
                    self._pre_process(source, target)

    def finish(self, upload: Upload, *, is_durable: bool) -> None:
        """Remove the chunks of a published file, unless they are to be kept."""
        folder = self._folder(upload)
        if not self._keep:
            return self._remove_folder(folder, is_durable=is_durable)
        if folder.exists():
            for file in folder.iterdir():
                if file.suffix != ".chunk":
                    file.unlink()  # left incomplete by a process that died
            folder.rename(self._kept(upload))  # so that the cleaner does not take them for orphans
            if is_durable:
                sync_directory(str(self._directory))

    def delete(self, upload: Upload, *, is_durable: bool) -> None:
        """Remove all chunks of an upload."""
        self._remove_folder(self._folder(upload), is_durable=is_durable)
        self._remove_folder(self._kept(upload), is_durable=is_durable)

    @staticmethod
    def _remove_folder(folder: Path, *, is_durable: bool) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
            if is_durable:
                sync_directory(str(folder.parent))

    def orphans(self, older_than: float) -> Iterator[tuple[str, Callable[[], int]]]:
        """Yield folders that were last changed before ``older_than``, in seconds since 1970."""
        if not self._directory.is_dir():
            return
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    is_ours = NAME_PATTERN.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
                    if is_ours and entry.stat().st_mtime < older_than and _has_only_chunks(entry.path):
                        yield entry.name, partial(self._remove, Path(entry.path))

    @staticmethod
    def _remove(folder: Path) -> int:
        freed = sum(chunk.stat().st_size for chunk in folder.iterdir())
        shutil.rmtree(folder)
        return freed

    def _folder(self, upload: Upload) -> Path:
        name = upload.stored_as
        if not NAME_PATTERN.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of an upload's bytes.")
        return self._directory / name

    def _kept(self, upload: Upload) -> Path:
        return self._folder(upload).with_suffix(".kept")

    def _chunk(self, upload: Upload, number: int) -> Path:
        return self._folder(upload) / f"{number}.chunk"


def _has_only_chunks(folder: str) -> bool:
    """Whether there is nothing but chunks in a folder. If there is, it is not ours, whatever its name is."""
    with os.scandir(folder) as entries:
        return all(_CHUNK.fullmatch(entry.name) and entry.is_file(follow_symlinks=False) for entry in entries)


def _chunks(upload: Upload) -> Iterator[ChunkSpan]:
    assert upload.length is not None
    return chunk_spans(upload.storage["chunk_size"], upload.storage["chunks"], upload.length)

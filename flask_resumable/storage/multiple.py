"""Combines several storages. Each upload is kept in one of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from pathlib import Path
from typing import Any
from typing import BinaryIO

from ..core.health import CheckResult
from ..core.placement import NAME
from ..core.placement import Place
from ..core.upload import JSONObject
from ..core.upload import Upload
from ..errors import ConfigurationError
from ..errors import Unavailable
from ..interfaces import IncomingChunk
from ..interfaces import PlacesChunks
from ..interfaces import Slot
from ..interfaces import Storage
from ..interfaces import StorageCapabilities
from ..interfaces import Writer

Chooser = Callable[[Upload], object]

_BLOCK = 1024 * 1024  # bytes to copy from one storage to another at a time
_LAYOUT = "layout"  # the chunks of a new upload, until it is known which storage receives them


class MultiStorage:
    """Passes every call on to the storage that an upload's record names.

    :param storages: The storages by name. The first one is the default. It also has the uploads from before there was a
        choice.
    :param storage: Returns the name of the storage for a new upload, or ``None`` for the default.
    :param folder: Returns the folder within the storage for a new upload, or ``None`` for no folder.
    :param parameters: Returns what the storage is told about a new upload, or ``None`` for nothing.
    :raises ConfigurationError: There is no storage, or a name is not valid.
    """

    def __init__(
        self,
        storages: Mapping[str, Storage],
        *,
        storage: Chooser | None = None,
        folder: Chooser | None = None,
        parameters: Chooser | None = None,
    ) -> None:
        if not storages or not all(isinstance(name, str) and NAME.fullmatch(name) for name in storages):
            raise ConfigurationError(
                "storage= takes a storage, or a dict of storages whose names consist of letters, digits, '-' and '_'."
            )
        self._storages = dict(storages)
        self.default = next(iter(storages))
        self._choose_storage = storage
        self._choose_folder = folder
        self._choose_parameters = parameters
        self.capabilities = self._offered([storage.capabilities for storage in storages.values()])

    def _offered(self, theirs: Sequence[StorageCapabilities]) -> StorageCapabilities:
        """Return what this can do: what all storages can, or what any of them can if the others do no harm."""
        return StorageCapabilities(
            placement=self,
            chunks=self if all(can.chunks for can in theirs) else None,
            concatenation=self if all(can.concatenation for can in theirs) else None,
            verification=self if all(can.verification for can in theirs) else None,
            progress=self if any(can.progress for can in theirs) else None,
            moves=self if any(can.moves for can in theirs) else None,
            links=self if any(can.links for can in theirs) else None,
            locations=self if any(can.locations for can in theirs) else None,
            space=self if any(can.space for can in theirs) else None,
            health=self if any(can.health for can in theirs) else None,
        )

    # --- choosing ---

    def choose(self, upload: Upload) -> JSONObject:
        storage = self._chosen_storage(upload)
        place = Place(storage, self._chosen_folder(upload), self._chosen_parameters(upload, storage))
        notes = dict(upload.storage)
        if _LAYOUT in notes:
            notes = dict(_chunks(self._named(place.storage)).layout(*notes.pop(_LAYOUT)))
        return place.note(notes)

    def _chosen_storage(self, upload: Upload) -> str:
        chosen = self._choose_storage(upload) if self._choose_storage else None
        if chosen is None:
            return self.default
        if not isinstance(chosen, str) or chosen not in self._storages:
            raise ValueError(f"choose_storage() returned {chosen!r}; it must be one of {', '.join(self._storages)}.")
        return chosen

    def _chosen_folder(self, upload: Upload) -> str:
        chosen = self._choose_folder(upload) if self._choose_folder else None
        if chosen is None:
            return ""
        if not isinstance(chosen, str):
            raise ValueError(f"choose_folder() returned {chosen!r}, which is not a string.")
        return chosen

    def _chosen_parameters(self, upload: Upload, storage: str) -> Mapping[str, Any]:
        chosen = self._choose_parameters(upload) if self._choose_parameters else None
        if not chosen:
            return {}
        takes = self._named(storage).capabilities.parameters
        if takes is None:
            raise ValueError(f"choose_object_parameters() returned {chosen!r}, but the storage {storage!r} takes none.")
        if not isinstance(chosen, Mapping):
            raise ValueError(f"choose_object_parameters() returned {chosen!r}, which is not a dict.")
        takes.check_parameters(chosen)
        return chosen

    def _of(self, upload: Upload) -> Storage:
        """Return the storage that has the upload.

        :raises Unavailable: It is no longer configured, or not on this machine.
        """
        name = Place.of(upload.storage).storage
        try:
            return self._named(name)
        except KeyError:
            known = ", ".join(self._storages)
            cause = LookupError(f"Upload {upload.id} is in the storage {name!r}, which is not set up here ({known}).")
            raise Unavailable from cause

    def _named(self, name: str | None) -> Storage:
        return self._storages[name or self.default]

    # --- what every storage does ---

    def writer(self, upload: Upload, start: int, fence: int) -> AbstractContextManager[Writer]:
        return self._of(upload).writer(upload, start, fence)

    def finish(self, upload: Upload, fence: int) -> JSONObject:
        return self._of(upload).finish(upload, fence)

    def open(self, upload: Upload) -> BinaryIO:
        return self._of(upload).open(upload)

    def path(self, upload: Upload) -> Path | None:
        return self._of(upload).path(upload)

    def delete(self, upload: Upload) -> None:
        self._of(upload).delete(upload)

    def remove_orphans(self, upload: Upload) -> None:
        self._of(upload).remove_orphans(upload)

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        """Return those of all storages. If one does not respond, the others are still cleaned up."""
        trouble: Unavailable | None = None
        for storage in self._storages.values():
            try:
                yield from storage.orphans(older_than)
            except Unavailable as error:
                trouble = error
        if trouble is not None:
            raise trouble

    # --- optional capabilities ---

    def concatenate(self, upload: Upload, parts: Sequence[Upload], fence: int) -> JSONObject:
        target = self._of(upload)
        if all(self._of(part) is target for part in parts):
            concatenation = target.capabilities.concatenation
            assert concatenation is not None
            return concatenation.concatenate(upload, parts, fence)
        with target.writer(upload, 0, fence) as writer:
            for part in parts:
                self._pour(part, writer)
            return writer.flush()

    def _pour(self, part: Upload, writer: Writer) -> None:
        left = part.length or 0
        with self._of(part).open(part) as stream:
            while left:
                block = stream.read(min(left, _BLOCK))
                if not block:
                    raise Unavailable from EOFError(f"The last {left} bytes of part {part.id} are missing.")
                writer.write(block)
                left -= len(block)

    def layout(self, chunk_size: int, total_chunks: int) -> JSONObject:
        return {_LAYOUT: [chunk_size, total_chunks]}

    def spool(self) -> BinaryIO:
        return _chunks(self._named(None)).spool()

    def placing(self, upload: Upload, number: int, start: int) -> AbstractContextManager[Slot]:
        return _chunks(self._of(upload)).placing(upload, number, start)

    def receiving(self, upload: Upload, number: int, start: int, size: int) -> IncomingChunk | None:
        return _chunks(self._of(upload)).receiving(upload, number, start, size)

    def verify(self, upload: Upload) -> list[str]:
        verification = self._of(upload).capabilities.verification
        assert verification is not None
        return verification.verify(upload)

    def progress(self, upload: Upload, *, durable: bool = True) -> int | None:
        progress = self._of(upload).capabilities.progress
        return None if progress is None else progress.progress(upload, durable=durable)

    def recover(self, upload: Upload, fence: int) -> int:
        progress = self._of(upload).capabilities.progress
        return upload.offset if progress is None else progress.recover(upload, fence)

    def lower_fence(self, upload: Upload, newest: Callable[[], int | None]) -> None:
        progress = self._of(upload).capabilities.progress
        if progress is not None:
            progress.lower_fence(upload, newest)

    def presigned_url(
        self, upload: Upload, *, expires: timedelta, filename: str, content_type: str, disposition: str
    ) -> str | None:
        links = self._of(upload).capabilities.links
        if links is None:
            return None
        return links.presigned_url(
            upload, expires=expires, filename=filename, content_type=content_type, disposition=disposition
        )

    def location(self, upload: Upload) -> str | None:
        locations = self._of(upload).capabilities.locations
        return None if locations is None else locations.location(upload)

    def check(self, now: datetime, *, quick: bool) -> Iterator[CheckResult]:
        for name, storage in self._storages.items():
            health = storage.capabilities.health
            for result in () if health is None else health.check(now, quick=quick):
                yield replace(result, name=f"{name}: {result.name}")

    def free(self, upload: Upload) -> int | None:
        space = self._of(upload).capabilities.space
        return None if space is None else space.free(upload)

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> JSONObject:
        moves = self._of(upload).capabilities.moves
        if moves is None:
            raise RuntimeError(f"The storage of upload {upload.id} cannot move files.")
        return moves.move(upload, target, overwrite=overwrite)

    def settle_moves(self, upload: Upload) -> None:
        moves = self._of(upload).capabilities.moves
        if moves is not None:
            moves.settle_moves(upload)


def _chunks(storage: Storage) -> PlacesChunks:
    """Return how a storage receives chunks. Without a storage that does, chunks are not offered."""
    chunks = storage.capabilities.chunks
    assert chunks is not None
    return chunks

"""Several storages behind one: each upload has its own, and keeps it."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any
from typing import BinaryIO
from typing import cast

from ..core.placement import NAME
from ..core.placement import Place
from ..core.upload import JSONObject
from ..core.upload import Upload
from ..errors import ConfigurationError
from ..errors import Unavailable
from ..interfaces import Storage
from ..interfaces import Writer
from ..interfaces.capabilities import Concatenates
from ..interfaces.capabilities import KeepsProgress
from ..interfaces.capabilities import LinksDownloads
from ..interfaces.capabilities import Locates
from ..interfaces.capabilities import Moves
from ..interfaces.capabilities import Verifies
from ..interfaces.chunks import PlacesChunks
from ..interfaces.chunks import Slot

Chooser = Callable[[Upload], object]

_BLOCK = 1024 * 1024  # bytes on their way from one storage to another
_LAYOUT = "layout"  # what is known of a new upload's chunks, until it is known which storage is to have them


class Choice:
    """Passes everything on to the storage that the upload's record names.

    :param storages: By name; the first takes what nobody has chosen another for, and the uploads of a time when there
        was no choice.
    :param storage: Chooses for a new upload: a name, or ``None`` for the first.
    :param folder: Chooses a folder below the storage, or ``None``.
    :raises ConfigurationError: There is no storage, or a name that is none.
    """

    def __init__(
        self, storages: Mapping[str, Storage], *, storage: Chooser | None = None, folder: Chooser | None = None
    ) -> None:
        if not storages or not all(isinstance(name, str) and NAME.fullmatch(name) for name in storages):
            raise ConfigurationError("storage= takes a storage, or several by name: letters, digits, '-' and '_'.")
        self._storages = dict(storages)
        self._default = next(iter(storages))
        self._choose_storage = storage
        self._choose_folder = folder
        self._offer_what_all_can(list(storages.values()))

    def _offer_what_all_can(self, storages: Sequence[Storage]) -> None:
        """An optional ability is told by its methods: they are there if every upload's storage has them.

        Or if one has them, where it is no harm that others have not.
        """
        if all(isinstance(storage, Concatenates) for storage in storages):
            self.concatenate = self._concatenate
        if all(isinstance(storage, PlacesChunks) for storage in storages):
            self.layout, self.spool, self.placing = self._layout, self._spool, self._placing
        if all(isinstance(storage, Verifies) for storage in storages):
            self.verify = self._verify
        if any(isinstance(storage, KeepsProgress) for storage in storages):
            self.progress, self.recover = self._progress, self._recover
        if any(isinstance(storage, LinksDownloads) for storage in storages):
            self.presigned_url = self._presigned_url
        if any(isinstance(storage, Locates) for storage in storages):
            self.location = self._location
        if any(isinstance(storage, Moves) for storage in storages):
            self.move, self.settle_moves = self._move, self._settle_moves

    # --- choosing ---

    def choose(self, upload: Upload) -> JSONObject:
        place = Place(self._chosen_storage(upload), self._chosen_folder(upload))
        notes = dict(upload.storage)
        if _LAYOUT in notes:
            notes = dict(cast(PlacesChunks, self._named(place.storage)).layout(*notes.pop(_LAYOUT)))
        return place.note(notes)

    def _chosen_storage(self, upload: Upload) -> str:
        chosen = self._choose_storage(upload) if self._choose_storage else None
        if chosen is None:
            return self._default
        if not isinstance(chosen, str) or chosen not in self._storages:
            raise ValueError(f"choose_storage() returned {chosen!r}; there are {', '.join(self._storages)}.")
        return chosen

    def _chosen_folder(self, upload: Upload) -> str:
        chosen = self._choose_folder(upload) if self._choose_folder else None
        if chosen is None:
            return ""
        if not isinstance(chosen, str):
            raise ValueError(f"choose_folder() returned {chosen!r}, which is no text.")
        return chosen

    def _of(self, upload: Upload) -> Storage:
        """The storage that has the upload.

        :raises Unavailable: It is not configured any more, or not on this machine.
        """
        name = Place.of(upload.storage).storage
        try:
            return self._named(name)
        except KeyError:
            known = ", ".join(self._storages)
            cause = LookupError(f"Upload {upload.id} is in the storage {name!r}, which is not set up: only {known}.")
            raise Unavailable from cause

    def _named(self, name: str | None) -> Storage:
        return self._storages[name or self._default]

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

    def discard_stray(self, upload: Upload) -> None:
        self._of(upload).discard_stray(upload)

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        """Those of all storages. One that does not answer keeps nobody from cleaning the others."""
        trouble: Unavailable | None = None
        for storage in self._storages.values():
            try:
                yield from storage.orphans(older_than)
            except Unavailable as error:
                trouble = error
        if trouble is not None:
            raise trouble

    # --- what some do ---

    def _concatenate(self, upload: Upload, parts: Sequence[Upload], fence: int) -> JSONObject:
        target = self._of(upload)
        if all(self._of(part) is target for part in parts):
            return cast(Concatenates, target).concatenate(upload, parts, fence)
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
                    raise Unavailable from EOFError(f"Part {part.id} lacks {left} of its bytes.")
                writer.write(block)
                left -= len(block)

    def _layout(self, chunk_size: int, total_chunks: int) -> JSONObject:
        return {_LAYOUT: [chunk_size, total_chunks]}

    def _spool(self) -> BinaryIO:
        return cast(PlacesChunks, self._named(None)).spool()

    def _placing(self, upload: Upload, number: int, start: int) -> AbstractContextManager[Slot]:
        return cast(PlacesChunks, self._of(upload)).placing(upload, number, start)

    def _verify(self, upload: Upload) -> list[str]:
        return cast(Verifies, self._of(upload)).verify(upload)

    def _progress(self, upload: Upload, *, durable: bool = True) -> int | None:
        storage = self._of(upload)
        return storage.progress(upload, durable=durable) if isinstance(storage, KeepsProgress) else None

    def _recover(self, upload: Upload, fence: int) -> int:
        storage = self._of(upload)
        return storage.recover(upload, fence) if isinstance(storage, KeepsProgress) else upload.offset

    def _presigned_url(self, upload: Upload, **wishes: Any) -> str | None:
        storage = self._of(upload)
        return storage.presigned_url(upload, **wishes) if isinstance(storage, LinksDownloads) else None

    def _location(self, upload: Upload) -> str | None:
        storage = self._of(upload)
        return storage.location(upload) if isinstance(storage, Locates) else None

    def _move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> JSONObject:
        storage = self._of(upload)
        if not isinstance(storage, Moves):
            raise RuntimeError(f"The storage of upload {upload.id} cannot move it.")
        return storage.move(upload, target, overwrite=overwrite)

    def _settle_moves(self, upload: Upload) -> None:
        storage = self._of(upload)
        if isinstance(storage, Moves):
            storage.settle_moves(upload)

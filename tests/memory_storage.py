"""Bytes in this process's memory: a storage whose uploads have no path."""

from __future__ import annotations

import io
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from datetime import timedelta
from typing import Any
from typing import BinaryIO

from flask_resumable.core.upload import JSONObject
from flask_resumable.core.upload import Upload
from flask_resumable.errors import Unavailable
from flask_resumable.interfaces import StorageCapabilities
from flask_resumable.interfaces import Writer
from flask_resumable.interfaces import WriterCapabilities


class Stream(io.BytesIO):
    """What is read, and how, is noted."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads: list[tuple[int, int]] = []  # position and size

    def read(self, size: int | None = -1) -> bytes:
        position = self.tell()
        block = super().read(size)
        self.reads.append((position, len(block)))
        return block


class MemoryStorage:
    """A dictionary."""

    capabilities = StorageCapabilities()

    def __init__(self) -> None:
        self.contents: dict[str, bytearray] = {}
        self.opened: list[Stream] = []

    @contextmanager
    def writer(self, upload: Upload, start: int, fence: int) -> Iterator[Writer]:
        content = self.contents.setdefault(upload.id, bytearray())
        del content[start:]

        class Appending:
            capabilities = WriterCapabilities()

            def write(self, block: bytes | memoryview, /) -> None:
                content.extend(block)

            def flush(self) -> JSONObject:
                return {}

        yield Appending()

    def finish(self, upload: Upload, fence: int) -> JSONObject:
        self.contents.setdefault(upload.id, bytearray())  # it may be empty
        return {"key": upload.id}

    def open(self, upload: Upload) -> BinaryIO:
        if upload.id not in self.contents:
            raise Unavailable
        self.opened.append(Stream(bytes(self.contents[upload.id])))
        return self.opened[-1]

    def path(self, upload: Upload) -> None:
        return None

    def delete(self, upload: Upload) -> None:
        self.contents.pop(upload.id, None)

    def remove_orphans(self, upload: Upload) -> None:
        pass

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        return iter(())


class LinkedStorage(MemoryStorage):
    """One whose uploads can be fetched elsewhere, but for those that are called ``here``."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = StorageCapabilities(links=self, locations=self)
        self.wishes: list[dict[str, Any]] = []

    def location(self, upload: Upload) -> str:
        return f"https://store.example/{upload.id}"

    def presigned_url(
        self, upload: Upload, *, expires: timedelta, filename: str, content_type: str, disposition: str
    ) -> str | None:
        if filename == "here":
            return None
        self.wishes.append(
            {"expires": expires, "filename": filename, "content_type": content_type, "disposition": disposition}
        )
        return f"https://store.example/{upload.id}?signature=abc&expires={expires.seconds}"

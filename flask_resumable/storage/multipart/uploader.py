"""Sends the parts of one request to the store, several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from ...core.upload import Upload
from ...errors import Unavailable
from .buffer import Buffer
from .buffer import Content
from .buffer import Memory
from .keys import Keys
from .orphans import begin
from .state import STAGED
from .store import ObjectInfo
from .store import ObjectStore


class Uploader:
    """Writes the objects of one upload, with threads that are started when they are first needed.

    :param directory: The folder for parts that do not fit in memory.
    :param info: The description of the finished upload.
    """

    at_once = 4  # parts

    def __init__(
        self,
        store: ObjectStore,
        keys: Keys,
        upload: Upload,
        memory: Memory,
        directory: str | None,
        info: ObjectInfo | None,
    ) -> None:
        self.info = info
        self._store = store
        self._keys = keys
        self._upload = upload
        self._target = keys.target(upload)
        self._memory = memory
        self._directory = directory
        self._threads: ThreadPoolExecutor | None = None
        self._cancelled = threading.Event()

    def buffer(self, size: int) -> Buffer:
        """Return a buffer for ``size`` bytes."""
        return Buffer(size, self._memory, self._directory)

    def begin(self) -> str:
        """Start a multipart upload and return its id."""
        return begin(self._store, self._keys, self._upload, self.info)

    def send_part(self, multipart: str, number: int, buffer: Buffer) -> Future[str]:
        """Start to send a part. The future has its tag, or raises ``Missing``."""
        return self.submit(lambda: self._store.put_part(self._target, multipart, number, self.content(buffer)))

    def stage_part(self, name: str, buffer: Buffer) -> Future[str]:
        """Start to write a part to a separate object. The future has its name in the state."""

        def stage() -> str:
            self.keep(name, buffer, 0)
            return STAGED + name

        return self.submit(stage)

    def submit(self, act: Callable[[], str]) -> Future[str]:
        """Call a function in another thread."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.at_once, thread_name_prefix="resumable-parts")
        return self._threads.submit(act)

    def keep(self, name: str, buffer: Buffer, start: int) -> None:
        """Write the content of a buffer from ``start`` to a helper."""
        self._store.put(self._keys.helper(self._upload.stored_as, name), self.content(buffer, start))

    def load(self, name: str, size: int, target: Buffer) -> None:
        """Append a helper's content to a buffer. Raises ``Missing`` if it does not exist or is too short."""
        self.load_range(self._keys.helper(self._upload.stored_as, name), 0, size, target)

    def load_range(self, key: str, start: int, stop: int, target: Buffer) -> None:
        """Append a range of an object to a buffer. Raises ``Missing`` if it does not exist or is too short."""
        self._store.get_into(key, start, stop, target.write)

    def forget(self, names: Iterable[str]) -> None:
        """Remove helpers. If this fails, they are removed with the upload."""
        with suppress(Unavailable):
            for name in names:
                self._store.delete(self._keys.helper(self._upload.stored_as, name))

    def stop(self) -> None:
        """Stop sending, and wait for the threads."""
        self._cancelled.set()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def content(self, buffer: Buffer, start: int = 0) -> Content:
        """Return the content of a buffer from ``start``, which can be read until :meth:`stop`."""
        return Content(buffer, start, self._cancelled)

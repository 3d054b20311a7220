"""What one request sends to the store, several parts at once."""

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
from .store import ObjectStore

_STEP = 8 * 1024 * 1024  # bytes fetched at a time


class Uploader:
    """The objects of one upload, and threads for as long as they are needed.

    :param directory: Where parts are kept on their way, if not in memory.
    """

    at_once = 4

    def __init__(self, store: ObjectStore, keys: Keys, upload: Upload, memory: Memory, directory: str | None) -> None:
        self._store = store
        self._keys = keys
        self._upload = upload
        self._target = keys.target(upload)
        self._memory = memory
        self._directory = directory
        self._threads: ThreadPoolExecutor | None = None
        self._cancelled = threading.Event()

    def buffer(self, size: int) -> Buffer:
        """Room for so many bytes."""
        return Buffer(size, self._memory, self._directory)

    def begin(self) -> str:
        """Start a multipart upload; its id."""
        return begin(self._store, self._keys, self._upload)

    def send_part(self, multipart: str, number: int, buffer: Buffer) -> Future[str]:
        """Upload a part; in the end, its tag, or ``Missing``."""
        return self.submit(lambda: self._store.put_part(self._target, multipart, number, self.content(buffer)))

    def stage_part(self, name: str, buffer: Buffer) -> Future[str]:
        """Write a part to an object of its own; in the end, how the state names it."""

        def stage() -> str:
            self.keep(name, buffer, 0)
            return STAGED + name

        return self.submit(stage)

    def submit(self, act: Callable[[], str]) -> Future[str]:
        """Do something beside others."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.at_once, thread_name_prefix="resumable-parts")
        return self._threads.submit(act)

    def keep(self, name: str, buffer: Buffer, start: int) -> None:
        """Write what is in the buffer from ``start`` on to a helper."""
        self._store.put(self._keys.helper(self._upload.id, name), self.content(buffer, start))

    def load(self, name: str, size: int, target: Buffer) -> None:
        """Append a helper's content to a buffer. Raises ``Missing``, also if it is too short."""
        self.load_range(self._keys.helper(self._upload.id, name), 0, size, target)

    def load_range(self, key: str, start: int, stop: int, target: Buffer) -> None:
        """Append some bytes of any object. Raises ``Missing``, also if it is too short."""
        while start < stop:
            step = min(stop, start + _STEP)
            target.write(self._store.get(key, start, step))
            start = step

    def forget(self, names: Iterable[str]) -> None:
        """Remove helpers. Those that are left will go with the upload."""
        with suppress(Unavailable):
            for name in names:
                self._store.delete(self._keys.helper(self._upload.id, name))

    def stop(self) -> None:
        """End whatever is on its way."""
        self._cancelled.set()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def content(self, buffer: Buffer, start: int = 0) -> Content:
        """What is in a buffer from ``start`` on, to be sent for as long as the request goes on."""
        return Content(buffer, start, self._cancelled)

"""``wsgi.input``, and what an app has read from it by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

INPUT = "wsgi.input"
WATCHED = "flask_resumable.input"  # also after somebody has put another stream in its place


class WatchedInput:
    """Passes everything on, and counts the bytes that were read.

    :param fault: What was wrong with the stream before.
    """

    def __init__(self, stream: Any, fault: str) -> None:
        self.stream = stream
        self.fault = fault
        self.count = 0  # bytes
        self.was_read = False  # also when that has brought nothing

    def read(self, *args: Any) -> Any:
        """Read, and remember that."""
        self.was_read = self.was_read or args != (0,)
        return self._counted(self.stream.read(*args))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> Any:
        self.was_read = True
        return self._counted(next(iter(self.stream)))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.stream, name)
        if not name.startswith("read") or not callable(found):
            return found

        def read(*args: Any) -> Any:
            self.was_read = True
            return self._counted(found(*args))

        return read

    def _counted(self, found: Any) -> Any:
        if isinstance(found, int):  # readinto()
            self.count += found
        elif found is not None:
            self.count += len(found) if isinstance(found, bytes) else sum(map(len, found))
        return found


def watch(environ: dict[str, Any], fault: str) -> None:
    """From here on, see what is read."""
    environ[INPUT] = environ[WATCHED] = WatchedInput(environ[INPUT], fault)


def server_input(environ: dict[str, Any]) -> Any:
    """The stream as the server has made it, or a middleware before Flask."""
    watched = environ.get(WATCHED)
    return environ.get(INPUT) if watched is None else watched.stream

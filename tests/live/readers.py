"""Apps that read bodies before the extension can: each a way of doing so, by its name."""

from __future__ import annotations

import io
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from flask import Flask
from flask import request

Environ = dict[str, Any]


def cached() -> None:
    """Request logging, a signature: the body is read, and kept by Flask."""
    request.get_data()


def cached_with_form() -> None:
    """The same, after a look into the form."""
    request.form.get("csrf_token")
    request.get_data()


def not_cached() -> None:
    """The same, and not kept."""
    request.get_data(cache=False)


def form() -> None:
    """A look into the form, for a CSRF token."""
    request.form.get("csrf_token")


def stream() -> None:
    """A look at the first bytes."""
    request.stream.read(5)


def stream_then_cached() -> None:
    """A look at the first bytes, and then at all that is left."""
    request.stream.read(5)
    request.get_data()


def raw() -> None:
    """A look at the first bytes, past Flask."""
    request.environ["wsgi.input"].read(5)


def line() -> None:
    """A look at the first line."""
    request.environ["wsgi.input"].readline()


def replaced() -> None:
    """All is read, and put back as it was."""
    size = int(request.environ.get("CONTENT_LENGTH") or 0)
    request.environ["wsgi.input"] = io.BytesIO(request.environ["wsgi.input"].read(size))


def replaced_and_read() -> None:
    """The same, and then somebody looks at the first bytes."""
    replaced()
    request.environ["wsgi.input"].read(5)


def replaced_by_the_rest() -> None:
    """What is put back has its beginning missing."""
    raw()
    size = int(request.environ.get("CONTENT_LENGTH") or 0) - 5
    request.environ["wsgi.input"] = io.BytesIO(request.environ["wsgi.input"].read(max(size, 0)))


class Wrapper:
    """Counts what is read, say."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> Any:
        """Pass it on."""
        return self._stream.read(size)


def wrapped() -> None:
    """Nothing is read yet, but there is something around the stream."""
    request.environ["wsgi.input"] = Wrapper(request.environ["wsgi.input"])


def read_and_wrapped() -> None:
    """Around the rest of the stream, there is something."""
    raw()
    wrapped()


def middleware_reads(environ: Environ) -> None:
    """A WSGI middleware looks at the first bytes."""
    environ["wsgi.input"].read(5)


def middleware_reads_all(environ: Environ) -> None:
    """A WSGI middleware reads all, and puts nothing back."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


def middleware_replaces(environ: Environ) -> None:
    """A WSGI middleware reads all, and puts it back."""
    environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))


def middleware_wraps(environ: Environ) -> None:
    """A WSGI middleware puts something around the stream."""
    environ["wsgi.input"] = Wrapper(environ["wsgi.input"])


IN_FLASK: list[Callable[[], None]] = [
    cached,
    cached_with_form,
    not_cached,
    form,
    stream,
    stream_then_cached,
    raw,
    line,
    replaced,
    replaced_and_read,
    replaced_by_the_rest,
    wrapped,
    read_and_wrapped,
]
AROUND: list[Callable[[Environ], None]] = [
    middleware_reads,
    middleware_reads_all,
    middleware_replaces,
    middleware_wraps,
]


def add_reader(app: Flask) -> None:
    """Requests name the way in a header, ``X-Reader``."""
    in_flask = {reader.__name__: reader for reader in IN_FLASK}
    around = {reader.__name__: reader for reader in AROUND}
    inner = app.wsgi_app

    def read_around(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if reader := around.get(environ.get("HTTP_X_READER", "")):
            reader(environ)
        return inner(environ, start_response)

    app.wsgi_app = read_around  # type: ignore[method-assign]

    def read_first() -> None:
        if reader := in_flask.get(request.headers.get("X-Reader", "")):
            reader()

    app.before_request(read_first)

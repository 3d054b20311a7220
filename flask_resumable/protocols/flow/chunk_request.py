"""Reads a flow.js request with a chunk in order: its parameters, its content, and the parameters after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import cast

from flask import Request
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.http import parse_options_header

from ...core.checksum import Hasher
from ...errors import InvalidRequest
from ...errors import ResumableError
from ...errors import TooLarge
from ...wsgi.body import RequestBody
from ...wsgi.first_reader import is_parsed
from ...wsgi.pipes import MIN_PIPED_SIZE
from ...wsgi.query import not_utf8
from . import messages as flow
from .form import Block
from .form import cut_off
from .form import Fields
from .form import FormReader
from .form import OVERHEAD
from .form import ParsedForm
from .form import Sink

_GRACE = 0.75  # seconds for the rest of a chunk when the server stops; a chunk is sent again as a whole
DRAIN = 16 * 1024 * 1024  # bytes to read after a refusal: browsers see no response before they have sent everything


class ChunkRequest:
    """A request with a chunk. Call :meth:`find_file`, then :meth:`receive` or :meth:`drain`, then :meth:`close`.

    :param file_field: The form field that contains the chunk.
    :param max_size: The maximum size of a chunk, in bytes.
    :raises TooLarge: The announced size of the body is too large. Nothing was read.
    :raises InvalidRequest: The body is a form without a boundary, or the query is not UTF-8.
    """

    def __init__(self, request: Request, body: RequestBody, *, file_field: str, max_size: int) -> None:
        self._request = request
        self._body = body
        self._max_size = max_size
        if body.size is not None and body.size > max_size + OVERHEAD:
            raise self._too_large()
        body.grace = _GRACE
        try:
            self._query = list(request.args.items(multi=True))
        except UnicodeDecodeError:
            raise not_utf8() from None
        self._content = _content_of(request, body, file_field, max_size + OVERHEAD)
        self._file: Iterator[Block] | None = None
        self._parameters: flow.Parameters | None = None
        self.size = 0  # bytes of the chunk read so far

    @property
    def known(self) -> dict[str, str]:
        """The parameters read so far, whether or not they are valid."""
        return dict([*self._query, *self._content.fields, *self._content.later_fields])

    @property
    def parameters(self) -> flow.Parameters:
        """The parameters in the query and before the chunk; after :meth:`receive`, also those after the chunk.

        :raises InvalidRequest: They contradict each other.
        """
        if self._parameters is None:
            self._parameters = flow.merge([*self._query, *self._content.fields])
        return self._parameters

    @property
    def has_later_parameters(self) -> bool:
        """Whether there were parameters after the chunk."""
        return bool(self._content.later_fields)

    def find_file(self) -> bool:
        """Read the fields before the chunk and return whether there is a chunk. If not, the whole body has been read.

        :raises BodyIncomplete: The body was cut off.
        :raises ResumableError: See :class:`FormReader`.
        """
        has_file = self._content.find_file()
        if isinstance(self._content, FormReader):
            self._show_form()
        if not has_file:
            self._check_end()
        return has_file

    def receive(self, into: Sink, hasher: Hasher | None = None) -> None:
        """Read the chunk and the rest of the request.

        :raises TooLarge: The chunk is too large.
        :raises InvalidRequest: The parameters after the chunk contradict those before it; or as in :meth:`find_file`.
        """
        self._file = self._content.file(into)
        for block in self._file:
            if not block:
                continue  # nothing arrived for a while
            self.size += len(block)
            if self.size > self._max_size:
                self.drain()
                raise self._too_large()
            if hasher is not None:
                hasher.update(cast(bytes, block))
            into.write(block)
            if not into.room:
                self._body.unseen = 0
        self._check_end()
        if self.has_later_parameters:
            if isinstance(self._content, FormReader):
                self._show_form()
            self._parameters = flow.merge([*self._query, *self._content.fields, *self._content.later_fields])

    def drain(self) -> None:
        """Read and discard content after a refusal, up to a limit."""
        self._body.unseen = 0  # what is discarded must not fill the pipe
        with suppress(ResumableError):
            for block in self._file or self._content.file(_Nowhere()):
                self.size += len(block)
                if self.size > DRAIN:
                    break

    def close(self) -> None:
        """Stop reading. The server does not wait for what has not been read."""
        self._content.close()

    def _show_form(self) -> None:
        """Let the app see the fields, because Flask cannot parse a form that is being received."""
        self._request.form = ImmutableMultiDict([*self._content.fields, *self._content.later_fields])
        self._request.files = ImmutableMultiDict()

    def _check_end(self) -> None:
        if self._body.is_overlong:
            raise self._too_large()
        if not self._body.is_whole and not isinstance(self._content, ParsedForm):
            raise cut_off(self._body)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"Chunks may have at most {self._max_size} bytes.", self._max_size)


def _content_of(request: Request, body: RequestBody, file_field: str, room: int) -> FormReader | ParsedForm | PlainBody:
    # If the app has looked for a CSRF token in the form, Flask has already read all of it.
    if is_parsed(request):
        return ParsedForm(request.form, request.files, file_field)
    content_type, options = parse_options_header(request.headers.get("Content-Type", ""))
    if content_type != "multipart/form-data":
        return PlainBody(body, room)
    if "boundary" not in options:
        raise InvalidRequest("The form has no boundary.")
    return FormReader(body, room, options["boundary"], file_field)


class PlainBody:
    """A body that consists of the chunk. It has the interface of :class:`FormReader`."""

    def __init__(self, body: RequestBody, room: int) -> None:
        self.fields: Fields = []
        self.later_fields: Fields = []
        self._body = body
        self._blocks = body.blocks(room)

    def find_file(self) -> bool:
        """Return ``True``: the body is the file."""
        return True

    def file(self, into: Sink) -> Iterator[Block]:
        """See :meth:`FormReader.file`."""
        if into.room >= MIN_PIPED_SIZE and into.room == self._body.size:
            self._body.unseen = into.room
        for block in self._blocks:
            # The next block may be read into the same memory, so a block that is kept must be copied.
            yield block if into.room else bytes(cast(memoryview, block))

    def close(self) -> None:
        """Stop reading."""
        self._blocks.close()


class _Nowhere:
    """Discards content that was refused."""

    room = 0

    def write(self, block: Block) -> None:
        """Discard the block."""

"""Reads multipart forms in order: the fields before the file, the file block by block, the fields after it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import BinaryIO
from typing import cast
from typing import Protocol

from werkzeug.datastructures import FileStorage
from werkzeug.datastructures import Headers
from werkzeug.datastructures import MultiDict

from ...core.parameters import form_parameters
from ...errors import BodyIncomplete
from ...errors import InvalidRequest
from ...errors import ResumableError
from ...errors import ServerStopping
from ...errors import TooLarge
from ...errors import UnsupportedMediaType
from ...interfaces import Piped
from ...wsgi.body import RequestBody
from ...wsgi.coding import check_coding
from ...wsgi.pipes import MIN_PIPED_SIZE
from .multipart import MalformedMultipart
from .multipart import MultipartParser
from .multipart import PartBegins

BLOCK_SIZE = 256 * 1024  # bytes
MAX_PARTS = 100
MAX_FIELDS_SIZE = 64 * 1024  # bytes of all fields together
OVERHEAD = MAX_FIELDS_SIZE + 64 * 1024  # the maximum size of a form in bytes, without its file

_FOLDED = re.compile(rb"\r\n[ \t]+")  # libraries for mail fold long headers

Block = bytes | memoryview | Piped
Fields = list[tuple[str, str]]  # names and values


class Sink(Protocol):
    """The destination of a request's content."""

    @property
    def room(self) -> int:
        """How many of the next bytes may come as ``Piped``; 0 if all of them must be inspected."""
        ...

    def write(self, block: Block) -> None:
        """Accept a block. If there is no ``room``, the caller must not change the block afterwards."""
        ...


class FormReader:
    """Parses a form while it arrives. Files in other fields are skipped.

    In addition to the errors of the body, every method that reads can raise these:

    :raises InvalidRequest: The form is malformed or incomplete, or does not have exactly one file in the right field.
    :raises TooLarge: The form has too many parts, or its fields are too long.
    :raises UnsupportedMediaType: The file was sent as text.
    :raises BodyIncomplete: The body was cut off.
    """

    def __init__(self, body: RequestBody, room: int, boundary: str, file_field: str) -> None:
        self.fields: Fields = []  # before the file
        self.later_fields: Fields = []  # after it; those read so far
        self._body = body
        self._blocks = body.blocks(room)
        self._parser = MultipartParser(boundary.encode("latin-1", "replace"))
        self._file_field = file_field
        self._field: str | None = None  # the name of the field that is being read
        self._value = bytearray()
        self._is_in_file = False  # the file in the right field
        self._content: list[memoryview] = []  # of that file; not passed on yet
        self._files: list[str] = []
        self._parts = 0
        self._room = MAX_FIELDS_SIZE  # bytes

    def find_file(self) -> bool:
        """Read up to the file and return whether there is one. If not, the whole form has been read."""
        for block in self._blocks:
            self._take(cast(bytes, block))
            if self._file_field in self._files:
                return True
        self._end()
        return False

    def file(self, into: Sink) -> Iterator[Block]:
        """Yield the file's content, which the caller writes to ``into``, and then read to the end of the form.

        If the size of the content can be computed, it is not searched for the delimiter.
        """
        is_searched = True
        while True:
            content, self._content = self._content, []
            yield from content
            if is_searched and into.room and (count := self._unseen(into.room)):
                is_searched = False
                self._body.unseen = count
                yield self._parser.take_held()
                yield from self._next(count)
            elif (block := next(self._blocks, None)) is not None:
                self._take(cast(bytes, block))
            else:
                break
        self._end()

    def close(self) -> None:
        """Stop reading."""
        self._blocks.close()

    def _unseen(self, room: int) -> int:
        """Return how many of the next bytes are certain to be content, or 0 if that is too few to matter."""
        count = room - self._parser.held
        if count < MIN_PIPED_SIZE or not self._is_in_file or not self._parser.is_in_content or self._body.size is None:
            return 0
        behind = self._body.size - self._body.received - count
        return count if behind in self._parser.closing_sizes else 0

    def _next(self, count: int) -> Iterator[Block]:
        """Yield the next ``count`` bytes without searching them."""
        for block in self._blocks:
            if len(block) > count:
                seen = memoryview(cast(bytes, block))  # a Piped block never has more than ``count`` bytes
                yield seen[:count]
                self._take(seen[count:])
                break
            yield block
            count -= len(block)
            if not count:
                break

    def _take(self, piece: bytes | memoryview) -> None:
        """Parse the next piece of the form, which may have any length."""
        try:
            for event in self._parser.feed(piece):
                if isinstance(event, PartBegins):
                    self._end_part(event.head)
                elif self._is_in_file:
                    self._content.append(event)
                elif self._field is not None:
                    self._value += event
                    if len(self._value) > self._room:
                        self._check_base64()
                        text = f"The fields of a form may have at most {MAX_FIELDS_SIZE} bytes."
                        raise TooLarge(text, MAX_FIELDS_SIZE)
        except MalformedMultipart as error:
            raise self._cause(InvalidRequest(f"The body is not a valid multipart form. {error}")) from None
        except ResumableError as error:
            raise self._cause(error) from None

    def _end_part(self, head: bytes | None) -> None:
        """Finish the previous part, if there is one, and begin the next one unless ``head`` is ``None``."""
        if self._field == self._file_field:
            self._check_base64()
            raise InvalidRequest(f"The form field {self._field!r} contains text, not a file.")
        if self._field is not None:
            fields = self.later_fields if self._file_field in self._files else self.fields
            fields.append((self._field, self._value.decode("utf-8", "replace")))
            self._room -= len(self._value)
            self._value.clear()
        self._field, self._is_in_file = None, False
        if head is None:
            return
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise TooLarge(f"A form may have at most {MAX_PARTS} parts.", MAX_PARTS)
        name, is_file, headers = _described(head)
        if not is_file:
            self._field = name
            return
        self._files.append(name)
        if name == self._file_field:
            check_coding(headers)
            _check_files(self._files, self._file_field)
            self._is_in_file = True

    def _check_base64(self) -> None:
        if self._field == self._file_field and self._value.startswith(b"data:"):
            raise UnsupportedMediaType("Send chunks as files, not as base64 text.")

    def _end(self) -> None:
        """Check the form at the end of the body."""
        try:
            if not self._parser.has_ended:
                raise InvalidRequest("The multipart form is incomplete.")
            self._end_part(None)
            _check_files(self._files, self._file_field)
        except ResumableError as error:
            raise self._cause(error) from None

    def _cause(self, error: ResumableError) -> ResumableError:
        """Return the error to raise: if the body was cut off, that is why the form looks malformed."""
        body = self._body
        if body.size is not None and body.received < body.size:
            for _ in self._blocks:
                pass
            if not body.is_whole:
                return cut_off(body)
        return error


class ParsedForm:
    """A form that Flask has already parsed, because the app used it. Flask hides what was wrong with the form.

    :raises InvalidRequest: It does not have exactly one file in the right field.
    """

    def __init__(self, form: MultiDict[str, str], files: MultiDict[str, FileStorage], file_field: str) -> None:
        self.fields: Fields = []
        self.later_fields: Fields = []
        self._form = form
        self._files = files
        self._file_field = file_field
        self._stream: BinaryIO | None = None

    def find_file(self) -> bool:
        """See :meth:`FormReader.find_file`."""
        for name, value in self._form.items(multi=True):
            if name == self._file_field:
                raise InvalidRequest(f"The form field {name!r} contains text, not a file.")
            self.fields.append((name, value))
        _check_files([name for name, _ in self._files.items(multi=True)], self._file_field)
        file = self._files.get(self._file_field)
        if file is None:
            return False
        check_coding(file.headers)
        self._stream = cast(BinaryIO, file.stream)
        return True

    def file(self, into: Sink) -> Iterator[Block]:
        """See :meth:`FormReader.file`."""
        assert self._stream is not None
        while block := self._stream.read(BLOCK_SIZE):
            yield block

    def close(self) -> None:
        """Do nothing: Flask closes it."""


def cut_off(body: RequestBody) -> BodyIncomplete:
    """Return the error for a body that was cut off. None of the chunk counts."""
    return ServerStopping(0) if body.is_stopped else BodyIncomplete(0)


def _check_files(names: list[str], file_field: str) -> None:
    if names.count(file_field) > 1:
        raise InvalidRequest("The form has more than one file.")
    if names and file_field not in names:
        raise InvalidRequest(f"The file must be in the field {file_field!r}.")


@lru_cache(64)  # the forms of a client have the same headers
def _described(head: bytes) -> tuple[str, bool, Headers]:
    """Parse a part's headers: return its name, whether it is a file, and all headers."""
    headers = Headers()
    disposition: str | None = None
    for line in _FOLDED.sub(b" ", head).decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            disposition = value.strip()
        elif "\n" in line or "\r" in line:
            raise InvalidRequest("A part of the form has a header with a line break.")
        else:
            headers.add(name.strip(), value.strip())
    if disposition is None:
        raise InvalidRequest("A part of the form has no Content-Disposition.")
    options = form_parameters(disposition)
    is_file = any(name.partition("*")[0] == "filename" for name in options)
    return options.get("name", ""), is_file, headers

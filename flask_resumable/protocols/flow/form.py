"""Multipart forms as a stream: small fields kept, one file passed on as it comes."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from werkzeug.datastructures import FileStorage
from werkzeug.datastructures import Headers
from werkzeug.datastructures import MultiDict
from werkzeug.http import parse_options_header

from ...errors import InvalidRequest
from ...errors import TooLarge
from ...errors import UnsupportedMediaType
from ...interfaces import Piped
from ...wsgi.coding import check_coding
from .multipart import MalformedMultipart
from .multipart import MultipartParser
from .multipart import PartBegins
from .multipart import PartEvent

BLOCK_SIZE = 256 * 1024  # bytes
MAX_PARTS = 100
MAX_FIELDS_SIZE = 64 * 1024  # bytes of all fields together
OVERHEAD = MAX_FIELDS_SIZE + 64 * 1024  # bytes that a form may have beside its file


@dataclass(frozen=True, slots=True)
class FormField:
    """A field, complete."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FileBegins:
    """The file begins; its bytes follow."""


FormEvent = FormField | FileBegins | bytes | memoryview | Piped
Blocks = Iterator[bytes | memoryview | Piped]
# Told how many bytes may be content, and how many may follow it: how many bytes of content are still to come, if known.
Leave = Callable[[int, tuple[int, ...]], int]


def read_form(blocks: Blocks, boundary: str, file_field: str, leave: Leave) -> Generator[FormEvent, None, None]:
    """Take a form apart while it comes in.

    Files in other fields are passed over. An empty ``bytes`` says that nothing came for a while.

    :param leave: Asked within the file, to pass over what need not be searched for its end.
    :raises InvalidRequest: It is no form, ends before its end, or has not exactly one file in the right field.
    :raises TooLarge: Too many parts, or too much in the fields.
    :raises UnsupportedMediaType: The file came as text.
    """
    parser = MultipartParser(boundary.encode("latin-1", "replace"))
    parts = _Parts(file_field)
    try:
        for block in blocks:
            if not block:
                yield b""
            for event in parser.feed(cast(bytes, block)):
                yield from parts.take(event)
            if parts.is_in_file and parser.is_in_content and (count := leave(parser.held, parser.closing_sizes)):
                yield parser.take_held()
                rest = yield from _next(blocks, count)
                for event in parser.feed(rest):
                    yield from parts.take(event)
    except MalformedMultipart as error:
        raise InvalidRequest(f"The body is no multipart form. {error}") from None
    if not parser.has_ended:
        raise InvalidRequest("The body is no complete multipart form.")
    yield from parts.end()


def _next(blocks: Blocks, count: int) -> Generator[FormEvent, None, bytes | memoryview]:
    """Pass on so many bytes; what came along behind them."""
    for block in blocks:
        if len(block) > count:
            seen = memoryview(cast(bytes, block))  # the body hands out no more than that of what is not to be seen
            yield seen[:count]
            return seen[count:]
        yield block
        count -= len(block)
        if not count:
            break
    return b""


def parsed_form(
    fields: MultiDict[str, str], files: MultiDict[str, FileStorage], file_field: str
) -> Generator[FormEvent, None, None]:
    """A form that Flask has read already, in the same events. What was wrong with it is not known any more.

    :raises InvalidRequest: It has not exactly one file, in the right field.
    """
    for name, value in fields.items(multi=True):
        if name == file_field:
            raise InvalidRequest(f"The form's {file_field!r} is a text, not a file.")
        yield FormField(name, value)
    _check_files([*files.keys()] + [file_field] * (len(files.getlist(file_field)) - 1), file_field)
    for file in files.getlist(file_field):
        check_coding(file.headers)
        yield FileBegins()
        while block := file.stream.read(BLOCK_SIZE):
            yield block


def _check_files(names: list[str], file_field: str) -> None:
    if names.count(file_field) > 1:
        raise InvalidRequest("The form has more than one file.")
    if names and file_field not in names:
        raise InvalidRequest(f"The file must be in the field {file_field!r}.")


class _Parts:
    """Which part of the form it is at."""

    def __init__(self, file_field: str) -> None:
        self._file_field = file_field
        self._field: str | None = None  # the name of the field that is being read
        self._value = bytearray()
        self._is_file = False  # the one in question
        self._count = 0
        self._room = MAX_FIELDS_SIZE
        self._files: list[str] = []

    @property
    def is_in_file(self) -> bool:
        """Whether what comes next belongs to the file in question."""
        return self._is_file

    def take(self, event: PartEvent) -> Generator[FormEvent, None, None]:
        """What an event of the parser means."""
        if isinstance(event, PartBegins):
            yield from self._end_part()
            yield from self._begin_part(event.head)
        elif self._is_file:
            yield event
        elif self._field is not None:
            self._add(event)

    def end(self) -> Generator[FormEvent, None, None]:
        """The form has come to its end."""
        yield from self._end_part()
        _check_files(self._files, self._file_field)

    def _begin_part(self, head: bytes) -> Generator[FormEvent, None, None]:
        self._count += 1
        if self._count > MAX_PARTS:
            raise TooLarge(f"A form may have {MAX_PARTS} parts at most.", MAX_PARTS)
        fields = _fields(head)
        options = _disposition(fields)
        name = options.get("name", "")
        if "filename" not in options:
            self._field, self._value = name, bytearray()
            return
        self._is_file = name == self._file_field
        self._files.append(name)
        if self._is_file:
            check_coding(fields)
            _check_files(self._files, self._file_field)
            yield FileBegins()

    def _add(self, content: memoryview) -> None:
        self._room -= len(content)
        self._value += content
        if self._field == self._file_field and self._value.startswith(b"data:"):
            raise UnsupportedMediaType("Send chunks as files, not as base64 text.")
        if self._room < 0:
            raise TooLarge(f"The fields of a form may have {MAX_FIELDS_SIZE} bytes at most.", MAX_FIELDS_SIZE)

    def _end_part(self) -> Generator[FormEvent, None, None]:
        field, self._field, self._is_file = self._field, None, False
        if field is None:
            return
        if field == self._file_field:
            raise InvalidRequest(f"The form's {field!r} is a text, not a file.")
        yield FormField(field, self._value.decode("utf-8", "replace"))


@lru_cache(64)  # a client's forms all look the same
def _fields(head: bytes) -> Headers:
    lines = (line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n"))
    return Headers([(name.strip(), value.strip()) for name, _, value in lines])


def _disposition(fields: Headers) -> Mapping[str, str]:
    """The parameters of a part's Content-Disposition."""
    value = fields.get("Content-Disposition")
    if value is None:
        raise InvalidRequest("A part of the form has no Content-Disposition.")
    return parse_options_header(value)[1]

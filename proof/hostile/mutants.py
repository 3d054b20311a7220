"""Mistakes that the fuzzing must find, each made on purpose in the process of a target."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask_resumable.core import disposition
from flask_resumable.core import fields
from flask_resumable.core import metadata
from flask_resumable.core import parameters
from flask_resumable.core.metadata import UploadMetadata
from flask_resumable.protocols.flow import chunk_request
from flask_resumable.protocols.flow.multipart import MultipartParser
from flask_resumable.protocols.ietf import structured_fields
from flask_resumable.storage.local.paths import Paths


@dataclass(frozen=True)
class Mutant:
    """One mistake, and the target that must find it."""

    target: str
    make: Callable[[], None]


def _cut_boundary() -> None:
    feed = MultipartParser.feed

    def careless(self: MultipartParser, piece: bytes | memoryview) -> list[Any]:
        events = feed(self, piece)
        if self.is_in_content and self._preamble is None and self._rest.endswith(b"\r\n--"):
            events.append(memoryview(self._rest))
            self._rest = b""
        return events

    MultipartParser.feed = careless  # type: ignore[method-assign]


def _numbers_of_python() -> None:
    fields._NUMBER = re.compile(r"\d[\d_]{0,18}")


def _keys_as_they_are() -> None:
    metadata._decode_key = lambda key: key


def _names_as_they_are() -> None:
    parameters._PERCENT = re.compile("(?!)")


def _no_tabs() -> None:
    structured_fields._COMMA = re.compile(" *, *")


def _names_in_unicode() -> None:
    disposition.quote = lambda name, safe: name  # type: ignore[attr-defined, assignment]


def _client_names_files() -> None:
    def part(self: Paths, upload: Any) -> str:
        return f"{self.work}/{upload.metadata.filename or upload.stored_as}.part"

    Paths.part = part  # type: ignore[method-assign]


def _strange_queries() -> None:
    def bug() -> Any:
        return UnicodeError("The query is not UTF-8.")

    chunk_request.not_utf8 = bug  # type: ignore[attr-defined]


def _each_key_from_the_start() -> None:
    def value_bytes(self: UploadMetadata, key: str) -> bytes:
        for name, value in metadata._pairs(self.raw):
            if key in (name, metadata._decode_key(name)):
                return metadata._decode(name, value)
        raise KeyError(key)

    UploadMetadata.value_bytes = value_bytes  # type: ignore[method-assign]


MUTANTS: dict[str, Mutant] = {
    "a boundary that is cut after its hyphens is content": Mutant("form", _cut_boundary),
    "numbers may have underscores and digits of other scripts": Mutant("headers", _numbers_of_python),
    "a file is named by its client": Mutant("requests", _client_names_files),
    "a key is looked for from the start of the metadata": Mutant("loads", _each_key_from_the_start),
    "keys of metadata are not decoded": Mutant("metadata", _keys_as_they_are),
    "names of form fields are not decoded": Mutant("parts", _names_as_they_are),
    "there may be no tab between members": Mutant("structured", _no_tabs),
    "the name of a download is not encoded": Mutant("dispositions", _names_in_unicode),
    "a query that is not UTF-8 is a bug": Mutant("requests", _strange_queries),
}


def make_mistake(name: str | None) -> None:
    """Make a mistake in this process, or none."""
    if name:
        MUTANTS[name].make()

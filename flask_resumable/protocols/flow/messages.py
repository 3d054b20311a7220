"""Reads the parameters of flow.js and related clients.

It is one protocol with three spellings: flow.js, resumable.js (its parent) and simple-uploader. A client sends a file
in chunks of equal size, numbered from 1, in any order and several at once. By default, the last chunk contains all that
is left and is longer than the others. With ``forceChunkSize``, it is shorter. fusty-flow, for browsers whose scripts
cannot read files, sends a whole file in one request without numbers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from ...core.fields import whole_number
from ...core.grant import PARAMETER
from ...core.metadata import UploadMetadata
from ...core.ranges import ChunkSpan
from ...core.secrets import is_secret
from ...errors import InvalidRequest
from ...errors import TooLarge

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f]")


PARAMETERS = (
    "chunkNumber",
    "chunkSize",
    "currentChunkSize",
    "totalSize",
    "identifier",
    "filename",
    "relativePath",
    "totalChunks",
    "type",
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """The spelling of the parameters that one client uses."""

    name: str
    prefix: str
    spelled: Mapping[str, str] = field(init=False, repr=False, compare=False)  # the client's spelling of each parameter
    own: frozenset[str] = field(init=False, repr=False, compare=False)  # all of these spellings

    def __post_init__(self) -> None:
        spelled = {parameter: self.spell(parameter) for parameter in PARAMETERS}
        object.__setattr__(self, "spelled", spelled)
        object.__setattr__(self, "own", frozenset(spelled.values()))

    def spell(self, parameter: str) -> str:
        """Return a parameter such as ``chunkNumber`` as this client spells it."""
        return f"{self.prefix}{parameter[0].upper()}{parameter[1:]}" if self.prefix else parameter


FLOW = Dialect("flow", "flow")
DIALECTS = (FLOW, Dialect("resumable", "resumable"), Dialect("simple-uploader", ""))
_SPELLINGS = frozenset().union(*(dialect.own for dialect in DIALECTS))
_NUMBERS = frozenset(FLOW.spelled[name] for name in ("chunkNumber", "totalSize", "totalChunks", "chunkSize"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPolicy:
    """The limits of this server. Sizes are in bytes."""

    max_size: int | None = None  # of a file
    max_chunks: int = 100_000
    max_chunk_size: int = 2**30
    max_identifier: int = 1024  # characters
    max_name: int = 1024
    max_depth: int = 32  # folders
    max_metadata: int = 16 * 1024  # characters
    identity_parameters: tuple[str, ...] = ()  # the app's own, which distinguish uploads of the same file
    metadata_parameters: tuple[str, ...] | None = None  # the app's own that are kept; None: all but secrets

    @property
    def max_body(self) -> int:
        """The maximum number of bytes of a file in one request."""
        return self.max_chunk_size if self.max_size is None else min(self.max_size, self.max_chunk_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file as the client describes it."""

    dialect: Dialect
    identifier: str
    filename: str
    relative_path: str
    filetype: str
    total_size: int
    chunk_size: int  # 0 if there is only one chunk, because then it means nothing
    total_chunks: int
    query: Mapping[str, str] = field(default_factory=dict)  # the app's own parameters, without secrets
    further: tuple[tuple[str, str], ...] = ()  # names and values of those that were given more than once
    identity: tuple[str | None, ...] = ()  # the values of ``FlowPolicy.identity_parameters``

    def key(self, owner: str | None, name: str | None = None, *, token: str | None = None) -> str:
        """Return the key of the upload: a digest of the owner, the client's names for the file, and the chunk sizes.

        The name is included because the clients' default identifier is only the size and the ASCII part of the name.
        The chunk sizes are included because chunks of one size must not count as chunks of another size.

        :param name: Replaces the identifier and the names.
        :param token: The nonce of the client's token, which finds only the upload that it has created.
        """
        called = [self.identifier, self.filename, self.relative_path] if name is None else [name]
        parts = [owner, called, self.total_size, self.chunk_size, self.total_chunks, *self.identity]
        if token is not None:
            parts.append(f"token {token}")
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def metadata(self, policy: FlowPolicy) -> UploadMetadata:
        """Return the metadata of the upload.

        :raises InvalidRequest: It is too long, or ``relativePath`` in the query has "..".
        """
        ours = {"filename": self.filename, "relativePath": self.relative_path, "filetype": self.filetype}
        values = [(key, value) for key, value in ours.items() if value]
        # What the app adds comes second, but counts where the client has nothing: flow.js sends no type.
        for key, value in (*self.query.items(), *self.further):
            if not key or (policy.metadata_parameters is not None and key not in policy.metadata_parameters):
                continue
            kept = _path(key, value, policy) if key == "relativePath" else value
            if ours.get(key) != kept:
                values.append((key, kept))
        metadata = UploadMetadata.from_values(values)
        if len(metadata.raw) > policy.max_metadata:
            raise InvalidRequest(f"The parameters take more than {policy.max_metadata} characters.")
        return metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One chunk of a file."""

    file: File
    number: int

    @property
    def span(self) -> ChunkSpan:
        """The place of the chunk in the file."""
        file = self.file
        return ChunkSpan.of(self.number, file.chunk_size, file.total_chunks, file.total_size)


class Parameters(dict[str, str]):
    """The parameters of a request: the first value of each, and in ``further`` the other values."""

    def __init__(self) -> None:
        super().__init__()
        self.further: dict[tuple[str, str], None] = {}  # names and values, in order


def merge(pairs: Iterable[tuple[str, str]]) -> Parameters:
    """Return parameters from the query and the form as one mapping.

    :raises InvalidRequest: A parameter of the protocol is given twice with different values.
    """
    merged = Parameters()
    for key, value in pairs:
        if merged.setdefault(key, value) != value:
            if key in _SPELLINGS:
                raise InvalidRequest(f"{key[:64]} is given twice with different values.")
            merged.further[key, value] = None
    return merged


def parse_file(parameters: Parameters, policy: FlowPolicy, *, whole: int | None = None) -> File:
    """Return the file that the parameters describe.

    :param whole: The size of the body, for a client that sends the whole file without numbers (fusty-flow).
    :raises InvalidRequest: Parameters are missing, malformed or too long, or contradict each other.
    :raises TooLarge: The file or a chunk is larger than allowed.
    """
    dialect = dialect_of(parameters)
    if dialect is None:
        raise InvalidRequest("flowIdentifier is missing: this URL is for uploads of flow.js and resumable.js.")
    if whole is not None:
        total_size, chunk_size, total_chunks = whole, 0, 1
    else:
        total_size = _number(dialect, parameters, "totalSize")
        chunk_size, total_chunks = _geometry(dialect, parameters, total_size, policy)
    _check_size(total_size, chunk_size, total_chunks, policy)
    name = dialect.spelled
    identifier = _text(name["identifier"], parameters.get(name["identifier"], ""), policy.max_identifier)
    if not identifier or _CONTROL.search(identifier):
        raise InvalidRequest(f"{name['identifier']} is empty or contains control characters.")
    own, listed = dialect.own, policy.metadata_parameters or ()

    def may_keep(key: str, value: str) -> bool:
        return key != PARAMETER and (key in listed or not is_secret(key, value))

    return File(
        dialect=dialect,
        identifier=identifier,
        filename=_text(name["filename"], parameters.get(name["filename"], ""), policy.max_name),
        relative_path=_path(name["relativePath"], parameters.get(name["relativePath"], ""), policy),
        filetype=_text(name["type"], parameters.get(name["type"], ""), policy.max_name),
        total_size=total_size,
        chunk_size=chunk_size,
        total_chunks=total_chunks,
        query={key: value for key, value in parameters.items() if key not in own and may_keep(key, value)},
        further=tuple(pair for pair in parameters.further if pair[0] not in own and may_keep(*pair))
        if parameters.further
        else (),
        identity=tuple(map(parameters.get, policy.identity_parameters)),
    )


def dialect_of(parameters: Mapping[str, str]) -> Dialect | None:
    """Return the dialect of the client, or ``None`` if it is unknown."""
    for dialect in DIALECTS:
        if dialect.spelled["identifier"] in parameters:
            return dialect
    return None


def is_whole_file(parameters: Mapping[str, str]) -> bool:
    """Whether the client is fusty-flow, which sends an identifier but no numbers."""
    return FLOW.spelled["identifier"] in parameters and _NUMBERS.isdisjoint(parameters)


def parse_chunk(parameters: Parameters, policy: FlowPolicy) -> Chunk:
    """Return the chunk that the parameters describe.

    :raises InvalidRequest: As in :func:`parse_file`, or the file has no chunk with this number.
    """
    file = parse_file(parameters, policy)
    number = _number(file.dialect, parameters, "chunkNumber")
    if not 1 <= number <= file.total_chunks:
        name = file.dialect.spelled["chunkNumber"]
        raise InvalidRequest(f"{name} must be from 1 to {file.total_chunks}, not {number}.")
    return Chunk(file=file, number=number)


def _number(dialect: Dialect, parameters: Mapping[str, str], parameter: str) -> int:
    name = dialect.spelled[parameter]
    value = parameters.get(name)
    if value is None:
        raise InvalidRequest(f"{name} is missing.")
    return whole_number(value, name)


def _geometry(dialect: Dialect, parameters: Mapping[str, str], total_size: int, policy: FlowPolicy) -> tuple[int, int]:
    """Return the chunk size and the number of chunks, after checking them against the size of the file."""
    name = dialect.spelled["totalChunks"]
    if name in parameters:
        total_chunks = _number(dialect, parameters, "totalChunks")
    else:
        total_chunks = _derived_count(dialect, parameters, total_size)
    if total_chunks == 0:
        raise InvalidRequest(f"{name} is 0.")
    if total_chunks > policy.max_chunks:
        raise TooLarge(f"A file may have at most {policy.max_chunks} chunks; use larger ones.", policy.max_chunks)
    if total_chunks == 1:
        return 0, 1  # the chunk size can be anything: some clients send 1.79e+308 for "no chunks"
    chunk_size = _number(dialect, parameters, "chunkSize")
    # The last chunk may be longer or shorter than the others. Some clients send an empty one at the end.
    before_last = (total_chunks - 1) * chunk_size
    if chunk_size == 0 or not before_last <= total_size or total_size - before_last >= 2 * chunk_size:
        raise InvalidRequest(f"{total_chunks} chunks of {chunk_size} bytes do not make {total_size} bytes.")
    return chunk_size, total_chunks


def _derived_count(dialect: Dialect, parameters: Mapping[str, str], total_size: int) -> int:
    chunk_size = _number(dialect, parameters, "chunkSize")
    if chunk_size == 0 or total_size <= chunk_size:
        return 1
    if total_size % chunk_size:
        raise InvalidRequest(f"{dialect.spelled['totalChunks']} is missing and cannot be derived from the sizes.")
    return total_size // chunk_size


def _check_size(total_size: int, chunk_size: int, total_chunks: int, policy: FlowPolicy) -> None:
    if policy.max_size is not None and total_size > policy.max_size:
        raise TooLarge(f"Files may have at most {policy.max_size} bytes.", policy.max_size)
    longest = total_size if total_chunks == 1 else max(chunk_size, total_size - (total_chunks - 1) * chunk_size)
    if longest > policy.max_chunk_size:
        raise TooLarge(f"Chunks may have at most {policy.max_chunk_size} bytes.", policy.max_chunk_size)


def _text(name: str, value: str, limit: int) -> str:
    if _NO_TEXT.search(value):
        raise InvalidRequest(f"{name} contains invalid characters.")
    if len(value) > limit:
        raise InvalidRequest(f"{name} is longer than {limit} characters.")
    return value


def _path(name: str, value: str, policy: FlowPolicy) -> str:
    """Return the normalized relative path. It is only metadata: no file is ever opened by it."""
    text = _text(name, value, policy.max_name)
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidRequest(f"{name} must not contain '..'.")
    if len(parts) > policy.max_depth:
        raise InvalidRequest(f"{name} is deeper than {policy.max_depth} folders.")
    return "/".join(parts)

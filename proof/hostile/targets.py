"""What is fuzzed: functions of bytes that fail if a rule is broken. Each knows some inputs to begin with."""

from __future__ import annotations

import atexit
import base64
import binascii
import io
import re
import shutil
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import closing
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import http_sf
from werkzeug.datastructures import MultiDict
from werkzeug.formparser import MultiPartParser
from werkzeug.http import parse_options_header

from flask_resumable.core.checksum import Checksum
from flask_resumable.core.concat import Concat
from flask_resumable.core.disposition import content_disposition
from flask_resumable.core.fields import whole_number
from flask_resumable.core.ids import ID_PATTERN
from flask_resumable.core.metadata import UploadMetadata
from flask_resumable.core.upload import MAX_LENGTH
from flask_resumable.errors import InvalidRequest
from flask_resumable.errors import ResumableError
from flask_resumable.protocols.flow.form import FormReader
from flask_resumable.protocols.flow.multipart import MalformedMultipart
from flask_resumable.protocols.flow.multipart import MultipartParser
from flask_resumable.protocols.flow.multipart import PartBegins
from flask_resumable.protocols.ietf.disposition import filename_of
from flask_resumable.protocols.ietf.disposition import media_type_of
from flask_resumable.protocols.ietf.structured_fields import parse_boolean
from flask_resumable.protocols.ietf.structured_fields import parse_bytes
from flask_resumable.protocols.ietf.structured_fields import parse_dictionary
from flask_resumable.protocols.ietf.structured_fields import parse_integer
from flask_resumable.wsgi.body import RequestBody
from tests.conformance.server import Server
from tests.conformance.server import start_embedded
from tests.test_hostile_loads import operations
from tests.test_hostile_loads import READERS
from tests.test_hostile_loads import TIMES

BOUNDARY = b"----bound"
ROOM = 1 << 20
EVERY = 1000  # requests after which an app begins anew
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass
class Target:
    """One function, and inputs that are valid."""

    test: Callable[[bytes], None]
    seeds: list[bytes]
    words: list[bytes] = field(default_factory=list)  # that inputs are made of
    longest: int = 4096  # bytes of an input


# --- forms ---


class _Sink:
    room = 0

    def __init__(self) -> None:
        self.content = b""

    def write(self, block: Any) -> None:
        self.content += bytes(block)


def _read_form(body: bytes, boundary: bytes = BOUNDARY) -> tuple[list[tuple[str, str]], bytes | None]:
    """The fields and the file, as the extension reads them."""
    environ = {"CONTENT_LENGTH": str(len(body))}
    request = RequestBody(environ, timedelta(seconds=60), io.BytesIO(body))
    reader = FormReader(request, ROOM, boundary.decode("latin-1"), "file")
    content = None
    if reader.find_file():
        blocks: Any = reader.file(_Sink())
        content = b"".join(bytes(block) for block in blocks)
    reader.close()
    return [*reader.fields, *reader.later_fields], content


def _events(body: bytes, size: int) -> list[bytes] | None:
    """The parts, if the body comes in pieces of a size."""
    parser = MultipartParser(BOUNDARY)
    parts: list[bytes] = []
    try:
        for at in range(0, len(body), size):
            for event in parser.feed(body[at : at + size]):
                if isinstance(event, PartBegins):
                    parts.append(event.head + b"\0\0")
                else:
                    parts[-1] += event
    except MalformedMultipart:
        return None
    return parts if parser.has_ended else None


def form_of_junk(data: bytes) -> None:
    """Any bytes: a form, or a refusal; and the same for every way in which they are cut."""
    with suppress(ResumableError):
        _read_form(data)
    step = 1 + (data[0] % 40 if data else 0)
    assert _events(data, step) == _events(data, max(1, len(data))), f"cut by {step}"


def form_of_parts(data: bytes) -> None:
    """A form as a browser makes it of any names and contents comes out as it went in, here and in werkzeug."""
    pieces = data.split(b"\xff\xfe")[:12]
    fields: list[tuple[str, str]] = []
    body = b""
    for name, value in zip(pieces[2::2], pieces[3::2], strict=False):
        text, said = _name(name), value.replace(b"\r\n--", b"").decode("utf-8", "replace")
        if text and text != "file":
            fields.append((text, said))
            body += _part(f'name="{_quoted(text)}"', said.encode())
    content = pieces[0].replace(b"\r\n--" + BOUNDARY, b"")
    file_name = _quoted(_name(pieces[1] if len(pieces) > 1 else b"x"))
    body = body + _part(f'name="file"; filename="{file_name}"', content) + b"--" + BOUNDARY + b"--\r\n"
    if any(b"--" + BOUNDARY in said.encode() for _, said in fields) or b"--" + BOUNDARY in content:
        return
    found, stored = _read_form(body)
    assert (found, stored) == (fields, content), (found, stored, fields, content)
    form, files = MultiPartParser().parse(io.BytesIO(body), BOUNDARY, len(body))
    right = MultiDict(fields)  # which puts equal names together
    assert [*form.items(multi=True)] == [*right.items(multi=True)], (form, right)
    with closing(files["file"]) as sent:
        assert sent.stream.read() == content


def _name(raw: bytes) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f\\%\ufffd]", "", raw.decode("utf-8", "replace")).strip()


def _quoted(name: str) -> str:
    return name.replace('"', "%22")


def _part(described: str, content: bytes) -> bytes:
    return b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (BOUNDARY, described.encode(), content)


# --- header fields ---


def structured(data: bytes) -> None:
    """What a library for structured fields accepts is read in the same way."""
    text = data.decode("latin-1")
    members = parse_dictionary(text)
    is_last, number = parse_boolean(text), parse_integer(text)
    for member in members.values():
        parse_bytes(member)
    with suppress(http_sf.StructuredFieldError):
        parsed: Any = http_sf.parse(data, tltype="item")
        item = parsed[0]
        assert is_last == (item if isinstance(item, bool) else None), (text, item, is_last)
        whole = isinstance(item, int) and not isinstance(item, bool) and item >= 0
        assert number == (item if whole else None), (text, item, number)
    with suppress(http_sf.StructuredFieldError):
        right: Any = http_sf.parse(data, tltype="dictionary")
        assert members.keys() == right.keys(), (text, members, right)
        for key, (value, _) in right.items():
            if isinstance(value, bytes):
                assert parse_bytes(members[key]) == value, (text, members[key], value)
            elif isinstance(value, bool):
                assert members[key] == ("?1" if value else "?0"), (text, members[key], value)


def metadata(data: bytes) -> None:
    """``Upload-Metadata`` comes back as it was sent, and its values as its clients have encoded them."""
    text = data.decode("latin-1")
    with suppress(InvalidRequest):
        found = UploadMetadata.from_header(text, max_size=4096)
        assert found.to_header() == text
        values = dict(found)
        assert len(values) == len(found) == len([*found])
        for key in values:
            assert found.getlist(key)[0] == values[key]
        if "%" not in text:
            assert values == _reference(text), (values, _reference(text))
        again = UploadMetadata.from_values(values)
        assert dict(UploadMetadata.from_header(again.raw)) == values, (values, again.raw)
        assert found.filename in (None, *values.values())


def _reference(text: str) -> dict[str, str]:
    values = {}
    for pair in text.split(","):
        if pair.strip(" \t"):
            key, _, value = pair.strip(" \t").partition(" ")
            values[key] = binascii.a2b_base64(value).decode("utf-8", "replace")
    return values


def upload_headers(data: bytes) -> None:
    """Numbers, checksums and lists of parts are what they should be, or refused."""
    text = data.decode("latin-1")
    with suppress(InvalidRequest):
        number = whole_number(text, "n")
        assert text.isascii() and text.isdigit() and number == int(text) <= MAX_LENGTH, text
    with suppress(InvalidRequest):
        checksum = Checksum.from_header(text)
        algorithm, _, digest = text.strip(" \t").partition(" ")
        assert (checksum.algorithm, checksum.digest) == (algorithm, base64.b64decode(digest)), text
        assert Checksum.from_header(checksum.to_header()) == checksum
    with suppress(InvalidRequest):
        parts = Concat.from_header(text).parts
        assert all(ID_PATTERN.fullmatch(part) for part in parts)
        assert len(parts) == (0 if ";" not in text else len(text.split(";", 1)[1].split())), text


def dispositions(data: bytes) -> None:
    """Names of files from any header, and back in a header of a download, as werkzeug reads it."""
    text = data.decode("latin-1")
    filename_of(text)
    media_type_of(text)
    name = "".join(c for c in data.decode("utf-8", "replace") if c.isprintable())
    if name and not re.search(r"[\ud800-\udfff]", name):
        header = content_disposition("attachment", name)
        assert header.isascii() and header.isprintable(), header
        kind, options = parse_options_header(header)
        assert (kind, options["filename"]) == ("attachment", name), (header, options, name)


# --- what it costs ---


def loads(data: bytes) -> None:
    """What a client sends costs as many operations as it is long, however much it is."""
    names = [*READERS]
    name, amount = names[data[0] % len(names) if data else 0], 20 + (data[1] if len(data) > 1 else 0)
    few = operations(lambda: READERS[name](amount))
    many = operations(lambda: READERS[name](amount * TIMES))
    assert many < few * TIMES * 1.2 + 100, (name, amount, few, many)


# --- whole requests ---


class Requests:
    """An app that gets raw requests, as a WSGI server hands them over."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="hostile-"))
        atexit.register(shutil.rmtree, self._home, ignore_errors=True)
        self._count = 0
        self._begin()

    def _begin(self) -> None:
        shutil.rmtree(self._home)
        (self._home / "home").mkdir(parents=True)
        for place in (self._home, self._home / "home"):
            (place / "passwd").write_text("untouched")
        config = {
            "RESUMABLE_MAX_SIZE": 1000,
            "RESUMABLE_DOWNLOADS": True,
            "RESUMABLE_CORS_ORIGINS": ["https://app.example"],
            "RESUMABLE_DURABILITY": "none",
        }
        self._server: Server = start_embedded(self._home / "home", config)
        tus = self._server.tus
        self._ids = [url.rpartition("/")[2] for url in (tus.new(100), tus.upload(b"abc"), tus.part(b"abc"))]

    def test(self, data: bytes) -> None:
        """No request leads to a 5xx, a redirect, or a file outside the folder."""
        for number, upload_id in enumerate(self._ids):
            data = data.replace(b"{%d}" % number, upload_id.encode())
        environ = _environ(data)
        if environ is None:
            return
        self._count += 1
        answer: list[Any] = []
        app: Any = self._server.app
        chunks = app.wsgi_app(environ, lambda status, headers, *_: answer.extend((status, headers)))
        body = b"".join(chunks)
        if hasattr(chunks, "close"):
            chunks.close()
        status = int(answer[0][:3])
        assert status < 500, (answer, body[:300])
        assert status // 100 != 3 or status == 304, answer
        assert all(value.isprintable() for _, value in answer[1]), answer
        if self._count % 50 == 0:
            self._look()
        if self._count % EVERY == 0:
            self._begin()

    def _look(self) -> None:
        home = self._home / "home"
        for path in self._home.rglob("*"):
            inside = path.is_dir() or path.name == "passwd" or ".sqlite" in path.name
            upload = path.is_relative_to(home / "instance" / "uploads")
            assert inside or upload, path
            if upload and path.is_file():
                assert re.fullmatch(r"[0-9a-f]{32}(\.part|\.lock)?(\.[0-9]+)?", path.name), path
        for place in (self._home, home):
            assert (place / "passwd").read_text() == "untouched"


def _environ(data: bytes) -> dict[str, Any] | None:
    """What gunicorn makes of a request, if it lets it through at all."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    method, _, target = first.partition(" ")
    if not _HEADER.fullmatch(method) or not target.startswith("/"):
        return None
    path, _, query = target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method.upper(),
        "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
    }
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _HEADER.fullmatch(name) or "_" in name or re.search(r"[\0-\x08\x0a-\x1f\x7f]", value):
            return None
        key = name.upper().replace("-", "_")
        if key in ("TRANSFER_ENCODING", "EXPECT", "CONTENT_LENGTH"):
            return None  # the server's to deal with
        key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value.strip()}" if key in environ else value.strip(" \t")
    return environ


# --- all of them ---

_TUS = b"Tus-Resumable: 1.0.0\n"
_WORDS = (
    b"Upload-Offset: ", b"Upload-Length: ", b"Upload-Defer-Length: 1", b"Upload-Metadata: ", b"Upload-Concat: ",
    b"partial", b"final;", b"Upload-Checksum: sha1 ", b"Tus-Resumable: 1.0.0", b"Idempotency-Key: ", b"Content-Type: ",
    b"application/offset+octet-stream", b"application/partial-upload", b"multipart/form-data; boundary=----bound",
    b"Upload-Complete: ?1", b"Upload-Incomplete: ?0", b"Upload-Draft-Interop-Version: ", b"Content-Digest: sha-256=:",
    b"Repr-Digest: ", b"Want-Repr-Digest: ", b"Content-Disposition: ", b"X-HTTP-Method-Override: ", b"Range: bytes=",
    b"If-None-Match: ", b"If-Range: ", b"Origin: https://app.example", b"Content-Encoding: gzip", b"Content-Range: ",
    b"Host: ", b"X-Forwarded-Host: ", b"/files/{0}", b"/files/{1}", b"/files/{2}", b"/flow/", b"/flow/status",
    b"flowChunkNumber=", b"flowChunkSize=", b"flowTotalSize=", b"flowIdentifier=", b"flowFilename=",
    b"flowRelativePath=", b"flowTotalChunks=", b"resumableIdentifier=", b"..%2f", b"%00", b"%2e%2e", b"HEAD ",
    b"GET ", b"POST ", b"PATCH ", b"PUT ", b"DELETE ", b"OPTIONS ", b"X-User: ", b"X-Request-ID: ",
)  # fmt: skip
_FORM = _part('name="a"', b"1") + _part('name="file"; filename="b"', b"abc") + b"--" + BOUNDARY + b"--\r\n"
_CHUNK = b"flowChunkNumber=1&flowChunkSize=3&flowTotalSize=3&flowIdentifier=a&flowFilename=b&flowTotalChunks=1"


def _requests() -> Iterator[bytes]:
    kind = b"Content-Type: application/offset+octet-stream\n"
    yield b"POST /files/\n" + _TUS + b"Upload-Length: 5\nUpload-Metadata: filename YQ==\n" + kind + b"\nabcde"
    yield b"POST /files/\n" + _TUS + b"Upload-Length: 9\nUpload-Metadata: filename Li4vcGFzc3dk\n" + kind + b"\nabc"
    yield b"POST /files/\n" + _TUS + b"Upload-Concat: final;/files/{2} /files/{2}\n\n"
    yield b"PATCH /files/{0}\n" + _TUS + b"Upload-Offset: 0\n" + kind + b"\nabc"
    yield b"HEAD /files/{0}\n" + _TUS + b"\n"
    yield b"GET /files/{1}\nRange: bytes=0-1\n\n"
    yield b"DELETE /files/{0}\n" + _TUS + b"\n"
    yield b"OPTIONS /files/\nOrigin: https://app.example\nAccess-Control-Request-Method: PATCH\n\n"
    yield b"POST /files/\nUpload-Complete: ?1\nContent-Digest: sha-256=:AAAA:\n\nabc"
    yield b"POST /files/\nUpload-Draft-Interop-Version: 6\nUpload-Complete: ?0\nUpload-Length: 9\n\nabc"
    yield b"PATCH /files/{0}\nUpload-Offset: 0\nUpload-Complete: ?0\nContent-Type: application/partial-upload\n\nabc"
    yield b"POST /flow/?" + _CHUNK + b"\nContent-Type: a/b\n\nabc"
    yield (
        b"POST /flow/?"
        + _CHUNK.replace(b"=a&", b"=../a&").replace(b"=b&", b"=../passwd&")
        + b"\nContent-Type: a/b\n\nabc"
    )
    yield b"GET /flow/?" + _CHUNK + b"\n\n"
    yield b"GET /flow/status?" + _CHUNK + b"\n\n"
    form = b"".join(
        _part(f'name="{k}"', v.encode()) for k, _, v in (p.partition("=") for p in _CHUNK.decode().split("&"))
    )
    yield b"POST /flow/\nContent-Type: multipart/form-data; boundary=----bound\n\n" + form + _FORM


_FORM_WORDS = [
    b"--" + BOUNDARY,
    b"\r\n",
    b"\r\n\r\n",
    b"--",
    b'name="',
    b'filename="',
    b"form-data; ",
    b"Content-Disposition: ",
]
_DIGEST = b"sha1 " + base64.b64encode(b"x" * 20)
_FIELDS = [b"?1", b"42;a=b", b"sha-256=:YQ==:, b;q=1.5", b'a="x\\"y", c=(1 2);d, e=%"f%c3%bc", g=@1']
_LISTS = [b"5", _DIGEST, b"partial", b"final;/files/" + b"a" * 32 + b" " + b"0" * 32]
_NOT_NUMBERS = [b"final;", b"crc32 ", b"1", b"_", b"+", b"-", b"e", b"0x", b".", b"\xb2"]
_METADATA = [b"filename d29ybGQ=,is_secret", b"a%+1 YQ==,a YQ==,%C3%A9 eA=="]
_NAMES = [b'attachment; filename="a\\"b.txt"', b"inline; filename*=UTF-8''%c3%a9", b"x; y=z"]
_PARTS = [b"content\xff\xfename\xff\xfekey\xff\xfevalue", b""]
TARGETS: dict[str, Callable[[], Target]] = {
    "form": lambda: Target(form_of_junk, [_FORM, b"", b"--" + BOUNDARY + b"--"], _FORM_WORDS),
    "parts": lambda: Target(form_of_parts, _PARTS, [b"\xff\xfe", b'"', b"\r\n"]),
    "structured": lambda: Target(structured, _FIELDS, [b"?0", b"=:", b";", b"=(", b'"', b'%"'], 512),
    "metadata": lambda: Target(metadata, _METADATA, [b"%+1", b",", b" "]),
    "headers": lambda: Target(upload_headers, _LISTS, _NOT_NUMBERS, 1024),
    "loads": lambda: Target(loads, [bytes([number]) for number in range(len(READERS))], [b"\0"], 2),
    "dispositions": lambda: Target(dispositions, _NAMES, [b"filename", b"*=", b"UTF-8''"], 1024),
    "requests": lambda: Target(Requests().test, [*_requests()], [*_WORDS, *_FORM_WORDS]),
}

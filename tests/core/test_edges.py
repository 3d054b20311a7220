"""The edges of small rules: answers, processing, checksums, concatenation, names of files, places and tokens."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Callable
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from functools import partial
from types import FrameType
from typing import Any

import pytest

from flask_resumable.core.answer import Answer
from flask_resumable.core.answer import MAX_BODY
from flask_resumable.core.answer import MAX_HEADERS
from flask_resumable.core.checksum import announced_digest
from flask_resumable.core.checksum import Checksum
from flask_resumable.core.concat import Concat
from flask_resumable.core.concat import MAX_PARTS
from flask_resumable.core.disposition import claimed_type
from flask_resumable.core.disposition import content_disposition
from flask_resumable.core.disposition import download_name
from flask_resumable.core.disposition import object_type
from flask_resumable.core.fields import is_token
from flask_resumable.core.fields import whole_number
from flask_resumable.core.grant import Grant
from flask_resumable.core.metadata import metadata_of
from flask_resumable.core.metadata import UploadMetadata
from flask_resumable.core.parameters import decode_extended
from flask_resumable.core.parameters import form_parameters
from flask_resumable.core.parameters import parse_parameters
from flask_resumable.core.placement import keep
from flask_resumable.core.placement import name_in
from flask_resumable.core.placement import Place
from flask_resumable.core.placement import storage_of
from flask_resumable.core.placement import with_name
from flask_resumable.core.printable import printable
from flask_resumable.core.processing import collecting_mark
from flask_resumable.core.processing import mark_in_hook
from flask_resumable.core.processing import MAX_REASON
from flask_resumable.core.processing import Processing
from flask_resumable.core.processing import processing_headers
from flask_resumable.core.processing import ProcessingState
from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.ranges import chunk_spans
from flask_resumable.core.ranges import ChunkSpan
from flask_resumable.core.upload import MAX_LENGTH
from flask_resumable.core.upload import Upload
from flask_resumable.errors import InvalidRequest

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ID = "0" * 32


def _upload(**metadata: str) -> Upload:
    return Upload(id=ID, length=1, created_at=NOW, metadata=UploadMetadata.from_values(metadata))


# --- answers ---


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"status": 204}, "200, 201 or 202, not 204"),
        ({"body": "é" * (MAX_BODY // 2) + "x"}, f"at most {MAX_BODY} bytes, not {MAX_BODY + 1}"),
        ({"headers": {"a": "x" * (MAX_HEADERS - 4)}}, f"at most {MAX_HEADERS} bytes"),
        ({"headers": {"SET-Cookie": "a"}}, "cannot have the header field SET-Cookie"),
        ({"headers": {"Access-Control-Allow-Origin": "*"}}, "cannot have the header field"),
        ({"headers": {"a.b": "c"}}, "'a.b' is not a valid name"),
        ({"headers": {"-": "c"}}, "'-' is not a valid name"),
        ({"headers": {"_": "c"}}, "'_' is not a valid name"),
        ({"headers": {"é": "c"}}, "'é' is not a valid name"),
        ({"headers": {"a": "b\n"}}, "is not a valid value for the header field a"),
        ({"headers": {"a": "é"}}, "is not a valid value for the header field a"),
    ],
)
def test_answers_that_cannot_be_kept(wrong: dict[str, Any], words: str) -> None:
    """The error says why."""
    with pytest.raises(ValueError, match=words):
        Answer(**wrong)


def test_answers_that_can_be_kept() -> None:
    """As long as they may be; names have letters, digits, hyphens and underscores."""
    Answer("x" * MAX_BODY, {"X-a_1": "x" * (MAX_HEADERS - 9)}, 202)
    Answer("", {"X-A": ""}, 201)
    assert Answer("é").content == "é".encode()
    assert Answer(b"\xff").content == b"\xff"


def test_headers_of_an_answer() -> None:
    """Those of the protocol are left out, whatever their case, and without the body, those that describe it."""
    own = {"X-File": "1", "Content-Type": "text/plain", "Content-Language": "en", "ETag": "a"}
    answer = Answer("", {**own, "Upload-Length": "1", "TUS-Version": "9", "Date": "x", "Content-Length": "3"})
    assert answer.added_headers == own
    assert answer.bare_headers == {"X-File": "1", "ETag": "a"}


@pytest.mark.parametrize(
    ("body", "kind", "value"),
    [
        ('{"a": 1}', "application/json", {"a": 1}),
        ('{"a": 1}', " Application/JSON ; charset=utf-8", {"a": 1}),
        ('{"a": 1}', "text/plain", '{"a": 1}'),
        ('{"a": 1}', None, '{"a": 1}'),
        ("{", "application/json", "{"),
        (b"a\xff", None, "a\ufffd"),
    ],
)
def test_an_answer_as_a_value(body: str | bytes, kind: str | None, value: object) -> None:
    """What it contains if it is JSON, otherwise text."""
    assert Answer(body, {} if kind is None else {"content-TYPE": kind}).value == value


# --- processing ---


def test_what_an_app_may_say() -> None:
    """A reason is only for a failure, and becomes one line that is not too long."""
    assert Processing.of("ready", None) == Processing(ProcessingState.READY)
    assert Processing.of("failed", "a\r\n \x1bb").reason == "a b"
    assert Processing.of("failed", " \n").reason is None
    assert Processing.of("failed", "x" * (MAX_REASON + 1)).reason == "x" * MAX_REASON
    with pytest.raises(ValueError, match="'done' is not a state of processing; use 'processing', 'ready', 'failed'"):
        Processing.of("done", None)
    with pytest.raises(ValueError, match="Only 'failed' has a reason, not 'ready'"):
        Processing.of("ready", "x")


def test_how_processing_is_told() -> None:
    """In JSON and in header fields, the reason percent-encoded."""
    failed = Processing.of("failed", "é/b")
    assert failed.to_json() == {"state": "failed", "reason": "é/b"}
    assert failed.headers() == {"Upload-Processing": "failed", "Upload-Processing-Reason": "%C3%A9%2Fb"}
    assert processing_headers(Processing.of("ready", None)) == {"Upload-Processing": "ready"}
    assert processing_headers(None) == {}


def test_a_mark_in_a_hook_is_for_its_upload() -> None:
    """Hooks may call each other for different uploads."""
    ready = Processing.of("ready", None)
    assert not mark_in_hook("a", ready)
    with collecting_mark("a") as silent:
        pass
    assert silent.processing is None
    with collecting_mark("a") as outer:
        with collecting_mark("b") as inner:
            assert not mark_in_hook("a", ready)
            assert mark_in_hook("b", ready)
        assert mark_in_hook("a", Processing.of("processing", None))
    assert (inner.processing, inner.upload_id) == (ready, "b")
    assert outer.processing == Processing(ProcessingState.PROCESSING)
    assert not mark_in_hook("a", ready)


# --- headers ---


def test_checksums() -> None:
    """The errors say what is wrong, and a header comes back."""
    digest = hashlib.sha1(b"").digest()
    header = f"sha1 {base64.b64encode(digest).decode()}"
    assert Checksum.from_header(f"\t {header} \t") == Checksum("sha1", digest)
    assert Checksum("sha1", digest).to_header() == header
    for wrong, words in (
        (header.replace("sha1", "SHA1"), "unknown algorithm; use one of sha1, sha256, sha512, md5, crc32"),
        ("X" + header, "unknown algorithm"),
        ("\xa0" + header, "unknown algorithm"),
        ("sha1", "the size of a raw sha1 digest"),
        (header.replace("sha1", "md5"), "the size of a raw md5 digest"),
        (header[:-1], "must be '<algorithm> <base64"),
        (header + "!", "must be '<algorithm> <base64"),
        ("sha1 é", "must be '<algorithm> <base64"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            Checksum.from_header(wrong)
    assert announced_digest(UploadMetadata.from_values({"repr-digest": header})) == Checksum("sha1", digest)
    for values in ({}, {"repr-digest": "sha1"}, {"digest": header}):
        assert announced_digest(UploadMetadata.from_values(values)) is None


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        ("partial", ()),
        (" partial\t", ()),
        (f"final;{ID}", (ID,)),
        ("final;a_b /f/c-1/", ("a_b", "c-1")),
        (f" final; /f/{ID}//  https://x/?a#b/{ID} ".replace(f"?a#b/{ID}", f"{ID}?a#b"), (ID, ID)),
    ],
)
def test_concatenations(raw: str, parts: tuple[str, ...]) -> None:
    """The header comes back as it was."""
    assert Concat.from_header(raw) == Concat(raw, parts)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("", "must be 'partial' or 'final"),
        ("partial;", "must be 'partial' or 'final"),
        (f"partial;{ID}", "must be 'partial' or 'final"),
        ("partialX", "must be 'partial' or 'final"),
        ("\xa0partial", "must be 'partial' or 'final"),
        ("final", "must be 'partial' or 'final"),
        ("final; ", "must be 'partial' or 'final"),
        (f"Final;{ID}", "must be 'partial' or 'final"),
        (f"final;{ID} /a%2f", "is not the URL of an upload"),
        (f"final;{ID}X", "is not the URL of an upload"),
        (f"final;{ID}/X/", "is not the URL of an upload"),
        (f"final;http://[/{ID}", "is not the URL of an upload"),
        ("final;" + "a " * (MAX_PARTS + 1), "more than 10000 uploads"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_concatenation(raw: str, words: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(InvalidRequest, match=words):
        Concat.from_header(raw)
    assert len(Concat.from_header("final;" + "a " * MAX_PARTS).parts) == MAX_PARTS


def test_numbers_and_names_of_headers() -> None:
    """Digits only, up to the largest number that a database holds."""
    assert whole_number(str(MAX_LENGTH), "N") == MAX_LENGTH
    assert whole_number("007", "N") == 7
    for wrong in (str(MAX_LENGTH + 1), "", "+1", "-1", "1.0", "1_0", " 1", "1\n", "\u0661", "1" * 20):
        with pytest.raises(InvalidRequest, match=f"^N must be an integer from 0 to {MAX_LENGTH}"):
            whole_number(wrong, "N")
    assert is_token("X-a_1!") and not is_token("") and not is_token("a b") and not is_token("a\n")


def test_metadata() -> None:
    """Limits and errors, and what other headers have in its place."""
    assert UploadMetadata.from_header("a YQ==", max_size=6) == {"a": "a"}
    with pytest.raises(InvalidRequest, match="longer than 5 characters"):
        UploadMetadata.from_header("a YQ==", max_size=5)
    for wrong, words in (
        ("a YQ==,,b YQ==", "a key that is empty"),
        ("a\x7f YQ==", "a key that is empty or not"),
        ("a YQ==, a YQ==", "the key 'a' more than once"),
        ("a YQ=", "a value for 'a' that is not base64"),
        ("a é", "a value for 'a' that is not base64"),
        ("a YQ== x", "a value for 'a' that is not base64"),
        ("a YQ==\xa0", "a value for 'a' that is not base64"),
        ("\xa0a YQ==", "a key that is empty or not"),
        ("a YQ==,\xa0", "a key that is empty or not"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            UploadMetadata.from_header(wrong)
    assert UploadMetadata.from_header("\ta YQ==\t,\tb\t, \t") == {"a": "a", "b": ""}
    assert UploadMetadata.from_header("aX YQ==,X") == {"aX": "a", "X": ""}
    for prefix in ("file", ""):
        metadata = UploadMetadata.from_values({f"{prefix}name": "n", f"{prefix}type": "t"})
        assert (metadata.filename, metadata.filetype) == ("n", "t")
    both = UploadMetadata.from_values({"name": "n", "filename": "f", "type": "t", "filetype": "y"})
    assert (both.filename, both.filetype) == ("f", "y")
    nothing = UploadMetadata()
    assert (nothing.filename, nothing.filetype, len(nothing), nothing.getlist("a")) == (None, None, 0, [])
    assert metadata_of(both.raw) == both
    with pytest.raises(KeyError, match="'x'"):
        both.value_bytes("x")
    assert UploadMetadata("%C3%A9 YQ==").get("\ud800") is None


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("a YQ==,a%+1 Yg==,a%+2 Yw==", {"a": ["a", "b", "c"]}),
        ("a YQ==,abc7 Yg==", {"a": ["a"], "abc7": ["b"]}),
        ("a YQ==,a%+x Yg==,a%+0 Yg==,a%+01 Yg==", {"a": ["a"], "a%+x": ["b"], "a%+0": ["b"], "a%+01": ["b"]}),
        ("a%+1 YQ==,a%+1%+1 Yg==", {"a%+1": ["a", "b"]}),
        ("%C3%A9 YQ==,%C3%A9%+1 Yg==", {"é": ["a", "b"]}),
        ("a //4=,a%+1 Yv8=", {"a": ["\ufffd\ufffd", "b\ufffd"]}),
    ],
)
def test_several_values_for_a_key(header: str, values: dict[str, list[str]]) -> None:
    """Each value belongs to one key; what only looks like a further value has a key of its own."""
    metadata = UploadMetadata.from_header(header)
    assert {key: metadata.getlist(key) for key in metadata} == values
    assert dict(metadata) == {key: found[0] for key, found in values.items()}
    assert len(metadata) == len(values)


def test_metadata_that_was_not_checked() -> None:
    """Reading a value that is not base64 says which one it is."""
    metadata = UploadMetadata("a YQ==,a%+1 Y,b Y")
    assert metadata["a"] == "a"
    with pytest.raises(InvalidRequest, match=r"a value for 'a%\+1' that is not base64"):
        metadata.getlist("a")
    with pytest.raises(InvalidRequest, match="a value for 'b' that is not base64"):
        metadata["b"]


@pytest.mark.parametrize("count", [1, 1000])
def test_a_value_is_found_in_the_same_few_calls_among_any_number_of_keys(count: int) -> None:
    """The header is parsed once, when it is checked, or when the first value is looked up."""
    raw = ",".join(f"k{number} YQ==" for number in range(count))
    checked, known = UploadMetadata.from_header(raw), UploadMetadata(raw)
    assert known["k0"] == "a"
    for metadata in (checked, known):
        assert _calls_of(partial(metadata.get, "k0")) <= 4


def _calls_of(act: Callable[[], object]) -> int:
    """How many functions for metadata it calls."""
    count = 0

    def see(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call" and frame.f_globals["__name__"] == UploadMetadata.__module__

    sys.setprofile(see)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


def test_metadata_in_a_record() -> None:
    """It stays as earlier versions have written it."""
    values = [("a", "1"), ("é", ""), ("a", "2"), ("a", "3"), ("\ud800", "4")]
    assert UploadMetadata.from_values(values).raw == "a MQ==,%C3%A9,a%+1 Mg==,a%+2 Mw==,%ED%A0%80 NA=="


def test_metadata_with_other_values() -> None:
    """All that it has for a key is replaced, in any spelling; the rest stays, and nothing becomes of nothing."""
    several = UploadMetadata.from_values([("é", "1"), ("a", "2"), ("a", "3"), ("b", ""), ("c d", "4")])
    changed = several.with_values({"a": "9", "c d": "8"})
    assert dict(changed) == {"é": "1", "b": "", "a": "9", "c d": "8"}
    assert changed.getlist("a") == ["9"]
    assert several.getlist("a") == ["2", "3"]
    assert several.with_values({}).raw == several.raw
    assert UploadMetadata().with_values({}).raw == ""
    assert dict(UploadMetadata().with_values({"a": "1"})) == {"a": "1"}
    assert dict(several.with_values({"é": "5"})) == {"é": "5", "a": "2", "b": "", "c d": "4"}


# --- downloads ---


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", ID),
        ("X", "X"),
        ("a/b\\c.txt", "c.txt"),
        ("a/", "a"),
        ("a\r\nb\x1b.txt", "ab.txt"),
        (".", ID),
        (" .. ", ID),
        (".a", ".a"),
        ("x" * 255, "x" * 255),
        ("x" * 256, "x" * 255),
        ("x" * 300 + ".txt", "x" * 251 + ".txt"),
        ("x" * 300 + "." + "y" * 31, "x" * 223 + "." + "y" * 31),
        ("x" * 300 + "." + "y" * 32, "x" * 255),
        ("." + "y" * 300, "." + "y" * 254),
        ("x" * 260 + ".a.txt", "x" * 251 + ".txt"),
    ],
)
def test_names_of_downloads(name: str, shown: str) -> None:
    """Without folders and control characters, not too long, and with the end that tells the type."""
    assert download_name(_upload(filename=name)) == shown


@pytest.mark.parametrize(
    ("claimed", "told"),
    [
        (" Image/PNG ; a=b", ("image/png", "inline")),
        ("image/tiff", ("image/tiff", "attachment")),
        ("text/html", ("application/octet-stream", "attachment")),
        ("image/svg+xml", ("application/octet-stream", "attachment")),
        ("application/xhtml+xml", ("application/octet-stream", "attachment")),
        ("text/javascript", ("application/octet-stream", "attachment")),
        ("message/rfc822", ("application/octet-stream", "attachment")),
        ("png", ("application/octet-stream", "attachment")),
        ("", ("application/octet-stream", "attachment")),
    ],
)
def test_types_of_objects(claimed: str, told: tuple[str, str]) -> None:
    """What can run scripts is never named, also if the app shows it."""
    shown = ("image/png", "text/html", "image/svg+xml")
    assert object_type(_upload(filetype=claimed), shown) == told
    assert claimed_type(_upload(filetype=" Image/PNG ; a=b")) == "image/png"
    assert claimed_type(_upload()) == ""
    assert content_disposition("inline", 'a%\\"\x7fb') == "inline; filename=\"a____b\"; filename*=UTF-8''a%25%5C%22%7Fb"


# --- parameters of parts ---


@pytest.mark.parametrize(
    ("value", "of_http", "of_forms"),
    [
        ('form-data; name="a"', {"name": "a"}, {"name": "a"}),
        ('form-data;NAME=a; x="1;2"', {"name": "a", "x": "1;2"}, {"name": "a", "x": "1;2"}),
        ('form-data; name="a"; name="b"', {"name": "a"}, {"name": "a"}),
        (r'form-data; name="a\"b"', {"name": 'a"b'}, {"name": 'a"b'}),
        ('form-data; name="a\\"', {"name": "a\\"}, {"name": "a\\"}),
        (r'form-data; name="C:\d\a"', {"name": r"C:\d\a"}, {"name": r"C:\d\a"}),
        (r'form-data; name="a\\b"', {"name": r"a\b"}, {"name": r"a\\b"}),
        ('form-data; name="a%22b%0D%0A%41"', {"name": "a%22b%0D%0A%41"}, {"name": 'a"b\r\n%41'}),
        ("form-data; name*=UTF-8''%C3%A9", {"name*": "UTF-8''%C3%A9"}, {"name*": "UTF-8''%C3%A9", "name": "é"}),
        ('form-data; name="a"b"', None, {"name": 'a"b'}),
        ('form-data; name="a"b=c"', None, {"name": 'a"b=c'}),
        ('form-data; name="a; x=1', None, {"name": "a", "x": "1"}),
        ('form-data; name="a ;\t; x=X\xa0', None, {"name": "a", "x": "X\xa0"}),
        ("", None, {}),
        ("form-data;;", {}, {}),
    ],
)
def test_parameters(value: str, of_http: dict[str, str] | None, of_forms: dict[str, str]) -> None:
    """As HTTP escapes them, as browsers do, and what can be made of those that are malformed."""
    assert parse_parameters(value) == of_http
    assert form_parameters(value) == of_forms


def test_extended_parameters() -> None:
    """In UTF-8 or Latin-1; anything else is nothing."""
    assert decode_extended("utf-8'en'%C3%A9") == "é"
    assert decode_extended("ISO-8859-1''%E9") == "é"
    assert decode_extended("UTF-8''%FF") == "\ufffd"
    for wrong in ("UTF-16''a", "UTF-8'a", "UTF-8''%E", "a"):
        assert decode_extended(wrong) == ""


# --- the rest ---


def test_text_for_logs() -> None:
    """What is not printable is escaped, and so is the backslash."""
    assert printable("aé b") == "aé b"
    assert printable(r"a\n") == r"a\\n"
    assert printable("a\n\x1b\u202e\\b") == r"a\n\x1b\u202e\\b"
    assert printable(5) == "5"


def test_places() -> None:
    """They come back from a record, which keeps what belongs to the storage and the name of the bytes."""
    place = Place("s", "a/b", {"p": 1})
    notes = place.note(with_name({"k": 2}, "n"))
    assert notes == {"k": 2, "place": {"name": "n", "storage": "s", "folder": "a/b", "parameters": {"p": 1}}}
    assert Place.of(notes) == place
    assert (name_in(notes), storage_of(notes)) == ("n", "s")
    assert keep(notes, {"k": 3}) == {"k": 3, "place": notes["place"]}
    assert keep({"k": 2}, {"k": 3}) == {"k": 3}
    assert Place.of({}) == Place() and Place().note({"k": 2}) == {"k": 2}
    assert (name_in({}), storage_of({})) == (None, None)
    assert name_in({"place": {"storage": "s"}}) is None
    assert with_name(Place("s").note({}), "n") == {"place": {"storage": "s", "name": "n"}}
    Place(folder="/".join(["x" * 64] * 8))
    for wrong in ("/".join("a" * 9), "a//b", "/a", "a/", "..", "a b", "x" * 65, "a\n"):
        with pytest.raises(ValueError, match="is not a valid folder for uploads"):
            Place(folder=wrong)


def test_tokens() -> None:
    """They come back from a payload, which is as short as possible."""
    grant = Grant(nonce="n", expires_at=NOW, owner="a", max_size=0, length=5, metadata={"k": "v"})
    assert grant.to_payload() == {"n": "n", "t": 1767312000, "o": "a", "s": 0, "l": 5, "m": {"k": "v"}}
    assert Grant.from_payload(grant.to_payload()) == grant
    short = Grant(nonce="n", expires_at=NOW + timedelta(microseconds=5))
    assert short.to_payload() == {"n": "n", "t": 1767312000}
    assert Grant.from_payload(short.to_payload()) == Grant(nonce="n", expires_at=NOW)
    assert short.request_key == grant.request_key != Grant(nonce="m", expires_at=NOW).request_key


def test_chunks() -> None:
    """The last one has what is left, which may be nothing or more than the others have."""
    assert [*chunk_spans(4, 3, 10)] == [ChunkSpan(1, 0, 4, 4), ChunkSpan(2, 4, 8, 4), ChunkSpan(3, 8, 10, 4)]
    assert [*chunk_spans(4, 3, 8)] == [ChunkSpan(1, 0, 4, 4), ChunkSpan(2, 4, 8, 4)]
    assert [*chunk_spans(4, 2, 11)] == [ChunkSpan(1, 0, 4, 4), ChunkSpan(2, 4, 11, 4)]
    assert [*chunk_spans(4, 2, 5)] == [ChunkSpan(1, 0, 4, 4), ChunkSpan(2, 4, 5, 4)]
    assert [*chunk_spans(0, 1, 0)] == []
    assert ChunkSpan(2, 4, 11, 4).size == 7


def test_bytes_that_are_no_chunks_are_refused() -> None:
    """They begin beyond the offset, and are not where a chunk is; the error names them."""
    one = ByteRanges().add(8, 12, 4)
    for start, stop, unit in ((5, 9, 4), (4, 7, 4), (16, 18, 2), (4, 8, 0), (16, 20, 8)):
        with pytest.raises(ValueError, match=f"Bytes {start} to {stop} are not whole chunks of {unit} bytes"):
            one.add(start, stop, unit)
    with pytest.raises(ValueError, match="not whole chunks of 0 bytes"):
        ByteRanges.prefix(4).add(5, 9)
    short = ByteRanges().add(8, 10, 4)
    assert short.pairs == ((8, 10),)
    with pytest.raises(ValueError):
        short.add(12, 16, 4)
    assert short.add(8, 10, 4) is short
    assert (short.total, short.stop, ByteRanges.prefix(3).stop) == (2, 10, 3)

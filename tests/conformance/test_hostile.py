"""Headers and URLs made to hurt: never a 5xx, never a redirect, never a file where none belongs."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from .server import id_of
from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import checksum
from .tus_client import DEFERRED
from .tus_client import final
from .tus_client import metadata
from .tus_client import OCTETS
from .tus_client import OVERRIDE
from .tus_client import PARTIAL
from .tus_client import UNKNOWN

hostile = settings(
    max_examples=settings().max_examples * 3 // 2,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# What a server lets through in a header value: bytes as Latin-1, no line ends, no NUL.
anything = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f") | st.just("\t"), max_size=60
)
integers = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(0, 20).map(str),
    st.sampled_from(["+5", "1_0", " 5", "5 ", "1e3", "0x5", "", "-0", "00", "\u00b2", "5,5", "9" * 400]),
    anything,
)
traversals = st.lists(
    st.sampled_from(
        ["..", ".", "/", "\\", "%2e", "%2f", "%5c", "%00", "%252e", "~", "etc", "passwd", ".partial", "a" * 32]
    ),
    max_size=8,
).map("".join)
keys = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
pairs = st.dictionaries(keys, st.binary(max_size=40) | traversals.map(str.encode), max_size=4).map(
    lambda found: metadata(**found)
)
metadatas = st.one_of(
    anything, pairs, st.lists(anything | pairs, max_size=4).map(",".join), st.just("a " + "QUFB" * 9000)
)
concats = st.one_of(
    anything,
    st.sampled_from(
        ["partial", "final;", "final", "partial;", "final;" + UNKNOWN, "final;" + " ".join([UNKNOWN] * 500)]
    ),
    st.lists(traversals | anything, max_size=5).map(lambda urls: "final;" + " ".join(urls)),
)
checksums = st.one_of(
    anything,
    st.sampled_from(
        ["sha1", "sha1 ", checksum(b"abc"), checksum(b"abd", "crc32"), "md5 " + "A" * 5000, "sha1 " + "\xff" * 28]
    ),
    st.tuples(st.sampled_from(["sha1", "md5", "sha256", "sha512", "crc32", "SHA1", "x"]), anything).map(" ".join),
)
odd_headers = st.fixed_dictionaries(
    {},
    optional={
        "Upload-Offset": integers,
        "Upload-Length": integers,
        "Upload-Defer-Length": st.just("1") | anything,
        "Upload-Metadata": metadatas,
        "Upload-Concat": concats,
        "Upload-Checksum": checksums,
        "Content-Type": st.sampled_from([OCTETS, "text/plain", "multipart/form-data; boundary=x", ""]) | anything,
        "Tus-Resumable": st.just("0.2.2") | anything,
        "Trailer": st.just("Upload-Checksum") | anything,
        "Expect": st.just("100-continue") | anything,
        "Range": st.just("bytes=5-1") | anything,
        "If-None-Match": anything,
        "If-Modified-Since": anything,
        "If-Range": anything,
        "Origin": st.just("null") | anything,
        "Access-Control-Request-Method": anything,
        "Access-Control-Request-Headers": anything,
        "X-Forwarded-Host": anything,
    },
)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
overrides = st.sampled_from(["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT"]) | anything


def everything_below(home: Path) -> dict[str, bytes]:
    """Every file the test can reach that is no database."""
    files = (path for path in home.rglob("*") if path.is_file() and ".sqlite" not in path.name)
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in files}


def sane(response: TestResponse) -> None:
    """An answer that a hostile request may get."""
    assert response.status_code < 500, response.text
    assert response.status_code // 100 != 3 or response.status_code == 304
    assert not [value for value in response.headers.values() if set(value) & set("\r\n\0")]


def contained(server: Server, home: Path, canaries: dict[str, bytes]) -> None:
    """Outside the upload folder nothing changed; inside are only files named by ids."""
    inside = server.folder.relative_to(home).as_posix() + "/"
    found = everything_below(home)
    assert {name: content for name, content in found.items() if not name.startswith(inside)} == canaries
    for name in found.keys() - canaries.keys():
        assert re.fullmatch(r"[0-9a-f]{32}|\.partial/[0-9a-f]{32}\.(part|lock)", name.removeprefix(inside)), name


def start(serve: Serve, home: Path) -> tuple[Server, dict[str, bytes]]:
    """A generous server among files that must not change."""
    server = serve(MAX_SIZE=1000, DOWNLOADS=True, CORS_ORIGINS=["https://app.example"])
    server.tus.options()
    for place in (home, server.folder.parent, server.folder.parent.parent):
        place.mkdir(exist_ok=True)
        for name in ("passwd", "boot.ini", "a" * 32):
            (place / name).write_text("untouched")
    return server, everything_below(home)


def test_no_header_breaks_a_creation(serve: Serve, tmp_path: Path) -> None:
    """POST with any headers makes one upload or none, and never fails."""
    server, canaries = start(serve, tmp_path)

    @hostile
    @given(headers=odd_headers, content=st.binary(max_size=30), chunked=st.booleans())
    def attack(headers: dict[str, str], content: bytes, chunked: bool) -> None:
        rows = len(server.dump())
        response = server.tus.request("POST", headers=headers, body=content, chunked=chunked)
        sane(response)
        assert (len(server.dump()) > rows) == (response.status_code == 201)

    attack()
    contained(server, tmp_path, canaries)


def test_no_header_breaks_a_patch(serve: Serve, tmp_path: Path) -> None:
    """PATCH with any headers stores bytes at the right offset or none; the file stays a true prefix."""
    server, canaries = start(serve, tmp_path)
    tus = server.tus
    sent = {
        tus.new(500): b"",
        tus.new(headers=DEFERRED): b"",
        tus.new(500, PARTIAL): b"",
    }

    @hostile
    @given(
        url=st.sampled_from(sorted(sent)),
        right=st.booleans(),
        headers=odd_headers,
        content=st.binary(max_size=3),
        chunked=st.booleans(),
    )
    def attack(url: str, right: bool, headers: dict[str, str], content: bytes, chunked: bool) -> None:
        at = {"Upload-Offset": str(len(sent[url])), "Content-Type": OCTETS} if right else {}
        response = tus.request("PATCH", url, headers={**headers, **at}, body=content, chunked=chunked)
        sane(response)
        offset = tus.offset(url)
        if response.status_code in {204, 413}:  # too much is cut off at the end, and the rest of it kept
            sent[url] += content[: offset - len(sent[url])]
        assert offset == len(sent[url])
        assert server.content(url) == sent[url]

    attack()
    contained(server, tmp_path, canaries)


def test_no_header_breaks_reading(serve: Serve, tmp_path: Path) -> None:
    """HEAD, GET and OPTIONS with any headers change nothing at all."""
    server, canaries = start(serve, tmp_path)
    tus = server.tus
    part = tus.part(b"abc")
    urls = [tus.new(6), tus.upload(b"abc" * 100), part, tus.new(headers=final(part)), UNKNOWN, ""]
    before = server.dump(), server.files(), list(server.hooks.calls)

    @hostile
    @given(method=st.sampled_from(["HEAD", "GET", "OPTIONS"]), url=st.sampled_from(urls), headers=odd_headers)
    def attack(method: str, url: str, headers: dict[str, str]) -> None:
        sane(tus.request(method, url, headers=headers))
        assert (server.dump(), server.files(), list(server.hooks.calls)) == before

    attack()
    contained(server, tmp_path, canaries)


def test_no_override_breaks_anything(serve: Serve, tmp_path: Path) -> None:
    """Any override on any method is a method with a meaning, or a 4xx."""
    server, canaries = start(serve, tmp_path)

    @hostile
    @given(method=methods, override=overrides, headers=odd_headers, there=st.booleans(), content=st.binary(max_size=5))
    def attack(method: str, override: str, headers: dict[str, str], there: bool, content: bytes) -> None:
        url = server.tus.new(6) if there else ""
        sane(server.tus.request(method, url, headers={**headers, OVERRIDE: override}, body=content))

    attack()
    contained(server, tmp_path, canaries)


def test_no_url_leads_out_of_the_folder(serve: Serve, tmp_path: Path) -> None:
    """Ids in URLs with dots, slashes, NULs and their encodings find nothing and make nothing."""
    server, canaries = start(serve, tmp_path)
    server.tus.upload(b"abc")
    rows, files = len(server.dump()), server.files()
    odd = (
        traversals
        | st.text(max_size=20)
        | st.binary(max_size=20).map(lambda raw: "".join(f"%{byte:02x}" for byte in raw))
    )

    @hostile
    @given(method=methods.filter(lambda name: name != "POST"), tail=odd, headers=odd_headers)
    def attack(method: str, tail: str, headers: dict[str, str]) -> None:
        path = "/files/" + tail.replace("?", "%3f").replace("#", "%23")
        response = server.tus.client.open(
            path,
            method=method,
            headers={"Tus-Resumable": "1.0.0", "Content-Type": OCTETS, "Upload-Offset": "0"},
            data=b"x",
            buffered=True,
        )
        sane(response)
        assert response.status_code >= 400 or method == "OPTIONS", response.status
        sane(
            server.tus.request(
                method, headers=headers, environ={"PATH_INFO": "/files/" + tail.encode().decode("latin-1")}
            )
        )
        assert (len(server.dump()), server.files()) == (rows, files)

    attack()
    contained(server, tmp_path, canaries)


def test_no_concat_list_leads_out_of_the_folder(serve: Serve, tmp_path: Path) -> None:
    """A list of parts with traversal attempts joins nothing but parts."""
    server, canaries = start(serve, tmp_path)
    part = server.tus.part(b"abc")
    spelled = st.sampled_from([part, id_of(part)])

    @hostile
    @given(urls=st.lists(traversals | spelled | st.builds("{}/{}".format, traversals, spelled), min_size=1, max_size=4))
    def attack(urls: list[str]) -> None:
        response = server.tus.create(headers=final(*urls))
        sane(response)
        if response.status_code == 201:
            content = server.finished(response.headers["Location"]).read_bytes()
            assert content and content.replace(b"abc", b"") == b""

    attack()
    contained(server, tmp_path, canaries)


def test_no_metadata_leads_out_of_the_folder(serve: Serve, tmp_path: Path) -> None:
    """Names, types and paths of the client are words: finished files are still named by ids, and downloads are safe."""
    server, canaries = start(serve, tmp_path)
    shown = server.app.extensions["resumable"].settings.inline_types
    values = st.binary(max_size=60) | traversals.map(str.encode) | st.text(max_size=30).map(str.encode)

    @hostile
    @given(name=values, filetype=values | st.sampled_from([b"text/html", b"image/svg+xml", b"image/png"]))
    def attack(name: bytes, filetype: bytes) -> None:
        url = server.tus.upload(b"<script>", {"Upload-Metadata": metadata(filename=name, filetype=filetype, id=name)})
        assert server.finished(url).read_bytes() == b"<script>"
        response = server.tus.get(url)
        sane(response)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        disposition = response.headers["Content-Disposition"]
        said = filetype.decode("utf-8", "replace").partition(";")[0].strip().lower()
        assert disposition.startswith("attachment") or said in shown

    attack()
    contained(server, tmp_path, canaries)


def test_bodies_that_break_in_every_way_leave_a_true_prefix(serve: Serve, tmp_path: Path) -> None:
    """Whatever mixture of pieces, ends and errors a body is, HEAD tells the truth and the upload can be finished."""
    server, canaries = start(serve, tmp_path)
    tus = server.tus
    ends = st.sampled_from([b"", ConnectionResetError(), TimeoutError(), OSError(), ValueError()])

    @hostile
    @given(
        pieces=st.lists(st.binary(max_size=40), max_size=5),
        end=ends,
        chunked=st.booleans(),
        announced=st.integers(0, 120),
    )
    def attack(pieces: list[bytes], end: bytes | Exception, chunked: bool, announced: int) -> None:
        url = tus.new(100)
        sane(tus.patch(url, 0, Body(*pieces, end), announced=announced, chunked=chunked))
        arrived = b"".join(pieces)
        offset = tus.offset(url)
        assert offset <= 100
        assert server.content(url) == arrived[:offset]
        if offset < 100:
            assert tus.patch(url, offset, b"z" * (100 - offset)).status_code == 204
        assert len(server.finished(url).read_bytes()) == 100
        assert server.hooks.count("on_complete", url) == 1

    attack()
    contained(server, tmp_path, canaries)

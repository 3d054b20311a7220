"""What the clients send. Each function returns scripts, one for each connection, and a report that they fill in.

``stored`` in a report has the id of each complete upload, where its content begins, and its size. The measuring
process compares the stored files with this.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.parse import urlsplit

from bench.client import Answer
from bench.client import Piece
from bench.client import Request
from bench.client import Script
from bench.client import Trouble
from bench.content import phase_of
from bench.units import MIB

Made = tuple[list[Script], dict[str, Any]]

_TUS: dict[str, str | int] = {"Tus-Resumable": "1.0.0"}
_BYTES: dict[str, str | int] = {**_TUS, "Content-Type": "application/offset+octet-stream"}
_CHUNKED = {"Transfer-Encoding": "chunked"}
_NAMED = {"Upload-Metadata": "filename YmVuY2g=,filetype YXBwbGljYXRpb24vb2N0ZXQtc3RyZWFt"}
_BOUNDARY = "----bench-boundary"
_PAUSE = 0.02  # seconds between requests whose latency is measured
_numbers = itertools.count()


def tus(url: str, *, uploads: int, size: int, chunk: int, connections: int = 1, framed: bool = False) -> Made:
    """Send ``uploads`` files of ``size`` bytes in PATCHes of ``chunk`` bytes.

    With ``framed``, the PATCHes have no Content-Length: their bodies are sent with ``Transfer-Encoding: chunked``.
    """
    report: dict[str, Any] = {"stored": [], "requests": 0}
    left = iter(range(uploads))
    return [_uploading(url, left, size, chunk, framed, report) for _ in range(min(connections, uploads))], report


def _uploading(url: str, left: Iterator[int], size: int, chunk: int, framed: bool, report: dict[str, Any]) -> Script:
    for _ in left:
        number = next(_numbers)
        made = yield Request("POST", url, {**_TUS, "Upload-Length": size, **_NAMED})
        path = _path(url, made)
        for start in range(0, size, chunk):
            step = min(chunk, size - start)
            fields = {**_BYTES, "Upload-Offset": start}
            if framed:
                yield Request("PATCH", path, {**fields, **_CHUNKED}, _frames(phase_of(number) + start, step))
            else:
                yield Request("PATCH", path, fields, [Piece(phase_of(number) + start, step)])
        report["stored"].append([path.rpartition("/")[2], phase_of(number), size])
        report["requests"] += 1 + -(-size // chunk)


def with_creation(url: str, *, uploads: int, size: int, connections: int) -> Made:
    """Send ``uploads`` files of ``size`` bytes, each in the request that creates it."""
    report: dict[str, Any] = {"stored": [], "requests": uploads}
    left = iter(range(uploads))

    def sending() -> Script:
        for _ in left:
            phase = phase_of(next(_numbers))
            fields = {**_TUS, **_NAMED, "Upload-Length": size, "Content-Type": "application/offset+octet-stream"}
            made = yield Request("POST", url, fields, [Piece(phase, size)])
            if made.fields.get("upload-offset") != str(size):
                raise Trouble(f"POST with content: the offset is {made.fields.get('upload-offset')} afterwards")
            report["stored"].append([made.fields["location"].rpartition("/")[2], phase, size])

    return [sending() for _ in range(min(connections, uploads))], report


def _frames(position: int, size: int) -> list[bytes | Piece]:
    """A body in HTTP chunks of 1 MiB."""
    body: list[bytes | Piece] = []
    for start in range(0, size, MIB):
        step = min(MIB, size - start)
        body += [b"%x\r\n" % step, Piece(position + start, step), b"\r\n"]
    return [*body, b"0\r\n\r\n"]


def create(url: str, *, uploads: int, size: int, connections: int) -> Made:
    """Create uploads. ``uploads`` in the report has their paths and where their content begins."""
    report: dict[str, Any] = {"stored": [], "requests": uploads, "uploads": []}
    left = iter(range(uploads))

    def asking() -> Script:
        for _ in left:
            made = yield Request("POST", url, {**_TUS, "Upload-Length": size, **_NAMED})
            report["uploads"].append([_path(url, made), phase_of(next(_numbers))])

    return [asking() for _ in range(min(connections, uploads))], report


def patch(url: str, *, uploads: list[tuple[str, int]], start: int, size: int, connections: int, last: bool) -> Made:
    """Send one PATCH to each upload. ``last`` says that it completes them."""
    report: dict[str, Any] = {"stored": [], "requests": len(uploads)}
    left = iter(uploads)

    def sending() -> Script:
        for path, phase in left:
            yield Request("PATCH", path, {**_BYTES, "Upload-Offset": start}, [Piece(phase + start, size)])
            if last:
                report["stored"].append([path.rpartition("/")[2], phase, start + size])

    return [sending() for _ in range(min(connections, len(uploads)))], report


def _path(url: str, made: Answer) -> str:
    """The path of an upload that was created at this URL."""
    path = urlsplit(made.fields["location"]).path
    return path if path.startswith("/") else url + path


def heads(url: str, *, ids: list[str], count: int, connections: int) -> Made:
    """Send HEADs for these uploads, in turns."""
    left = iter(range(count))

    def asking() -> Script:
        for number in left:
            yield Request("HEAD", url.rstrip("/") + "/" + ids[number % len(ids)], _TUS)

    return [asking() for _ in range(connections)], {"stored": [], "requests": count}


def empty(url: str, *, count: int, size: int, connections: int) -> Made:
    """Send what ``count`` uploads take to a view that does nothing: a POST without a body, then a PATCH with one."""
    left = iter(range(count))

    def sending() -> Script:
        for number in left:
            yield Request("POST", url, {**_TUS, "Upload-Length": size, **_NAMED})
            yield Request("PATCH", url, {**_BYTES, "Upload-Offset": 0}, [Piece(phase_of(number), size)])

    return [sending() for _ in range(connections)], {"stored": [], "requests": 2 * count}


def latency(url: str, *, until: str, size: int, chunk: int) -> Made:
    """Send HEADs for one upload and small PATCHes for another, in turns, until a file exists; with their seconds."""
    report: dict[str, Any] = {"stored": [], "requests": 0, "HEAD": [], "PATCH": []}

    def asking() -> Script:
        # Two uploads: ours takes its time if a client asks for an offset just after it has sent something, on purpose.
        idle = yield Request("POST", url, {**_TUS, "Upload-Length": size, **_NAMED})
        made = yield Request("POST", url, {**_TUS, "Upload-Length": size, **_NAMED})
        path, offset = _path(url, made), 0
        while not Path(until).exists() and offset + chunk < size:
            for request in (
                Request("HEAD", _path(url, idle), _TUS),
                Request("PATCH", path, {**_BYTES, "Upload-Offset": offset}, [Piece(offset, chunk)]),
            ):
                begun = time.perf_counter()
                yield request
                report[request.method].append(time.perf_counter() - begun)
                time.sleep(_PAUSE)
            offset += chunk

    return [asking()], report


def put(url: str, *, names: list[str], size: int, connections: int, upload: bool) -> Made:
    """Store files at ``boto3_app.py``, or let it upload them. Each name is a number."""
    report: dict[str, Any] = {"stored": [], "requests": len(names)}
    left = iter(names)

    def asking() -> Script:
        for name in left:
            phase = phase_of(int(name))
            if upload:
                yield Request("POST", url + name)
                report["stored"].append([name, phase, size])
            else:
                yield Request("PUT", url + name, {}, [Piece(phase, size)])

    return [asking() for _ in range(min(connections, len(names)))], report


def flow(url: str, *, mode: str, files: int, count: int, chunk: int, connections: int, shuffled: bool = True) -> Made:
    """Send files of ``count`` chunks, one file after the other. Each connection takes the next chunk of the list."""
    report: dict[str, Any] = {"stored": [], "requests": files * count}
    waiting = []
    for _ in range(files):
        number = next(_numbers)
        order = list(range(1, count + 1))
        if shuffled:
            random.Random(number).shuffle(order)
        waiting += [(number, chunk_number) for chunk_number in order]
        report["stored"].append([f"{number}-{mode}.bin", phase_of(number), count * chunk])
    left = iter(waiting)
    return [_chunks(url, mode, left, count, chunk, report) for _ in range(connections)], report


def _chunks(
    url: str, mode: str, left: Iterator[tuple[int, int]], count: int, chunk: int, report: dict[str, Any]
) -> Script:
    for number, chunk_number in left:
        name = f"{number}-{mode}.bin"
        fields: dict[str, str | int] = {
            "flowChunkNumber": chunk_number,
            "flowChunkSize": chunk,
            "flowCurrentChunkSize": chunk,
            "flowTotalSize": chunk * count,
            "flowIdentifier": f"{chunk * count}-{name}",
            "flowFilename": name,
            "flowRelativePath": name,
            "flowTotalChunks": count,
        }
        piece = Piece(phase_of(number) + (chunk_number - 1) * chunk, chunk)
        if mode == "octet":
            kind = {"Content-Type": "application/octet-stream"}
            answer = yield Request("POST", f"{url}?{urlencode(fields)}", dict(kind), [piece])
        else:
            form = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
            tail = f"\r\n--{_BOUNDARY}--\r\n".encode()
            answer = yield Request("POST", url, dict(form), [_form(fields), piece, tail])
        if answer.body.startswith(b"{"):  # the server's own name for it
            upload_id = json.loads(answer.body)["id"]
            for entry in report["stored"]:
                if entry[0] == name:
                    entry[0] = upload_id


def _form(fields: dict[str, str | int]) -> bytes:
    """The form up to the bytes of the chunk, as flow.js sends it."""
    lines = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    disposition = 'Content-Disposition: form-data; name="file"; filename="blob"'
    lines.append(f"--{_BOUNDARY}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n")
    return "".join(lines).encode()


def parts(url: str, *, count: int, size: int) -> Made:
    """Send the parts of a concatenation. ``ids`` in the report has their paths."""
    report: dict[str, Any] = {"stored": [], "requests": 2 * count, "ids": []}

    def sending() -> Script:
        phase = phase_of(next(_numbers))
        for number in range(count):
            made = yield Request("POST", url, {**_TUS, "Upload-Length": size, "Upload-Concat": "partial"})
            path = _path(url, made)
            yield Request("PATCH", path, {**_BYTES, "Upload-Offset": 0}, [Piece(phase + number * size, size)])
            report["ids"].append(path)
        report["phase"] = phase

    return [sending()], report


def join(url: str, *, ids: list[str], phase: int, size: int) -> Made:
    """Join parts to a final upload."""
    report: dict[str, Any] = {"stored": [], "requests": 1}

    def asking() -> Script:
        made = yield Request("POST", url, {**_TUS, "Upload-Concat": "final;" + " ".join(ids)})
        report["stored"].append([made.fields["location"].rpartition("/")[2], phase, size])

    return [asking()], report


SCRIPTS: dict[str, Callable[..., Made]] = {
    "tus": tus,
    "with_creation": with_creation,
    "create": create,
    "patch": patch,
    "heads": heads,
    "latency": latency,
    "put": put,
    "empty": empty,
    "flow": flow,
    "parts": parts,
    "join": join,
}

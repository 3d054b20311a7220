"""``python -m bench.calls``: how many calls into the package one request takes, through Flask's test client.

Each time a generator goes on counts as a call. Unlike a time, such a figure is the same on every machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

import flask_resumable
from flask_resumable import FlaskResumable

KIB = 1024
PACKAGE = str(Path(flask_resumable.__file__).parent)
BOUNDARY = "----FormBoundary7MA4YWxkTrZu0gW"
TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
METADATA = {"Upload-Metadata": "filename YS5iaW4=,filetype dGV4dC9wbGFpbg=="}
SMALL, IN_PLACE = 10, 64 * KIB  # bytes of a chunk: received whole before it is written, and written as it comes

Calls = Counter[str]  # by file and name
Act = Callable[[], TestResponse]


class Uploads(FlaskResumable):
    """An app with one hook."""

    def on_complete(self, upload: Any) -> None:
        """Nothing is to be done."""


def calls_of(act: Act) -> Calls:
    """The calls that a request takes."""
    calls: Calls = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            calls[f"{code.co_filename[len(PACKAGE) + 1 :]} {code.co_qualname}"] += 1

    sys.setprofile(count)
    try:
        answer = act()
    finally:
        sys.setprofile(None)
    assert answer.status_code in (200, 201, 204), (answer.status, answer.text)
    return calls


def requests(app: Flask, run: int) -> dict[str, Calls]:
    """The calls of each sort of request. Files of another ``run`` are other files."""
    client = app.test_client()

    def created(length: int) -> str:
        answer = client.post("/files/", headers={**TUS, "Upload-Length": str(length)})
        return "/files/" + answer.headers["Location"].rpartition("/")[2]

    def patch(url: str, offset: int) -> Act:
        return lambda: client.patch(url, headers={**TUS, "Upload-Offset": str(offset)}, data=b"x" * SMALL)

    def chunk(name: str, size: int, number: int, way: str) -> Act:
        fields = {
            "flowChunkNumber": number,
            "flowChunkSize": size,
            "flowCurrentChunkSize": size,
            "flowTotalSize": 3 * size,
            "flowIdentifier": f"{3 * size}-{name}",
            "flowFilename": name,
            "flowRelativePath": name,
            "flowTotalChunks": 3,
        }
        content = os.urandom(size)
        if way == "octet":
            return lambda: client.post("/flow/", query_string=fields, data=content)
        texts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{fields[key]}' for key in fields]
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="blob"\r\n\r\n'
        body = "\r\n".join([*texts, head]).encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        content_type = f"multipart/form-data; boundary={BOUNDARY}"
        return lambda: client.post("/flow/", data=body, content_type=content_type)

    url = created(2 * SMALL)
    found = {
        "POST": calls_of(lambda: client.post("/files/", headers={**TUS, "Upload-Length": str(SMALL), **METADATA})),
        "HEAD": calls_of(lambda: client.head(url, headers=TUS)),
        "PATCH": calls_of(patch(url, 0)),
        "last PATCH": calls_of(patch(url, SMALL)),
    }
    for size in (SMALL, IN_PLACE):
        for way in ("form", "octet"):
            for number in (1, 2, 3):
                title = f"chunk {number} of 3, {size:,} bytes, {way}"
                found[title] = calls_of(chunk(f"{run:03}{way[0]}.bin", size, number, way))
    return found


def measure() -> dict[str, Calls]:
    """The same in an app with the default settings. What is done once in an app was done before."""
    with tempfile.TemporaryDirectory() as home:
        app = Flask("calls", instance_path=home)
        Uploads(app)
        try:
            return [requests(app, run) for run in range(2)][-1]
        finally:
            app.extensions["resumable"].repository.dispose()


def main() -> None:
    """Print the numbers, or where the calls of the requests go whose titles are given."""
    for title, calls in measure().items():
        print(f"{calls.total():5}  {title}")
        if title in sys.argv[1:]:
            for name, count in calls.most_common():
                print(f"{count:12}  {name}")


if __name__ == "__main__":
    main()

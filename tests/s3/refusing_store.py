"""A store with rules of its own before moto's server: parts of one size, and refusals as a test orders them."""

from __future__ import annotations

import http.client
import re
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs
from urllib.parse import unquote
from urllib.parse import urlsplit

from tests.ports import free_port

from .conftest import Store

UNEQUAL = "All non-trailing parts must have the same length."
_HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")


@dataclass
class Refusal:
    """What is answered instead of what was asked for, ``times`` times."""

    status: int
    code: str
    message: str = "Because the test wants it so."
    times: int = 10**9

    @property
    def body(self) -> bytes:
        """As a store says it."""
        return f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>".encode()


class RefusingStore:
    """Passes requests on to a store; completes multipart uploads only of parts of one size, as Cloudflare's R2 does.

    The last part may be smaller. What is refused is refused for as long as the parts are as they are.

    :param wants_equal: Whether it does.
    """

    def __init__(self, store: Store, *, wants_equal: bool = True) -> None:
        self.wants_equal = wants_equal
        self.refusals: dict[str, Refusal] = {}  # by operation: complete, part, copy, begin, put, get, head, delete ...
        self.asked: Counter[str] = Counter()  # requests by operation
        self.refused: Counter[str] = Counter()
        self.broken = 0  # how many objects are sent by halves before the connection ends
        self.sizes: list[list[int]] = []  # of the parts of what was completed
        self._store = store
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def target(self) -> str:
        """Where the store is that it passes requests on to."""
        return urlsplit(self._store.server.url).netloc

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def refusal(self, operation: str, path: str, query: dict[str, list[str]], body: bytes) -> Refusal | None:
        """What is to be said to a request, if it is not passed on."""
        with self._lock:
            self.asked[operation] += 1
            found = self.refusals.get(operation)
            if found is not None and found.times > 0:
                found.times -= 1
                self.refused[operation] += 1
                return found
        if operation != "complete":
            return None
        sizes = self._sizes(path, query["uploadId"][0], body)
        is_equal = all(size == sizes[0] for size in sizes[:-1]) and sizes[-1] <= sizes[0]
        with self._lock:
            if self.wants_equal and not is_equal:
                self.refused[operation] += 1
                return Refusal(400, "InvalidPart", UNEQUAL)
            self.sizes.append(sizes)
        return None

    def _sizes(self, path: str, multipart: str, body: bytes) -> list[int]:
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        pages = self._store.client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=multipart)
        there = {part["PartNumber"]: part["Size"] for page in pages for part in page.get("Parts", ())}
        return [there[int(number)] for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]


def _operation(method: str, query: dict[str, list[str]], headers: Any) -> str:
    if "uploadId" in query:
        if "partNumber" in query:
            return "copy" if "x-amz-copy-source" in headers else "part"
        return {"POST": "complete", "GET": "parts", "DELETE": "abort"}[method]
    if "uploads" in query:
        return {"POST": "begin", "GET": "uploads"}[method]
    if "x-amz-copy-source" in headers:
        return "copy whole"
    return "list" if "list-type" in query else method.lower()


def _handler(refusing: RefusingStore) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            split = urlsplit(self.path)
            query = parse_qs(split.query, keep_blank_values=True)
            operation = _operation(self.command, query, self.headers)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            refusal = refusing.refusal(operation, split.path, query, body)
            if refusal is not None:
                return self._answer(refusal.status, [], b"" if self.command == "HEAD" else refusal.body)
            connection = http.client.HTTPConnection(refusing.target, timeout=60)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                length = answer.headers.get("Content-Length") if self.command == "HEAD" else None
                if operation == "get" and refusing.broken > 0:
                    refusing.broken -= 1
                    self.close_connection, length, content = True, str(len(content)), content[: len(content) // 2]
                self._answer(answer.status, answer.getheaders(), content, length)
            finally:
                connection.close()

        def _answer(
            self, status: int, headers: list[tuple[str, str]], content: bytes, length: str | None = None
        ) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - as http.server wants them

        def log_message(self, *args: Any) -> None:
            pass

    return Handler

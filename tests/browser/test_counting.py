"""How the demo's network tells content from the rest."""

from __future__ import annotations

import pytest

from demo.counting import Counts
from demo.counting import Requests


def patch(upload_id: str, content: bytes, length: int | None = None) -> bytes:
    """A request with content."""
    size = len(content) if length is None else length
    return f"PATCH /files/{upload_id} HTTP/1.1\r\nHost: x\r\ncontent-length: {size}\r\n\r\n".encode() + content


QUESTION = b"HEAD /files/a HTTP/1.1\r\nHost: x\r\n\r\n"
OTHER = b"POST /flow/ HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_content_is_counted_by_upload(size: int) -> None:
    """However the bytes are cut into blocks, only those of contents count, as many as have come."""
    counts = Counts()
    requests = Requests(counts)
    stream = QUESTION + patch("a", b"PATCH /files/c HTTP/1.1\r\n") + OTHER + patch("b", b"") + patch("b", b"12345", 9)
    for start in range(0, len(stream), size):
        requests.feed(stream[start : start + size])
    assert counts == {"a": 25, "b": 5}


def test_chunked_requests_are_not_counted() -> None:
    """What nobody announces the length of is left alone, and so is what follows."""
    counts = Counts()
    requests = Requests(counts)
    requests.feed(b"PATCH /files/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    requests.feed(patch("a", b"hello"))
    assert counts == {}


def test_counts_do_not_grow_for_ever() -> None:
    """The oldest ones are forgotten."""
    counts = Counts()
    for number in range(2000):
        counts.add(str(number), 1)
    assert len(counts) == 1000 and "1999" in counts

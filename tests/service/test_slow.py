"""What a client that sends for minutes costs the record of its upload."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from typing import Self

from flask_resumable.core.upload import Write
from flask_resumable.repositories.memory import MemoryRepository

from .site import Content
from .site import Site

BLOCK = b"x" * 16
MINUTES = 10
PIECES = 2  # a second


class Trickle(Content):
    """A body that arrives in small blocks, while time goes by."""

    def __init__(self, site: Site, blocks: int) -> None:
        super().__init__(BLOCK * blocks)
        self._site = site

    @contextmanager
    def incoming(self, room: int) -> Iterator[Self]:
        with super().incoming(room):
            (content,) = self._blocks
            self._blocks = [content[start : start + len(BLOCK)] for start in range(0, len(content), len(BLOCK))]
            yield self

    def take(self) -> bytes:
        self._site.now += timedelta(seconds=1 / PIECES)
        return super().take()


class Counted(MemoryRepository):
    """Counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.updates = 0

    def save(self, *args: Any, **options: Any) -> None:
        self.updates += 1
        super().save(*args, **options)

    def renew(self, *args: Any, **options: Any) -> None:
        self.updates += 1
        super().renew(*args, **options)


def test_a_slow_client_costs_two_updates_a_minute() -> None:
    """Ten minutes of small blocks, with a claim that expires after a few seconds of silence."""
    site = Site()
    site.repository = repository = Counted()
    site.restarted()
    blocks = MINUTES * 60 * PIECES
    upload = site.create(length=(blocks + 1) * len(BLOCK))
    body = Trickle(site, blocks)
    site.service.write(upload.id, Write(start=0, size=body.size), body, owner=None, limits=site.limits)
    assert site.saved(upload).offset == blocks * len(BLOCK)
    assert repository.updates <= 2 * MINUTES + 2  # also for its beginning and its end

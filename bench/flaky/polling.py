"""HEADs beside a PATCH: a progress bar that asks, or a second tab."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from bench.content import Content
from bench.content import phase_of
from bench.flaky.client import Client
from bench.flaky.client import Connection
from bench.flaky.client import name_of
from bench.flaky.client import Trouble
from bench.flaky.servers import Site

RATE = 2_000_000  # bytes a second
_PAUSE = 0.1  # seconds between two HEADs
_STEP = 0.02  # seconds between two pieces of the body
_PATIENCE = 3.0  # how often the time that the line needs, until the client gives up


@dataclass
class Polled:
    """One upload beside which somebody asks how far it is."""

    size: int
    sent: int = 0
    patches: int = 0
    asked: list[float] = field(default_factory=list)  # seconds of each HEAD
    behind: int = 0  # bytes that had been sent when a HEAD began and that its answer did not tell, at most
    seconds: float = 0
    trouble: str | None = None

    @property
    def times(self) -> float:
        """How often each byte was sent."""
        return self.sent / self.size


def polled(site: Site, source: Path, size: int) -> Polled:
    """An upload with a poll."""
    outcome, client, phase, over = Polled(size), Client(site), phase_of(1000), threading.Event()
    began = time.monotonic()
    try:
        path = client.create(size)
        polling = threading.Thread(target=_poll, args=(outcome, client, path, over))
        polling.start()
        try:
            with Content(source) as content:
                _upload(outcome, client, path, content, phase)
        finally:
            over.set()
            polling.join()
        outcome.seconds = time.monotonic() - began
        with Content(source) as content:
            if site.content(name_of(path)) != content.at(phase, size):
                outcome.trouble = "the stored file is not what was sent"
    except (Trouble, OSError) as error:
        outcome.seconds = time.monotonic() - began
        outcome.trouble = str(error)
    return outcome


def _upload(outcome: Polled, client: Client, path: str, content: Content, phase: int) -> None:
    offset, size = 0, outcome.size
    deadline = time.monotonic() + _PATIENCE * size / RATE
    while offset < size:
        if time.monotonic() > deadline:
            raise Trouble(f"no end, at offset {offset}")
        connection = Connection(client.site)
        connection.start_patch(path, offset, size - offset)
        outcome.patches += 1
        began, start = time.monotonic(), offset
        while offset < size and not connection.is_answered(_STEP):
            if time.monotonic() > deadline:
                connection.reset()
                raise Trouble(f"no end, at offset {client.ask(path).offset}")
            due = min(size, start + int((time.monotonic() - began) * RATE))
            sent = connection.send(content.at(phase + offset, due - offset))
            outcome.sent += sent
            if offset + sent < due:
                break
            offset = due
        try:
            status = connection.answer().status
        except Trouble:
            status = 0
        connection.close()
        if status == 204:
            return
        offset = client.ask(path).offset


def _poll(outcome: Polled, client: Client, path: str, over: threading.Event) -> None:
    while not over.wait(_PAUSE):
        before = outcome.sent if outcome.patches == 1 else 0
        try:
            told = client.ask(path)
        except (Trouble, OSError) as error:
            outcome.trouble = f"poll: {error}"
            return
        outcome.asked.append(told.seconds)
        outcome.behind = max(outcome.behind, before - told.offset)

"""Connections that are cut in the middle of a PATCH, again and again, by clients that go on at once."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from bench.content import Content
from bench.content import phase_of
from bench.flaky.client import Client
from bench.flaky.client import Connection
from bench.flaky.client import Cut
from bench.flaky.client import CUTS
from bench.flaky.client import name_of
from bench.flaky.client import Trouble
from bench.flaky.servers import Site

SIZE = 300_000  # bytes that a client sends before it is cut
_REST = 100_000  # bytes that nobody has sent when the last cut is over
_CONFLICT, _BUSY = 409, 423


@dataclass
class Case:
    """One upload that is cut in one way, always after the same time."""

    cut: Cut
    wait: float  # seconds between the last byte and the cut
    sent: int = 0  # bytes that the kernel took
    reached: int = 0  # less those that a reset has destroyed in the client's own kernel
    kept: int = 0  # the offset after the last cut
    asked: list[float] = field(default_factory=list)  # seconds of each HEAD
    refused: dict[int, int] = field(default_factory=dict)  # statuses of PATCHes and HEADs that a client repeats
    trouble: str | None = None

    @property
    def share(self) -> float:
        """What was kept of what reached the server."""
        return min(self.kept / self.reached, 1) if self.reached else 0


def cut_all(site: Site, source: Path, waits: Sequence[float], rounds: int) -> list[Case]:
    """One client for each way of being cut and each wait, side by side."""
    cases = [Case(cut, wait) for wait in waits for cut in CUTS]
    with ThreadPoolExecutor(len(cases)) as pool, Content(source) as content:
        done = [
            pool.submit(_run, case, site, content, phase_of(number), rounds)  #
            for number, case in enumerate(cases)
        ]
        for future in done:
            future.result()
    return cases


def _run(case: Case, site: Site, content: Content, phase: int, rounds: int) -> None:
    silent: list[Connection] = []
    try:
        _be_cut(case, Client(site), content, phase, rounds, silent)
    except (Trouble, OSError) as error:
        case.trouble = str(error)
    finally:
        for connection in silent:
            connection.reset()


def _be_cut(case: Case, client: Client, content: Content, phase: int, rounds: int, silent: list[Connection]) -> None:
    length = rounds * SIZE + _REST
    path = client.create(length)
    for _ in range(rounds):
        connection = Connection(client.site)
        connection.start_patch(path, case.kept, length - case.kept)
        sent = connection.send(content.at(phase + case.kept, min(SIZE, length - case.kept)))
        if connection.is_answered(case.wait):
            _note(case, connection)
        case.sent += sent
        case.reached += connection.reached(sent) if case.cut == "RST" else sent
        if case.cut == "half-open":
            silent.append(connection)
        else:
            connection.reset() if case.cut == "RST" else connection.close()
        told = client.ask(path)
        case.asked.append(told.seconds)
        if told.busy:
            case.refused[_BUSY] = case.refused.get(_BUSY, 0) + told.busy
        if told.offset < case.kept:
            raise Trouble(f"the offset went back from {case.kept} to {told.offset}")
        case.kept = told.offset
    _finish(client, path, content, phase, length)


def _note(case: Case, connection: Connection) -> None:
    """An answer before the cut: refused, because the client was told an offset that was not true for long."""
    try:
        status = connection.answer().status
    except Trouble:  # closed without a word
        status = 0
    case.refused[status] = case.refused.get(status, 0) + 1


def _finish(client: Client, path: str, content: Content, phase: int, length: int) -> None:
    """Send the rest, and look at what is stored then."""
    for _ in range(10):
        offset = client.ask(path).offset
        if offset == length:
            break
        connection = Connection(client.site)
        connection.start_patch(path, offset, length - offset)
        connection.send(content.at(phase + offset, length - offset))
        try:
            status = connection.answer().status
        except Trouble:
            continue
        finally:
            connection.close()
        if status not in (204, _CONFLICT, _BUSY):
            raise Trouble(f"the last PATCH was answered with {status}")
    else:
        raise Trouble("the upload does not end")
    if client.site.content(name_of(path)) != content.at(phase, length):
        raise Trouble("the stored file is not what was sent")


# --- what can be kept at all: a bare loop that reads as fast as it can, and counts ---


def _read(listener: socket.socket, connections: int) -> int:
    """Take connections, one after the other, and count what they bring before they end."""
    total = 0
    for _ in range(connections):
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            while data := connection.recv(65536):
                total += len(data)
    return total


def bare(waits: Sequence[float], rounds: int) -> list[Case]:
    """The same cuts, of bytes without HTTP."""
    cases = [Case(cut, wait) for wait in waits for cut in CUTS]
    with ThreadPoolExecutor(len(cases)) as pool:
        for future in [pool.submit(_count, case, rounds) for case in cases]:
            future.result()
    return cases


def _count(case: Case, rounds: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as reader:
        counted = reader.submit(_read, listener, rounds)
        for _ in range(rounds):
            connection = Connection(Site(listener.getsockname()[1], "/", Path()))
            sent = connection.send(bytes(SIZE))
            connection.is_answered(case.wait)
            case.sent += sent
            case.reached += connection.reached(sent) if case.cut == "RST" else sent
            connection.reset() if case.cut == "RST" else connection.close()
        case.kept = counted.result()

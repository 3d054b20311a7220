"""A process of a history: it acts on one upload as it is told, and writes down what it did, when, and what came of it.

Each order is answered when it is done. What is done is also written to a file line by line, before
and after each act, so that nothing is lost if the process is killed.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import Upload
from flask_resumable.core.upload import Write
from flask_resumable.errors import BodyIncomplete
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import OffsetMismatch
from flask_resumable.errors import Unavailable
from flask_resumable.errors import UploadLocked
from flask_resumable.interfaces import Claim
from flask_resumable.service.uploads import UploadService
from flask_resumable.storage.local import LocalStorage
from flask_resumable.testing.samples import an_upload
from flask_resumable.testing.samples import NOW
from tests.bodies import NoHooks
from tests.bodies import PlainBody

from .app import open_repository
from .clock import Clock
from .mutants import make_mistake
from .specifications import LOCKED
from .specifications import LOST
from .specifications import NOTHING

LEASE = 0.05  # seconds; 15 times that while content comes in
LENGTH = 1000  # bytes; more than a history sends, so that the upload stays open
ACTS = {"records": 12, "requests": 6}  # of each process in a history
_AHEAD = (0, 0, 20_000, -20_000, 100_000)  # milliseconds by which a process's time is off
_LASTS = 30_000  # milliseconds that a claim is valid
_LONG_AGO = NOW - timedelta(days=300)  # before every clock


class Journal:
    """What was done, in lines of a file."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._count = 0

    def begin(self, act: str, *arguments: Any) -> int:
        """Write down what is about to be done."""
        self._count += 1
        self._write(self._count, act, arguments)
        return self._count

    def end(self, number: int, result: Any) -> None:
        """Write down what came of it."""
        self._write(number, "end", result)

    def _write(self, *line: Any) -> None:
        os.write(self._file, (json.dumps([*line, time.monotonic_ns()]) + "\n").encode())


class Records:
    """Acts on a record through the repository, with a clock that jumps."""

    def __init__(self, repository: Any, journal: Journal) -> None:
        self._repository = repository
        self._journal = journal

    def play(self, upload_id: str, chance: random.Random, process: int) -> None:
        """Act a few times."""
        repository, known = self._repository, self._repository.get(upload_id)
        held: list[tuple[Upload, Claim]] = []
        for _ in range(ACTS["records"]):
            now = 1000 + chance.choice(_AHEAD)
            until = now + chance.choice((_LASTS, 0))
            act = chance.choice(("get", "claim", "claim", "take", "claim_free", "amend", "save_progress"))
            if held and chance.random() < 0.6:
                act = chance.choice(("save", "save", "save", "renew", "release"))
                upload, claim = chance.choice(held[-2:])
            match act:
                case "get":
                    with self._noting("get") as note:
                        known = repository.get(upload_id)
                        note(told(known))
                case "claim" | "take":
                    over = known.fence if act == "take" else None
                    wants = {"known": known} if chance.random() < 0.5 else {}
                    with self._noting("claim", now, until, over) as note:
                        made = repository.claim(
                            upload_id, now=at(now), until=at(until), over=over, by=f"process {process}", **wants
                        )
                        held.append(made)
                        note([made[0].offset, made[1].fence])
                case "claim_free":
                    with self._noting("claim_free", now, until) as note:
                        made = repository.claim_free(upload_id, owner=None, now=at(now), until=at(until))
                        if made is not None:
                            held.append(made)
                        note(NOTHING if made is None else [made[0].offset, made[1].fence])
                case "save":
                    more = upload.offset + chance.randrange(1, 9)
                    ends = chance.choice((None, until))
                    with self._noting("save", claim.fence, more, ends) as note:
                        upload = replace(upload, received=ByteRanges.prefix(more))
                        repository.save(upload, claim, until=None if ends is None else at(ends))
                        note(None)
                case "renew":
                    with self._noting("renew", claim.fence, until) as note:
                        repository.renew(claim, until=at(until))
                        note(None)
                case "release":
                    with self._noting("release", claim.fence) as note:
                        repository.release(claim)
                        note(None)
                case "save_progress":
                    more = known.offset + chance.randrange(1, 9)
                    with self._noting("save_progress", known.version, more) as note:
                        note(repository.save_progress(replace(known, received=ByteRanges.prefix(more))))
                case "amend":
                    wants = {"known": known} if chance.random() < 0.5 else {}
                    with self._noting("amend", now) as note:
                        note(repository.amend(upload_id, one_more, now=at(now), **wants).offset)

    @contextmanager
    def _noting(self, act: str, *arguments: Any) -> Iterator[Callable[[Any], None]]:
        number = self._journal.begin(act, *arguments)
        try:
            yield lambda result: self._journal.end(number, result)
        except UploadLocked:
            self._journal.end(number, LOCKED)
        except ClaimLost:
            self._journal.end(number, LOST)


def at(milliseconds: int) -> datetime:
    """A time of the records."""
    return NOW + timedelta(milliseconds=milliseconds)


def told(upload: Upload) -> list[int | None]:
    """A record, as the specification sees it."""
    until = upload.claimed_until
    return [
        upload.offset,
        upload.fence,
        upload.version,
        None if until is None else round((until - NOW).total_seconds() * 1000),
    ]


def one_more(upload: Upload) -> Upload:
    """A change without a claim."""
    return replace(upload, received=ByteRanges.prefix(upload.offset + 1))


class TimedBody(PlainBody):
    """A body whose bytes arrive one after another, at their times.

    :param is_cut: Whether the client is gone after the last of them.
    """

    def __init__(self, content: bytes, size: int, pauses: list[float], *, is_cut: bool) -> None:
        self.size = size
        self._content = content
        self._is_cut = is_cut
        self._due, moment = [], time.monotonic()
        for pause in pauses:
            moment += pause
            self._due.append(moment)
        self._taken = 0
        self._interrupted = threading.Event()

    def wait(self) -> None:
        if self._taken < len(self._due):
            self._interrupted.wait(max(0.001, min(self._due[self._taken] - time.monotonic(), 1)))

    def take(self) -> bytes | None:
        if self._interrupted.is_set():
            return b""
        if self._taken == len(self._content):
            self.is_whole = not self._is_cut
            return b""
        if self._due[self._taken] > time.monotonic():
            return None
        self._taken += 1
        return self._content[self._taken - 1 : self._taken]

    def interrupt(self) -> None:
        self._interrupted.set()


class Requests:
    """Sends and looks through the service, as requests do."""

    def __init__(self, repository: Any, journal: Journal, folder: Path, clock: Clock) -> None:
        self._journal = journal
        self._service = UploadService(
            repository,
            LocalStorage(folder, durability="none"),
            NoHooks(),
            lease=timedelta(seconds=LEASE),
            completed_ttl=timedelta(minutes=5),
            cancelled_ttl=timedelta(minutes=2),
            now=clock,
        )

    def play(self, upload_id: str, chance: random.Random, process: int) -> None:
        """Act a few times."""
        known = 0
        for act in range(ACTS["requests"]):
            if chance.random() < 0.35:
                known = self._look(upload_id, known)
            else:
                known = self._append(upload_id, chance, known, writer_of(process, act))

    def offset(self, upload_id: str) -> int:
        """What the upload has, once all requests are over."""
        while True:
            try:
                return self._service.look(upload_id, owner=None).offset
            except UploadLocked:
                time.sleep(0.01)

    def _look(self, upload_id: str, known: int) -> int:
        number = self._journal.begin("look")
        try:
            known = self._service.look(upload_id, owner=None).offset
        except UploadLocked:
            self._journal.end(number, LOCKED)
        else:
            self._journal.end(number, known)
        return known

    def _append(self, upload_id: str, chance: random.Random, known: int, writer: int) -> int:
        size = chance.randrange(1, 9)
        count = chance.randrange(size) if chance.random() < 0.3 else size
        number = self._journal.begin("append", known, count, writer)
        result: Any
        body = TimedBody(bytes([writer]) * count, size, pauses(chance, count), is_cut=count < size)
        try:
            known = self._service.write(
                upload_id, Write(start=known, size=size), body, owner=None, limits=Limits()
            ).offset
            result = ["whole", known]
        except OffsetMismatch as error:
            known = error.expected
            result = ["mismatch", known]
        except BodyIncomplete as error:
            known = error.offset
            result = ["cut", known]
        except UploadLocked:
            result = ["locked"]
        except (ClaimLost, Unavailable):
            result = ["lost"]
        self._journal.end(number, result)
        return known


def writer_of(process: int, act: int) -> int:
    """The byte that a request sends."""
    return 1 + process * ACTS["requests"] + act


def pauses(chance: random.Random, count: int) -> list[float]:
    """How long to wait for each byte, in seconds; a client may be silent for a while."""
    return [chance.choice((0, 0, 0.005, 0.02)) + (0.4 if chance.random() < 0.03 else 0) for _ in range(count)]


def serve(start: dict[str, Any], orders: Connection) -> None:
    """Obey orders until there are no more."""
    make_mistake(start["mutant"])
    folder, process = Path(start["folder"]), start["process"]
    repository = open_repository(start["uri"])
    journal = folder / f"journal{process}-{os.getpid()}"
    player: Any = Records(repository, Journal(journal))
    if start["layer"] == "requests":
        player = Requests(repository, Journal(journal), folder / "uploads", Clock(folder / f"clock{process}"))
    orders.send(str(journal))
    while True:
        try:
            order = orders.recv()
        except EOFError:
            return
        upload, answer = an_upload(order["upload"], created_at=_LONG_AGO), None
        match order["do"]:
            case "make":
                repository.add(replace(upload, length=order["length"]), until=None)
            case "play":
                time.sleep(max(0, order["at"] / 1e9 - time.monotonic()))
                player.play(upload.id, random.Random(order["seed"]), process)
            case "look":
                answer = player.offset(upload.id)
            case "record":
                answer = told(repository.get(upload.id))
        orders.send(answer)

"""A flow.js client whose user comes back: it tests each chunk, and sends what is missing, as often as it takes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.live.journal import PATIENCE
from tests.live.raw import Answer
from tests.live.raw import Connection

from .client import Sample
from .socket_client import address
from .socket_client import octet
from .socket_client import post

SLOTS = 3  # ``simultaneousUploads``


@dataclass
class ReturningClient:
    """One file in one page; ``ports`` are those of the servers that take turns."""

    ports: Sequence[int]
    file: Sample
    is_retrying: bool = True  # else any answer but 200 to a chunk ends the file, as with flow.js's default

    def run(self, numbers: Sequence[int] = ()) -> dict[str, Any]:
        """All chunks, in this order, some at a time; what the client ends with."""
        with ThreadPoolExecutor(SLOTS) as pool:
            answers = list(pool.map(self.bring, numbers or self.file.numbers))
        assert {answer.status for answer in answers} == {200}, answers
        told = [json.loads(answer.body) for answer in answers]
        return next((answer for answer in told if answer["complete"]), told[-1])

    def bring(self, number: int) -> Answer:
        """One chunk: tested once, and sent until it is there."""
        deadline = time.monotonic() + 2 * PATIENCE
        is_tested = False
        while True:
            with suppress(ConnectionError), Connection(self.ports[number % len(self.ports)]) as connection:
                answer = None
                if not is_tested:
                    is_tested = True  # flow.js takes a test that broke off for a chunk that is missing
                    answer = connection.request("GET", address(self.file, number))
                    if answer.status == 200:
                        return answer
                    assert answer.status in (204, 503), answer
                answer = (octet, post)[number % 2](connection, self.file, number)
                if answer.status == 200 or not self.is_retrying:
                    return answer
                assert answer.status == 503, answer
                assert int(answer.headers["retry-after"]) > 0
            assert time.monotonic() < deadline, f"Chunk {number} is not taken."
            time.sleep(0.1)


def leave_chunks(port: int, prefix: str = "", count: int = 15) -> list[Sample]:
    """Files of three chunks, small ones and such as are placed while they come in, of each of which some were sent."""
    files = []
    for at in range(count):
        chunk = 70_000 if at % 2 else 700
        content = bytes((at + index * 7) % 251 for index in range(3 * chunk + at))
        files.append(Sample(content, chunk, f"{prefix}{at}.bin"))
        with Connection(port) as connection:
            for number in range(1, at % 3 + 1):
                assert octet(connection, files[-1], number).status == 200
    return files


def return_at_once(ports: Sequence[int], files: Sequence[Sample]) -> list[dict[str, Any]]:
    """All chunks of all files in parallel, by a client that takes nothing but 200; what it ends with for each file."""
    with ThreadPoolExecutor(len(files)) as pool:
        return list(pool.map(lambda file: ReturningClient(ports, file, is_retrying=False).run(), files))

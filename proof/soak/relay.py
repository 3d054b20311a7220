"""Stands between the nodes and the object store, and passes requests on as its mood allows.

``python -m proof.soak.relay PORT TARGET`` is a process of its own, because the process of the clients is busy. Each
line on its standard input is a mood, and it ends when that is closed.
"""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
import sys
from contextlib import suppress
from typing import IO

from tests.ports import free_port

MOODS = {
    "open": "everything is passed on",
    "slow": "bytes are passed on slowly",
    "busy": "most requests are told to slow down, with a 503",
    "away": "connections are refused",
    "deaf": "requests are passed on, and most answers are not",
}
SHARE = 0.7  # of the requests that a mood concerns
RATE = 300_000  # bytes a second of each connection when it is slow
BLOCK = 64 * 1024
_HEAD = re.compile(rb"(?:GET|HEAD|PUT|POST|DELETE) /")
_SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
_BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(_SLOW_DOWN), _SLOW_DOWN)


class Relay:
    """The process, as others see it."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "proof.soak.relay", str(self.port), str(target)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._heard()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def be(self, mood: str) -> None:
        """Change the mood."""
        assert mood in MOODS
        stream = self._process.stdin
        assert stream is not None
        stream.write(f"{mood}\n")
        stream.flush()
        self._heard()

    def _heard(self) -> None:
        stream: IO[str] | None = self._process.stdout
        assert stream is not None
        assert stream.readline(), "The relay has ended."

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class _Server:
    def __init__(self, target: int) -> None:
        self.mood = "open"
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a node."""
        with suppress(OSError, asyncio.IncompleteReadError):
            if self.mood != "away" and (first := await reader.read(BLOCK)):
                await self._pass_on(first, reader, writer)
        writer.transport.abort()

    async def _pass_on(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_concerned("busy"):
            writer.write(_BUSY)
            await writer.drain()
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    while await reader.read(BLOCK):  # else the answer would be lost with a reset
                        pass
            return
        answers, requests = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            requests.write(first)
            ways = {
                asyncio.create_task(self._requests(reader, requests)),
                asyncio.create_task(self._answers(answers, writer)),
            }
            _, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in rest:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            requests.transport.abort()

    async def _requests(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while block := await source.read(BLOCK):
            if self.mood == "away" or (_HEAD.match(block) and self._is_concerned("busy")):
                return
            await self._hand_over(block, sink)

    async def _answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while block := await source.read(BLOCK):
            if self.mood == "away" or self._is_concerned("deaf"):
                return
            await self._hand_over(block, sink)

    async def _hand_over(self, block: bytes, sink: asyncio.StreamWriter) -> None:
        if self.mood == "slow":
            await asyncio.sleep(len(block) / RATE)
        sink.write(block)
        await sink.drain()

    def _is_concerned(self, mood: str) -> bool:
        return self.mood == mood and random.random() < SHARE


async def _main(port: int, target: int) -> None:
    server = _Server(target)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", port)
    async with listener:
        print("open", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            server.mood = line.strip()
            print(server.mood, flush=True)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))

"""The network between the pages and the demo's server, which the page can make slow, and break.

What it breaks is broken as it is by a bad network: it resets connections, wherever they are. It also counts what
passes, for nobody else knows: what a browser says that it has sent, it has given to its operating system.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from contextlib import suppress
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.counting import Counts
from demo.counting import Requests

SPEED = 2 * 1024 * 1024  # bytes a second from all pages together, if the network is slow
CUT_EVERY = 1.0  # seconds
_BLOCK = 16 * 1024  # bytes; also what the relay holds back of a connection
_LINGERS = 2.0  # seconds for the client to read the last response of a connection
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Network:
    """How the network is."""

    slow: bool = False
    cuts: bool = False


class Notes:
    """What the processes of one demo tell each other, in files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> dict[str, Any]:
        """A note; an empty one, if there is none."""
        try:
            note: dict[str, Any] = json.loads((self.folder / name).read_text())
        except FileNotFoundError:
            return {}
        return note

    def write(self, name: str, note: dict[str, Any]) -> None:
        draft = self.folder / f"draft-{os.getpid()}"
        draft.write_text(json.dumps(note))
        draft.replace(self.folder / name)  # at once: nobody reads half of it

    @property
    def network(self) -> Network:
        """How the relay makes the network: a good one, until somebody has written."""
        return Network(**self.read("network"))

    @network.setter
    def network(self, network: Network) -> None:
        self.write("network", asdict(network))

    @property
    def passed(self) -> dict[str, int]:
        """How many bytes of content the relay has passed on for each upload, a moment ago."""
        return self.read("passed")


class Relay:
    """A TCP relay.

    :param upstream: Where the server listens.
    """

    def __init__(self, upstream: tuple[str, int], notes: Notes) -> None:
        self._upstream = upstream
        self._notes = notes
        self._network = Network()
        self._counts = Counts()
        self._free_at = 0.0  # when a slow network has passed on everything so far
        self._open: set[asyncio.StreamWriter] = set()

    async def run(self, listener: socket.socket) -> None:
        """Pass on connections until cancelled."""
        # Accepted sockets have it from the listener. What is held here would be lost with a cut.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * _BLOCK)
        async with await asyncio.start_server(self._serve, sock=listener, limit=_BLOCK):
            while True:
                for _ in range(10):
                    self._network = self._notes.network
                    if self._counts:
                        self._notes.write("passed", self._counts)
                    await asyncio.sleep(CUT_EVERY / 10)
                if self._network.cuts:
                    self.cut()

    def cut(self) -> None:
        """Reset every connection, on both sides."""
        for writer in self._open:
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whichever side it is that breaks, the other one learns it; and Ctrl-C ends all connections.
        with suppress(OSError, asyncio.CancelledError):
            try:
                upstream_reader, upstream = await asyncio.open_connection(*self._upstream, limit=_BLOCK)
            except OSError:
                writer.transport.abort()
                return
            upstream.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * _BLOCK)
            self._open |= {writer, upstream}
            try:
                await self._pass(reader, writer, upstream_reader, upstream)
            finally:
                self._open -= {writer, upstream}
                writer.transport.abort()
                upstream.transport.abort()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
    ) -> None:
        up = asyncio.create_task(self._pump(reader, upstream, Requests(self._counts)))
        try:
            await self._pump(upstream_reader, writer)
        finally:
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)
        # The server has closed, perhaps before it has read everything. A reset would take its response away.
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGERS):
                while await reader.read(_BLOCK):
                    pass

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: Requests | None = None
    ) -> None:
        writer.transport.set_write_buffer_limits(high=_BLOCK)
        try:
            while block := await reader.read(_BLOCK):
                if requests is not None:
                    requests.feed(block)
                    if self._network.slow:
                        await self._wait_for_room(len(block))
                writer.write(block)
                await writer.drain()
        finally:
            writer.write_eof()  # after all that came

    async def _wait_for_room(self, size: int) -> None:
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + size / SPEED
        await asyncio.sleep(self._free_at - now)

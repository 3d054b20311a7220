"""A link that dies: a TCP relay on loopback, of limited speed, that breaks all its connections again and again."""

from __future__ import annotations

import asyncio
import fcntl
import random
import re
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Self

_BLOCK = 16 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_NOT_SENT = 0x894B  # SIOCOUTQNSD: bytes that the kernel has taken and not sent yet
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Meter:
    """Takes requests apart as they pass, and counts: methods, and the bytes of PATCHes' bodies."""

    def __init__(self) -> None:
        self.requests: dict[str, int] = {}
        self.content = 0
        self._head = b""
        self._left = 0  # bytes of the body that are still to come
        self._counts = False

    def feed(self, data: bytes) -> None:
        """The next bytes of one connection."""
        while data:
            if self._left:
                body, data = data[: self._left], data[self._left :]
                self._left -= len(body)
                self.content += len(body) if self._counts else 0
                continue
            head, end, rest = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head, data = b"", rest
            method = head.split(b" ", 1)[0].decode("latin-1")
            self.requests[method] = self.requests.get(method, 0) + 1
            length = _LENGTH.search(head)
            self._left = int(length[1]) if length else 0
            self._counts = method == "PATCH"


class Link:
    """Passes on what clients and a server say to one another; in use until the end of a ``with`` block.

    :param rate: Bytes a second from clients to the server.
    :param period: Seconds after which every connection is cut, by FIN or RST as chance will have it.
    """

    def __init__(self, upstream: int, *, rate: float, period: float, seed: int, opaque: bool = False) -> None:
        self.passed = 0  # bytes that reached the server's machine: of PATCHes' bodies; all of them if ``opaque`` (TLS)
        self.requests: dict[str, int] = {}
        self.cuts = 0
        self.port = 0
        self._upstream, self._rate, self._period, self._opaque = upstream, rate, period, opaque
        self._chance = random.Random(seed)
        self._free_at = 0.0  # when the line can take the next bytes
        self._pairs: dict[asyncio.Task[None], tuple[socket.socket, socket.socket, Meter]] = {}
        self._listens = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listens.wait()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join()

    def _run(self) -> None:
        self._main = self._loop.create_task(self._serve())
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._main)
        self._loop.run_until_complete(self._cut("RST"))
        self._loop.close()

    async def _serve(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # hold next to nothing
            listener.setblocking(False)
            self.port = listener.getsockname()[1]
            dying = asyncio.create_task(self._die())
            self._listens.set()
            try:
                while True:
                    client, _ = await self._loop.sock_accept(listener)
                    self._open(client)
            finally:
                dying.cancel()

    def _open(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._upstream))
        except OSError:
            client.close()
            return
        server.setblocking(False)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        meter = Meter()
        task = self._loop.create_task(self._relay(client, server, meter))
        self._pairs[task] = (client, server, meter)

    async def _die(self) -> None:
        while True:
            await asyncio.sleep(self._period)
            self.cuts += 1
            await self._cut(self._chance.choice(("FIN", "RST")))

    async def _cut(self, how: str) -> None:
        """End every connection."""
        pairs, self._pairs = self._pairs, {}
        for task in pairs:
            task.cancel()
        await asyncio.gather(*pairs, return_exceptions=True)
        for client, server, meter in pairs.values():
            lost = struct.unpack("i", fcntl.ioctl(server, _NOT_SENT, b"\0" * 4))[0] if how == "RST" else 0
            self._count(meter, -lost if meter.content or self._opaque else 0)
            for end in (client, server):
                if how == "RST":
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                end.close()

    def _count(self, meter: Meter, more: int = 0) -> None:
        self.passed += meter.content + more
        for method, count in meter.requests.items():
            self.requests[method] = self.requests.get(method, 0) + count

    async def _relay(self, client: socket.socket, server: socket.socket, meter: Meter) -> None:
        up = self._loop.create_task(self._pass_up(client, server, meter))
        down = self._loop.create_task(self._pass_down(server, client))
        try:
            await down
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        # The server has ended the connection; if it were cut, somebody else would close it.
        if self._pairs.pop(asyncio.current_task(), None):  # type: ignore[arg-type]
            self._count(meter)
            client.close()
            server.close()

    async def _pass_up(self, client: socket.socket, server: socket.socket, meter: Meter) -> None:
        """At the line's speed, and not one byte more is counted than was sent."""
        with suppress(OSError):
            while data := await self._loop.sock_recv(client, _BLOCK):
                self._free_at = max(self._free_at, time.monotonic()) + len(data) / self._rate
                if (ahead := self._free_at - time.monotonic()) > 0.002:
                    await asyncio.sleep(ahead)
                while data:
                    try:
                        sent = server.send(data)
                    except BlockingIOError:
                        await self._is_writable(server)
                        continue
                    if self._opaque:
                        self._pass(meter, sent)
                    else:
                        meter.feed(data[:sent])
                    data = data[sent:]
            server.shutdown(socket.SHUT_WR)

    @staticmethod
    def _pass(meter: Meter, size: int) -> None:
        meter.content += size

    async def _is_writable(self, end: socket.socket) -> None:
        ready = self._loop.create_future()
        self._loop.add_writer(end, ready.set_result, None)
        try:
            await ready
        finally:
            self._loop.remove_writer(end)

    async def _pass_down(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := await self._loop.sock_recv(server, _BLOCK):
                await self._loop.sock_sendall(client, data)

"""Clients on slow lines: one process, one epoll, and pieces that are sent on a schedule.

Another process (``python -m bench.slow_client``) sends HEADs and creations beside them, and times the answers. A
request that is late delays those after it, so each is timed from when it was due.
"""

from __future__ import annotations

import heapq
import json
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from bench.client import Answer
from bench.client import parsed
from bench.client import Request
from bench.client import Trouble
from bench.content import Content
from bench.content import phase_of
from bench.units import KIB

_TUS: dict[str, str | int] = {"Tus-Resumable": "1.0.0"}
_BYTES: dict[str, str | int] = {**_TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": 0}
_NAMED = {"Upload-Metadata": "filename YmVuY2g=,filetype YXBwbGljYXRpb24vb2N0ZXQtc3RyZWFt"}  # tuspyserver needs it
_ARRIVING = 0.5  # the part of the time of one upload in which all clients come, one after the other
_AGAIN = 0.05  # seconds after which a full socket is tried again
_PATIENCE = 120.0  # seconds for answers after everything was sent
_BEFORE = 4.0  # seconds until requests beside the clients are timed
_HEADS, _POSTS = 25, 10  # a second, beside the clients


class _Client:
    """One upload: a POST, and a PATCH that is sent in pieces."""

    def __init__(self, number: int, port: int, url: str, size: int, content: Content) -> None:
        self.phase = phase_of(number)
        self._url, self._size, self._content = url, size, content
        self.path = ""
        self._rest = b""  # of the piece that is being sent
        self._sent = 0
        self._answer = b""
        self.socket = connected(port)
        self._rest = Request("POST", url, {**_TUS, **_NAMED, "Upload-Length": size}).head()
        self._push()

    @property
    def has_sent_all(self) -> bool:
        return self._sent == self._size and not self._rest

    def _push(self) -> bool:
        try:
            self._rest = self._rest[self.socket.send(self._rest) :]
        except BlockingIOError:
            pass
        return not self._rest

    def send(self, size: int) -> bool:
        """Send the next piece, or the rest of the last. Return whether all of it was sent."""
        if not self._rest:
            size = min(size, self._size - self._sent)
            self._rest = self._content.at(self.phase + self._sent, size)
            if not self._sent:
                head = Request("PATCH", self.path, _BYTES).head().replace(b"Length: 0", b"Length: %d" % self._size)
                self._rest = head + self._rest
            self._sent += size
        return self._push()

    def read(self) -> bool:
        """Take what has come. Return whether it is an answer."""
        data = self.socket.recv(64 * KIB)
        self._answer += data
        answer = parsed("PATCH" if self.path else "POST", self._answer, is_over=not data)
        if answer is None:
            return False
        if answer.status >= 400 or (self.path and not self.has_sent_all):
            raise Trouble(f"a slow client was answered {answer.status}: {answer.body[:300]!r}")
        self._answer = b""
        if not self.path:
            path = urlsplit(answer.fields["location"]).path
            self.path = path if path.startswith("/") else self._url + path
        return True


def connected(port: int) -> socket.socket:
    """Return a connection that does not wait."""
    made = socket.create_connection(("127.0.0.1", port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setblocking(False)
    return made


def slow(
    port: int, content: Content, *, url: str, clients: int, seconds: int, piece: int, pieces: int, beside: bool
) -> tuple[dict[str, Any], float]:
    """Upload ``pieces`` pieces a second for some seconds, from many clients at once.

    :param beside: Whether to send HEADs and creations at the same time.
    :return: The report, and the seconds that it took.
    """
    report: dict[str, Any] = {"stored": [], "requests": clients * seconds * pieces}
    command = [sys.executable, "-m", "bench.slow_client"]
    prober = None
    if beside:
        prober = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert prober.stdin is not None
        job = {"port": port, "url": url, "seconds": seconds * (1 + _ARRIVING)}
        print(json.dumps(job), file=prober.stdin, flush=True)
    try:
        begun = time.monotonic()
        for client in _driven(port, content, url, clients, seconds, piece, pieces):
            report["stored"].append([client.path.rpartition("/")[2], client.phase, seconds * pieces * piece])
        took = time.monotonic() - begun
        if prober is not None:
            said, _ = prober.communicate(timeout=_PATIENCE)
            report |= json.loads(said)
    finally:
        if prober is not None:
            prober.kill()
            prober.wait()
    return report, took


def _driven(
    port: int, content: Content, url: str, count: int, seconds: int, piece: int, pieces: int
) -> Iterator[_Client]:
    size, every = seconds * pieces * piece, 1 / pieces
    apart = seconds * _ARRIVING / count
    poll = select.epoll()
    begun = time.monotonic()
    # When, which client (-1: one that has not come yet), and how many pieces it has sent.
    due: list[tuple[float, int]] = [(begun + number * apart, number) for number in range(count)]
    clients: dict[int, _Client] = {}
    descriptors: dict[int, int] = {}
    left = count
    heard = time.monotonic()
    while left:
        now = time.monotonic()
        while due and due[0][0] <= now:
            at, number = heapq.heappop(due)
            client = clients.get(number)
            if client is None:
                client = clients[number] = _Client(number, port, url, size, content)
                descriptors[client.socket.fileno()] = number
                poll.register(client.socket, select.EPOLLIN)
            elif not client.send(piece):
                heapq.heappush(due, (now + _AGAIN, number))
            elif not client.has_sent_all:
                heapq.heappush(due, (at + every, number))
            heard = now
        if now - heard > _PATIENCE:
            raise Trouble(f"{left} slow clients were not answered in {_PATIENCE:.0f} s")
        for descriptor, _ in poll.poll(min(1.0, max(0.0, due[0][0] - now)) if due else 1.0):
            number = descriptors[descriptor]
            client = clients[number]
            if not client.read():
                continue
            heard = time.monotonic()
            if client.has_sent_all:
                poll.unregister(client.socket)
                client.socket.close()
                left -= 1
                yield client
            else:
                heapq.heappush(due, (max(heard, begun + number * apart + every), number))


class _Asker:
    """Sends requests of one kind on a connection of its own, each when it is due."""

    def __init__(self, port: int, request: Request, rate: float, start: float, end: float) -> None:
        self._port, self._request, self._rate, self._start, self._end = port, request, rate, start, end
        self._socket: socket.socket | None = None
        self.seconds: list[float] = []

    def ask(self) -> dict[str, str]:
        """Send one, and return the fields of the answer. The connection is kept as long as the server keeps it."""
        while True:
            is_fresh = self._socket is None
            if self._socket is None:
                self._socket = connected(self._port)
                self._socket.settimeout(_PATIENCE)
            try:
                answer = self._answer(self._socket)
            except ConnectionError:
                answer = None
            if answer is None or answer.fields.get("connection", "").lower() == "close":
                self._socket.close()
                self._socket = None
            if answer is not None:
                return answer.fields
            if is_fresh:
                raise Trouble(f"{self._request.method} beside slow clients: no answer")

    def _answer(self, sock: socket.socket) -> Answer | None:
        """Return the answer, or ``None`` if the server had closed the connection."""
        sock.sendall(self._request.head())
        data = b""
        while True:
            more = sock.recv(64 * KIB)
            data += more
            if not data:
                return None
            answer = parsed(self._request.method, data, is_over=not more)
            if answer is not None:
                if answer.status >= 400:
                    raise Trouble(f"{self._request.method} beside slow clients: {answer.status}")
                return answer

    def run(self) -> None:
        """Ask until the end, at least once."""
        due = self._start
        while not self.seconds or due < self._end:
            time.sleep(max(0.0, due - time.monotonic()))
            self.ask()
            self.seconds.append(time.monotonic() - due)
            due += 1 / self._rate


def main() -> None:
    """Ask beside the clients, and print how long the answers took."""
    job = json.loads(sys.stdin.readline())
    begun = time.monotonic()
    start, end = begun + min(_BEFORE, job["seconds"] * 0.6), begun + job["seconds"]
    creation = Request("POST", job["url"], {**_TUS, **_NAMED, "Upload-Length": 100})
    posts = _Asker(job["port"], creation, _POSTS, start, end)
    path = urlsplit(posts.ask()["location"]).path
    path = path if path.startswith("/") else job["url"] + path
    heads = _Asker(job["port"], Request("HEAD", path, dict(_TUS)), _HEADS, start, end)
    threads = [threading.Thread(target=asker.run) for asker in (posts, heads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"HEAD": heads.seconds, "POST": posts.seconds}))


if __name__ == "__main__":
    main()

"""A network between browser and server that passes as many bytes as it is told to, and breaks when it is told to."""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import suppress
from typing import Self

_REQUEST = re.compile(rb"([A-Z]+ /\S*) HTTP/1")
_CONTENT = re.compile(rb"PATCH |(POST|PUT) /flow/")  # requests that bring bytes of files
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """A TCP proxy. Only content is held back; the page may always ask questions."""

    def __init__(self, upstream: int) -> None:
        self._upstream = ("127.0.0.1", upstream)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # hold next to nothing
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[str] = []  # methods and addresses, in the order in which they came
        self._budget: int | None = None  # bytes of content that may still pass; None: all
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._frozen: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def let(self, budget: int | None) -> None:
        """Let this many bytes of content through, then hold the rest; ``None``: hold nothing."""
        with self._changed:
            self._budget = budget
            self._changed.notify_all()

    def count(self, request: str) -> int:
        """How many requests have come that begin like this."""
        return sum(line.startswith(request) for line in self.requests)

    def freeze(self) -> None:
        """Pass no more of the content that is on its way now: its network has gone without a word."""
        with self._changed:
            self._frozen |= self._open

    def cut(self) -> None:
        """Reset every connection."""
        with self._changed:
            for connection in self._open:
                with suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._end(*self._open)

    def _end(self, *connections: socket.socket) -> None:
        """Have the threads of these connections close them. Call with the lock held."""
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.difference_update(connections)
        self._changed.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._run(self._serve, client)

    def _run(self, work: object, *args: socket.socket) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._upstream)
        except OSError:  # nobody there: the browser learns it at once
            client.close()
            return
        with client, server:
            with self._changed:
                self._open |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
            back.start()
            self._pump(client, server, True)
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket, is_upwards: bool) -> None:
        is_held = False
        with suppress(OSError):
            while data := source.recv(16 * 1024):
                if is_upwards and (found := _REQUEST.match(data)):
                    is_held = _CONTENT.match(found[1]) is not None
                    self.requests.append(found[1].decode())
                while data:
                    allowed = self._take(len(data), source) if is_held else len(data)
                    target.sendall(data[:allowed])
                    data = data[allowed:]
        # One direction over is the whole over: neither a browser nor gunicorn closes only its half.
        with self._changed:
            self._end(source, target)

    def _take(self, wanted: int, source: socket.socket) -> int:
        with self._changed:
            self._changed.wait_for(
                lambda: source not in self._open or (self._budget != 0 and source not in self._frozen)
            )
            if source not in self._open:
                raise ConnectionResetError
            if self._budget is None:
                return wanted
            taken = min(wanted, self._budget)
            self._budget -= taken
            return taken

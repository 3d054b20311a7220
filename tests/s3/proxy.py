"""What stands between the app and the store: it lets through, refuses, or says that there is too much to do."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from tests.ports import free_port

SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
BLOCK = 256 * 1024


class Proxy:
    """Forwards connections to a port, byte for byte."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.is_open = True
        self.throttled = 0  # requests that are still to be told to slow down
        self.refused = 0
        self._target = port
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Let nobody in any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            with self._lock:
                is_throttled = self.throttled > 0
                self.throttled -= is_throttled
                self.refused += is_throttled or not self.is_open
            if is_throttled:
                return self._slow_down(client)
            if self.is_open:
                with socket.create_connection(("127.0.0.1", self._target)) as server:
                    threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
                    self._pump(client, server)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while (block := source.recv(BLOCK)) and self.is_open:
                target.sendall(block)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _slow_down(self, client: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(BLOCK)
        answer = f"HTTP/1.1 503 Slow Down\r\nContent-Length: {len(SLOW_DOWN)}\r\nConnection: close\r\n\r\n"
        client.sendall(answer.encode() + SLOW_DOWN)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(1)
        while client.recv(BLOCK):  # else the answer would be lost with a reset
            pass

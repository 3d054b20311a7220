"""Reads bodies under gunicorn with TLS, record by record, and never bypassing the TLS layer.

If an ``SSLSocket`` is shut down or its descriptor is read, it returns bytes that anybody on the network may have
written.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from .gunicorn import give_up
from .gunicorn import take_ahead
from .sources import Ahead
from .sources import BLOCK_SIZE
from .sources import NetworkError
from .sources import READ_SIZE
from .sources import ReadsAhead
from .sources import TICK


class GunicornRecords(ReadsAhead):
    """Reads a body with Content-Length. The thread that may use the connection reads each record as it arrives."""

    def __init__(self, reader: Any, sock: socket.socket) -> None:
        self._reader = reader
        self._socket = sock
        self._timeout = sock.gettimeout()
        self._ahead = Ahead()
        sock.settimeout(TICK)

    def wait(self) -> None:
        if self._ahead:
            return
        if block := take_ahead(self._reader, self._reader.length):
            self._ahead.put(block)
            return
        self._receive()

    def read_arrived(self) -> None:
        if block := take_ahead(self._reader, self._reader.length):
            self._ahead.put(block)
        if self._reader.length:
            self._socket.settimeout(0)
            self._receive()

    def _receive(self) -> None:
        """Read several records if they are there. Wait for the first one only if the connection has a timeout."""
        try:
            found = more = self._read()
            self._socket.settimeout(0)
            while more and found < READ_SIZE and self._reader.length:
                more = self._read()  # 0 if the connection has ended
                found += more
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            pass  # part of a record stays in the TLS layer until the rest arrives
        except NetworkError as error:
            self.abandon()
            self._ahead.fail(error)
        finally:
            self._socket.settimeout(TICK)

    def _read(self) -> int:
        block = self._socket.recv(min(self._reader.length, BLOCK_SIZE))
        self._reader.length -= len(block)
        self._ahead.put(block)
        return len(block)

    def interrupt(self) -> bool:
        """Do nothing: a connection cannot be shut down without leaving TLS. But it is never waited for very long."""
        return True

    def abandon(self) -> None:
        give_up(self._reader.unreader)

    def close(self) -> None:
        self._socket.settimeout(self._timeout)

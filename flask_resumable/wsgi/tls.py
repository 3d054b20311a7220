"""The bytes of a request under gunicorn, where it ends TLS: record by record, and never past the TLS layer.

An ``SSLSocket`` that is shut down, or whose descriptor is read, hands out what anybody on the way has written there.
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
    """A body with Content-Length. Each record is read as it comes, by the one thread that may use the connection."""

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
        try:
            found = more = self._read()
            self._socket.settimeout(0)
            while more and found < READ_SIZE and self._reader.length:
                more = self._read()  # nothing: the connection has ended
                found += more
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            pass  # a part of a record stays in the TLS layer until the rest of it comes
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

    def interrupt(self) -> None:
        """The connection cannot be told to end without leaving TLS."""

    def abandon(self) -> None:
        give_up(self._reader.unreader, self._socket)

    def close(self) -> None:
        self._socket.settimeout(self._timeout)

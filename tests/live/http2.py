"""A tus client on one connection of HTTP/2: several requests at once, cut and reset as the test decides."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated
from h2.events import DataReceived
from h2.events import Event
from h2.events import ResponseReceived
from h2.events import StreamEnded
from h2.events import StreamReset

from .journal import PATIENCE
from .raw import Answer
from .raw import OCTETS
from .tls import Certificate


class Http2:
    """One connection; leaving a ``with`` block closes it. ``certificate`` is that of a server that speaks TLS."""

    def __init__(self, port: int, certificate: Certificate | None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if certificate is not None:
            context = ssl.create_default_context(cafile=str(certificate.certificate))
            context.set_alpn_protocols(["h2"])
            wrapped = context.wrap_socket(self.socket, server_hostname="localhost")
            assert wrapped.selected_alpn_protocol() == "h2"
            self.socket = wrapped
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._connection.initiate_connection()
        self._heads: dict[int, dict[str, str]] = {}
        self._bodies: dict[int, bytes] = {}
        self._ended: set[int] = set()
        self._flush()

    def __enter__(self) -> Http2:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def start(self, method: str, path: str, headers: Mapping[str, str | int], *, ends: bool = False) -> int:
        """Send the head of a request; its stream."""
        stream = self._connection.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", "https"), (":authority", "localhost")]
        fields = {"tus-resumable": "1.0.0", **headers}
        self._connection.send_headers(stream, [*pseudo, *((n.lower(), str(v)) for n, v in fields.items())], ends)
        self._flush()
        return stream

    def start_patch(self, path: str, offset: int, headers: Mapping[str, str | int] | None = None) -> int:
        """Send the head of a PATCH; without further headers, nothing says how long it is."""
        return self.start("PATCH", path, {"Content-Type": OCTETS, "Upload-Offset": offset, **(headers or {})})

    def send(self, stream: int, data: bytes, *, ends: bool = True) -> None:
        """Send content as fast as the server takes it."""
        while data:
            room = min(
                self._connection.local_flow_control_window(stream), self._connection.max_outbound_frame_size, len(data)
            )
            if not room:
                self._receive()
                continue
            self._connection.send_data(stream, data[:room])
            self._flush()
            data = data[room:]
        if ends:
            self._connection.end_stream(stream)
            self._flush()

    def reset(self, stream: int) -> None:
        """Cancel one request."""
        self._connection.reset_stream(stream, ErrorCodes.CANCEL)
        self._flush()

    def answer(self, stream: int) -> Answer:
        """Wait for the answer to one request."""
        while stream not in self._ended:
            self._receive()
        head = self._heads[stream]
        return Answer(int(head[":status"]), head, self._bodies.get(stream, b""))

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError("The server has closed the connection.")
        for event in self._connection.receive_data(data):
            self._take(event)
        self._flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            self._heads[event.stream_id] = {str(name): str(value) for name, value in event.headers}
        elif isinstance(event, DataReceived):
            self._bodies[event.stream_id] = self._bodies.get(event.stream_id, b"") + event.data
            self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self._ended.add(event.stream_id)
        elif isinstance(event, StreamReset | ConnectionTerminated):
            raise ConnectionResetError(repr(event))

    def _flush(self) -> None:
        self.socket.sendall(self._connection.data_to_send())

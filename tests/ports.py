"""Ports for the servers that tests start, so that no server ever answers in the place of another."""

from __future__ import annotations

import random
import socket

PORTS = range(10_000, 32_000)  # below those that the kernel gives to outgoing connections

_reserved: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody listens on, and that no other process of tests gets for as long as this one lives.

    It stays ours while a server is down: otherwise a test that kills its server could go on with another test's.
    """
    for port in random.sample(PORTS, len(PORTS)):
        # A name in Linux's abstract namespace goes away with the process, however that ends.
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0flask-resumable-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            reservation.close()
            continue
        _reserved.append(reservation)
        return port
    raise RuntimeError(f"No port between {PORTS.start} and {PORTS.stop} is free.")

"""Clients that send a byte now and then, for as long as they are let."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from .conftest import Serve

pytestmark = pytest.mark.live

DRIPPING = 200


def test_dripping_clients_keep_nobody_out_under_gevent(serve: Serve) -> None:
    """Under gthread each of them takes a thread; under gevent, others upload as if they were not there."""
    server = serve("gevent")
    with ExitStack() as stack:
        paths = [server.tus.create(1000) for _ in range(DRIPPING)]
        connections = []
        for path in paths:
            connection = stack.enter_context(server.tus.connect())
            connections.append(connection)
            connection.start_patch(path, 0, {"Content-Length": 1000}, body=b"x")
        for _ in range(3):
            for connection in connections:
                connection.send(b"x")
            path = server.tus.create(5)
            assert server.tus.patch(path, 0, b"hello").status == 204
            assert server.finished(path).read_bytes() == b"hello"
        assert all(connection.is_silent() for connection in connections)
    assert server.tus.offset(paths[0]) == 4

"""The content of a request, without a server."""

from __future__ import annotations

import io
import threading
import time
from datetime import timedelta

import pytest

from flask_resumable.wsgi.body import RequestBody
from flask_resumable.wsgi.body import TURN


def test_a_fast_client_lets_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a worker of greenlets, whose sleep is no builtin, somebody else gets a chance after every few MiB."""
    naps: list[float] = []
    sleep, ours = time.sleep, threading.get_ident()
    monkeypatch.setattr(
        time, "sleep", lambda seconds: naps.append(seconds) if threading.get_ident() == ours else sleep(seconds)
    )
    body = RequestBody(
        {"wsgi.input": io.BytesIO(b"x" * (3 * TURN + 1)), "CONTENT_LENGTH": str(3 * TURN + 1)}, timedelta(seconds=9)
    )
    assert sum(len(block) for block in body.blocks(2**63)) == 3 * TURN + 1
    assert len(naps) == 3
    assert min(naps) > 0  # with 0, gevent does not look at its sockets

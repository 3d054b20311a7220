"""Waiting for a connection in gevent's way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import gevent
import pytest

from flask_resumable.wsgi.gevent import GreenletReadiness

LONG = 60.0  # seconds; nothing here waits for as long as that


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's end of a connection, and the server's."""
    client, server = socket.socketpair()
    with client, server:
        yield client, server


def waiting(readiness: GreenletReadiness, times: int = 1) -> gevent.Greenlet:
    """Return a greenlet that waits, and has begun to."""

    def wait() -> None:
        for _ in range(times):
            readiness.wait()

    greenlet = gevent.spawn(wait)
    gevent.idle()
    assert not greenlet.ready()
    return greenlet


def test_a_greenlet_waits_for_data_again_and_again(ends: tuple[socket.socket, socket.socket]) -> None:
    """Each wait ends when something is there, and the next one begins anew when it was taken."""
    client, server = ends
    readiness = GreenletReadiness(server, LONG)
    received: list[bytes] = []

    def receive() -> None:
        while len(received) < 3:
            readiness.wait()
            received.append(server.recv(100))

    greenlet = gevent.spawn(receive)
    for number in range(3):
        gevent.sleep(0.01)
        assert len(received) == number
        client.send(b"%d" % number)
    greenlet.get(timeout=LONG)
    readiness.close()
    assert received == [b"0", b"1", b"2"]


def test_the_end_of_a_connection_ends_the_wait(ends: tuple[socket.socket, socket.socket]) -> None:
    """A client that disconnects is noticed at once, like content."""
    client, server = ends
    readiness = GreenletReadiness(server, LONG)
    greenlet = waiting(readiness)
    client.close()
    greenlet.get(timeout=LONG)
    readiness.close()


def test_a_wait_ends_after_its_time(ends: tuple[socket.socket, socket.socket]) -> None:
    """Each greenlet has a time of its own, so that a request can look around although nothing arrives."""
    _, server = ends
    readiness, other = GreenletReadiness(server, 0.01), GreenletReadiness(server, LONG)
    greenlet = waiting(other)
    waiting(readiness, times=2).get(timeout=LONG)
    assert not greenlet.ready()
    greenlet.kill()
    readiness.close()
    other.close()


def test_others_can_end_the_wait(ends: tuple[socket.socket, socket.socket]) -> None:
    """From a greenlet, and from a thread of the operating system."""
    _, server = ends
    readiness = GreenletReadiness(server, LONG)
    greenlet = waiting(readiness)
    readiness.wake()
    greenlet.get(timeout=LONG)
    greenlet = waiting(readiness)
    threading.Thread(target=readiness.wake).start()
    greenlet.get(timeout=LONG)
    readiness.close()


def test_a_greenlet_that_waits_elsewhere_is_left_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    """What arrives in the meantime does not wake it, nor keep the loop busy, and ends its next wait at once."""
    client, server = ends
    readiness = GreenletReadiness(server, LONG)
    waiting(readiness).kill()
    client.send(b"x")
    iterations = 0
    hub = gevent.get_hub()
    watcher = hub.loop.prepare()

    def count() -> None:
        nonlocal iterations
        iterations += 1

    watcher.start(count)
    gevent.sleep(0.1)
    watcher.stop()
    watcher.close()
    assert iterations < 20
    greenlet = gevent.spawn(readiness.wait)
    greenlet.get(timeout=LONG)
    readiness.wake()
    gevent.idle()
    readiness.close()


def test_nothing_is_left_after_the_last(ends: tuple[socket.socket, socket.socket]) -> None:
    """The timer runs only while there is somebody to wake."""
    _, server = ends
    hub = gevent.get_hub()
    gevent.idle()
    before = hub.loop.activecnt
    first, second = GreenletReadiness(server, LONG), GreenletReadiness(server, LONG)
    waiting(first).kill()
    first.close()
    assert hub.loop.activecnt > before
    second.close()
    assert hub.loop.activecnt == before

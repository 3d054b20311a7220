"""Interim answers: sent by servers that hand out their connection, and by no others."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

from .conftest import require_server
from .servers import Server
from .tls import Certificate

pytestmark = pytest.mark.live


class InterimServer(Server):
    """``live.interim_app`` on a server."""

    app = "live.interim_app:create_app"


Start = Callable[..., InterimServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the app under a server."""
    running: list[InterimServer] = []

    def start(kind: str, **wishes: Any) -> InterimServer:
        require_server(kind)
        running.append(InterimServer(kind, tmp_path, **wishes))
        running[-1].start()
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.mark.parametrize("kind", ["werkzeug", "gthread", "gevent", "sync", "uwsgi"])
def test_interim_answers_come_before_the_final_one(start: Start, kind: str) -> None:
    """In order, around the body, and the connection goes on."""
    with start(kind).tus.connect() as connection:
        connection.start("POST", "/", {"Content-Length": 5})
        assert connection.interim() == 104
        connection.send(b"abcde")
        answer = connection.answer("POST")
        assert (answer.interim, answer.status, answer.body) == ((104,), 200, b"True True 5")
        if kind == "gthread":
            assert connection.request("GET", "/").body == b"True True 0"


@pytest.mark.parametrize("kind", ["granian", "waitress"])
def test_servers_that_keep_the_connection_to_themselves_send_none(start: Start, kind: str) -> None:
    """Nothing is written into a connection that nobody has handed out."""
    answer = start(kind).tus.request("POST", "/", {"Content-Length": 5}, b"abcde")
    assert (answer.interim, answer.body) == ((), b"False False 5")


def test_uwsgi_sends_none_if_it_has_another_socket(start: Start) -> None:
    """A request does not show whether it came over that one, where a web server would take them for final."""
    server = start("uwsgi", options=("--socket", f"127.0.0.1:{free_port()}"))
    answer = server.tus.request("POST", "/", {"Content-Length": 5}, b"abcde")
    assert (answer.interim, answer.body) == ((), b"False False 5")


@pytest.mark.parametrize("kind", ["werkzeug", "gthread"])
def test_nothing_is_sent_beside_tls(start: Start, kind: str, certificate: Certificate) -> None:
    """There, what is written past the TLS layer would break the connection."""
    server = start(kind, certificate=certificate)
    answer = server.tus.request("POST", "/", {"Content-Length": 5}, b"abcde")
    assert (answer.interim, answer.body) == ((), b"False False 5")


def test_old_clients_get_none(start: Start) -> None:
    """HTTP/1.0 knows no interim answers."""
    with start("gthread").tus.connect() as connection:
        connection.send(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n")
        answer = connection.answer("GET")
        assert (answer.interim, answer.body) == ((), b"False False 0")

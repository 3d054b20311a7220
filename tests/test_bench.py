"""The benchmark works: small runs of it, with no look at the figures."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.content import Content
from bench.content import make
from bench.content import PERIOD
from bench.flaky.cuts import bare
from bench.flaky.relay import Link
from bench.flaky.relay import Meter
from bench.goals import held
from bench.kinds import kind
from bench.runs import wrong_rows
from bench.summary import summary

ROOT = Path(__file__).parents[1]


def _bench(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "--tiny", *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.live
def test_a_tiny_run_makes_a_table_and_a_picture(tmp_path: Path) -> None:
    """Uploads, HEADs and flow.js chunks to our server: figures, a page, a picture, and nothing left behind."""
    page = tmp_path / "docs" / "performance.md"
    page.parent.mkdir()
    page.write_text("Before.\n<!-- bench -->\nold\n<!-- /bench -->\nAfter.\n")
    scenarios = [argument for name in ("small", "slow", "flow", "concat") for argument in ("--only", name)]
    done = _bench(*scenarios, "--server", "gthread", "--data", str(tmp_path / "data"), "--write", str(page.parent))
    assert done.returncode == 0, done.stderr
    for title in ("Uploads of 10 KiB", "500 clients", "flow.js: forms", "Concatenation of 8 parts"):
        assert re.search(rf"### {title}.*\n\n\|.*\|\n\|[-|]+\|\n\|.*\d.*\|\n", done.stdout), done.stdout
    text = page.read_text()
    assert text.startswith("Before.\n<!-- bench -->\n") and text.endswith("<!-- /bench -->\nAfter.\n")
    assert done.stdout.strip() in text and "old" not in text
    assert ElementTree.parse(page.parent / "performance.svg").getroot().tag.endswith("svg")
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.live
@pytest.mark.thorough
def test_a_tiny_run_of_the_app_with_a_database_of_its_own(tmp_path: Path) -> None:
    """Uploads with a row each, each kind of request, empty views, many records, and what has expired."""
    scenarios = {
        "told": "Uploads of 10 KiB, and a row for each",
        "own": "Each kind of request",
        "floor": "HEADs and 10 KiB uploads .*, beside empty Flask views",
        "chunks": "Growth: cost of a chunk",
        "records": "Growth: HEAD and 10 KiB uploads",
        "clean": "flask tus delete_expired",
    }
    only = [argument for name in scenarios for argument in ("--only", name)]
    done = _bench(*only, "--server", "gevent-x2-sqlite-rows", "--data", str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    for title in scenarios.values():
        assert re.search(rf"### {title}.*\n\n\|.*\|\n\|[-|]+\|\n\|.*\d.*\|\n", done.stdout), done.stdout
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.live
@pytest.mark.parametrize(
    ("scenarios", "servers"),
    [
        (["told"], ["tusd-sqlite-rows", "node-sqlite-rows"]),
        pytest.param(
            ["told-postgresql", "own", "records", "clean"], ["gevent-postgresql-rows"], marks=pytest.mark.thorough
        ),
        pytest.param(["records"], ["gevent-mariadb"], marks=pytest.mark.thorough),
        pytest.param(["s3", "s3-8"], ["tusd-s3", "boto3", "gevent-s3"], marks=pytest.mark.thorough),
    ],
)
def test_a_tiny_run_with_what_this_machine_has(tmp_path: Path, scenarios: list[str], servers: list[str]) -> None:
    """Other servers, databases and stores: each is measured, or left out with a reason."""
    only = [argument for name in scenarios for argument in ("--only", name)]
    which = [argument for name in servers for argument in ("--server", name)]
    done = _bench(*only, *which, "--data", str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    for server in servers:
        is_measured = (
            f"| {kind(server).title} (`{server}`) |" in done.stdout or f"({kind(server).title})" in done.stdout
        )
        assert is_measured != (f"Left out: {kind(server).title} (`{server}`): " in done.stdout), done.stdout
    assert not list((tmp_path / "data").iterdir())


def test_an_upload_without_a_row_is_noticed() -> None:
    """Each upload has one row: neither none nor two, and no row is about another."""
    assert wrong_rows(["a", "b"], ["b", "a"]) is None
    for rows in (["a"], ["a", "b", "b"], ["a", "b", "c"], ["a", "a"], []):
        assert wrong_rows(["a", "b"], rows), rows


@pytest.mark.live
def test_a_server_that_cannot_be_had_is_left_out(tmp_path: Path) -> None:
    """It is named, with the reason, and all is well."""
    done = _bench("--only", "small", "--server", "node", "--data", str(tmp_path), PATH="")
    assert done.returncode == 0
    assert "node is left out: it needs node" in done.stderr
    assert "Left out: @tus/server" in done.stdout


def test_a_wrong_file_is_noticed(tmp_path: Path) -> None:
    """A stored file is compared byte by byte: cut short, with a wrong byte, with a block from elsewhere."""
    make(tmp_path / "content")
    size, phase = 3_000_000, PERIOD - 1_000_000
    with Content(tmp_path / "content") as content:
        right = content.at(phase, size)
        for name, data, is_right in (
            ("right", right, True),
            ("short", right[:-1], False),
            ("wrong byte", right[:-1] + bytes([right[-1] ^ 1]), False),
            ("wrong block", right[1_048_576:2_097_152] + right[1_048_576:], False),
        ):
            (tmp_path / name).write_bytes(data)
            assert (content.differs(tmp_path / name, phase, size) is None) is is_right, name


def test_a_missed_goal_is_bold() -> None:
    """Costs are to be at most, rates at least so many times the others'."""
    big = {
        "c-splice": {"cpu s/GiB": 0.4, "MiB/s": 2000.0, "grown MiB": 0.0},
        "gthread": {"cpu s/GiB": 0.5, "MiB/s": 1000.0, "grown MiB": 3.0},
    }
    rows = {row[0]: row[2] for row in held({"big": big}).rows}
    assert rows["One large PATCH, CPU per byte, beside the C loop"] == "`gthread` 1.25x"
    assert rows["One large PATCH, speed, beside the C loop"] == "`gthread` **0.50x**"
    assert rows["One large PATCH, growth of memory, MiB"] == "`gthread` **3.00**"


def test_the_summary_shows_multiples_of_the_best_other() -> None:
    """Of the lowest cost and of the highest rate; what was not measured is left out."""
    told = {
        "tusd-sqlite-rows": {"cpu ms/upload": 2.0, "uploads/s": 100.0},
        "node-sqlite-rows": {"cpu ms/upload": 4.0, "uploads/s": 200.0},
        "gevent-x2-sqlite-rows": {"cpu ms/upload": 3.0, "uploads/s": 100.0},
    }
    floor = {"gevent": {"HEAD/s, beside an empty view": 0.9}}
    told = {name: {**figures, **{f"one request: {key}": 1.0 for key in figures}} for name, figures in told.items()}
    floor["gevent"]["uploads/s, beside two empty views"] = 0.5
    rows = {str(row[0]): row[1:] for row in summary({"told": told, "floor": floor}).rows}
    cpu = rows["10 KiB uploads with a row each in SQLite, POST + PATCH: CPU"]
    speed = rows["10 KiB uploads with a row each in SQLite, POST + PATCH: speed"]
    assert cpu[:3] == ("-", "1.50x", "-") and "tusd" in str(cpu[3]) and "2.00 cpu ms" in str(cpu[3])
    assert speed[:3] == ("-", "0.50x", "-") and "@tus/server" in str(speed[3])
    assert rows["HEAD: speed"][0] == "0.90x"
    assert "One large PATCH: CPU" not in rows


@pytest.mark.live
def test_connections_are_cut_and_what_was_kept_is_told(tmp_path: Path) -> None:
    """A tiny run of the benchmark of broken links: a page with a row for the server, and nothing left behind."""
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- flaky -->\nold\n<!-- /flaky -->\nAfter.\n")
    (tmp_path / "data").mkdir()
    arguments = ["--tiny", "--servers", "gthread", "--settings", "disk-sqlite", "--parts", "cuts"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.flaky", *arguments, "--data", str(tmp_path / "data"), "--output", str(page)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert re.search(r"\| gunicorn gthread \| disk, SQLite \|.*\d %.*\|", text), text
    assert text.startswith("Before.\n<!-- flaky -->\n") and text.endswith("<!-- /flaky -->\nAfter.\n")
    assert "old" not in text
    assert not list((tmp_path / "data").iterdir())


def test_a_bare_loop_gets_all_that_reached_it() -> None:
    """What the client's kernel has sent can be read, however the connection ends."""
    for case in bare((0, 0.05), 2):
        assert case.share > 0.99, case
        assert case.cut == "RST" or case.kept == case.sent, case


def test_the_link_counts_bodies_however_requests_are_cut_into_pieces() -> None:
    """Two requests on a connection, in pieces of any size: the PATCH's bytes count, those of a POST do not."""
    stream = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\r\n\r\nPATCH /a HTTP/1.1\r\ncontent-length: 6\r\n\r\n123456"
    stream += b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\nPATCH /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n123"
    for size in range(1, len(stream) + 1):
        meter = Meter()
        for start in range(0, len(stream), size):
            meter.feed(stream[start : start + size])
        assert (meter.content, meter.requests) == (9, {"POST": 1, "PATCH": 2, "HEAD": 1}), size


def test_the_link_dies_and_says_how_much_came_out_of_it() -> None:
    """A client that sends again and again through it is cut; the server has what the link has counted."""
    received = 0

    def read(listener: socket.socket) -> None:
        nonlocal received
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(ConnectionResetError):
                    while data := connection.recv(65536):
                        received += len(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader = threading.Thread(target=read, args=(listener,))
        reader.start()
        with Link(listener.getsockname()[1], rate=2e6, period=0.05, seed=4, opaque=True) as link:
            while link.cuts < 4:
                with socket.create_connection(("127.0.0.1", link.port)) as client, suppress(OSError):
                    while True:
                        client.sendall(bytes(10_000))
        listener.shutdown(socket.SHUT_RDWR)
        reader.join()
    assert received and received <= link.passed <= received + 65536, (received, link.passed)

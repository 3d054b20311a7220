"""flow.js chunks: what one costs as their number grows, and how fast they are beside the older Python server.

``growth`` sends 10,000 chunks of one file and compares the last with the first; it fails if they take more than twice
the time of the server's processor. ``compare`` sends files of 1 MiB chunks over three connections, out of order, to
gunicorn and to ``flowjs`` on Tornado in turn. See README.md.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from gunicorn.config import KNOWN_SETTINGS

MIB = 1024 * 1024
TARGET = 2.0  # times the first chunks' time that the last may take
CONNECTIONS = 3  # of a browser, by flow.js's default
ROOT = Path(__file__).resolve().parents[1]
BOUNDARY = b"----bench-boundary"
OURS = """
import os
from flask import Flask
from flask_resumable import FlaskResumable

app = Flask(__name__, instance_path=os.environ["BENCH_HOME"])
app.config["RESUMABLE_DURABILITY"] = os.environ["BENCH_DURABILITY"]
if os.environ.get("BENCH_FOLDER"):
    app.config["FLOW_TEMP_DIR"] = os.environ["BENCH_FOLDER"]
FlaskResumable(app)
"""
OLDER = """
import os, sys
import flowjs, flowjs.requests
import tornado.ioloop, tornado.web

home = os.environ["BENCH_HOME"]

class Upload(tornado.web.RequestHandler):
    def post(self):
        request = flowjs.requests.TornadoRequest(self)
        try:
            flowjs.save(os.path.join(home, request.get_file_name()), flowjs.Config({"tempDir": home}), request)
        except flowjs.BadRequest:
            self.set_status(400)

app = tornado.web.Application([("/flow/", Upload)])
app.listen(int(sys.argv[1]), "127.0.0.1", max_buffer_size=2**30)
tornado.ioloop.IOLoop.current().start()
"""


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["growth", "compare"])
    parser.add_argument("--dir", help="where to put the uploads (default: the folder for temporary files)")
    parser.add_argument("--chunks", type=int, default=10_000, help="growth: how many (default: 10,000)")
    parser.add_argument("--shuffled", action="store_true", help="growth: in no order at all")
    parser.add_argument("--rounds", type=int, default=5, help="compare: how many (default: 5)")
    parser.add_argument("--mib", type=int, default=128, help="compare: size of a file (default: 128)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))  # and stop the servers, too
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        if options.what == "growth":
            return growth(Path(folder), options.chunks, is_shuffled=options.shuffled)
        compare(Path(folder), options.rounds, options.mib)
    return 0


# --- what is measured ---


def growth(home: Path, count: int, *, is_shuffled: bool) -> int:
    """Time per chunk, tenth by tenth."""
    size, content = 64 * 1024, os.urandom(64 * 1024)
    file = File("growth.bin", size, count)
    numbers = list(range(1, count + 1))
    if is_shuffled:
        random.Random(1).shuffle(numbers)
    with ours(home, "data") as server, Client(server.port) as client:
        client.send(File("warm-up.bin", size, 1), 1, content)
        used, took = [], []
        tenth = count // 10
        for first in range(0, tenth * 10, tenth):
            cpu, times = server.cpu(), []
            for number in numbers[first : first + tenth]:
                started = time.perf_counter()
                client.send(file, number, content)
                times.append(time.perf_counter() - started)
            used.append((server.cpu() - cpu) / tenth * 1000)
            took.append(median(times) * 1000)
    print(f"{count} chunks of 64 KiB, {'shuffled' if is_shuffled else 'in order'}; ms per chunk, by tenths:")
    print("CPU   " + "  ".join(f"{value:5.2f}" for value in used))
    print("clock " + "  ".join(f"{value:5.2f}" for value in took))
    ratio = used[-1] / used[0]
    print(f"a chunk of the last tenth costs {ratio:.2f} times as much as one of the first (target: {TARGET:g} at most)")
    return 0 if ratio <= TARGET else 1


def compare(folder: Path, rounds: int, mib: int) -> None:
    """Rounds of each server in turn; medians."""
    kinds = ("older server", "in place", "in place, durable", "chunks folder")
    results: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    python = older_python(folder)
    for number in range(rounds):
        for kind in kinds:
            home = folder / f"{kind}{number}".replace(" ", "-").replace(",", "")
            home.mkdir()
            with older(home, python) if kind == "older server" else ours(home, *MODES[kind]) as server:
                transfer(server.port, f"warm-up{number}.bin", 6)
                before, started = server.cpu(), time.perf_counter()
                transfer(server.port, f"{number}.bin", mib)
                results[kind].append((time.perf_counter() - started, server.cpu() - before))
            for path in home.rglob("*"):
                if path.is_file():
                    path.unlink()
    print(f"{mib} MiB in chunks of 1 MiB, {CONNECTIONS} connections, out of order; medians of {rounds} rounds")
    print(f"{'':20}{'MiB/s':>8}{'CPU s/GiB':>12}{'speed':>8}{'CPU':>8}   (beside the older server)")
    middle = {kind: [median(values) for values in zip(*found, strict=True)] for kind, found in results.items()}
    seconds, cpu = middle["older server"]
    for kind, (own_seconds, own_cpu) in middle.items():
        figures = f"{mib / own_seconds:8.0f}{own_cpu * 1024 / mib:12.2f}"
        print(f"{kind:20}{figures}{seconds / own_seconds:7.2f}x{own_cpu / cpu:7.2f}x")


MODES = {"in place": ("none", ""), "in place, durable": ("data", ""), "chunks folder": ("none", "chunks")}


def transfer(port: int, name: str, mib: int) -> None:
    """One file over some connections, each of which takes the next chunk of a shuffled list."""
    content = os.urandom(MIB)
    numbers = list(range(1, mib + 1))
    random.Random(name).shuffle(numbers)
    file = File(name, MIB, mib)

    def work() -> None:
        with Client(port) as client:
            while numbers:
                try:
                    number = numbers.pop()
                except IndexError:
                    return
                client.send(file, number, content)

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- the client ---


@dataclass(frozen=True)
class File:
    """What is sent: ``count`` chunks of ``size`` bytes."""

    name: str
    size: int
    count: int

    def head(self, number: int) -> bytes:
        """The form up to the bytes of one chunk, as flow.js sends it."""
        fields = {
            "flowChunkNumber": number,
            "flowChunkSize": self.size,
            "flowCurrentChunkSize": self.size,
            "flowTotalSize": self.size * self.count,
            "flowIdentifier": f"{self.size * self.count}-{self.name}",
            "flowFilename": self.name,
            "flowRelativePath": self.name,
            "flowTotalChunks": self.count,
        }
        lines = b"".join(
            b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (BOUNDARY, k.encode(), str(v).encode())
            for k, v in fields.items()
        )
        disposition = b'Content-Disposition: form-data; name="file"; filename="blob"\r\n'
        return lines + b"--%b\r\n%bContent-Type: application/octet-stream\r\n\r\n" % (BOUNDARY, disposition)


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def send(self, file: File, number: int, content: bytes) -> None:
        """One chunk and its answer."""
        head, tail = file.head(number), b"\r\n--%b--\r\n" % BOUNDARY
        size = len(head) + len(content) + len(tail)
        form = b"multipart/form-data; boundary=" + BOUNDARY
        lines = b"POST /flow/ HTTP/1.1\r\nHost: bench\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (form, size)
        self._socket.sendall(lines + head)
        self._socket.sendall(content)
        self._socket.sendall(tail)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(65536)
        fields, _, body = answer.partition(b"\r\n\r\n")
        if not fields.startswith(b"HTTP/1.1 200"):
            raise SystemExit(answer.decode("latin-1"))
        length = next(int(line[15:]) for line in fields.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(body) < length:
            body += self._socket.recv(65536)


# --- the servers ---


@dataclass
class Server:
    """One server in a process group of its own."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu(self) -> float:
        """Seconds of processor that it and its workers have used."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ticks = 0
        for pid in (self.process.pid, *children):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: list[str], port: int, env: dict[str, str]) -> Iterator[Server]:
    """A server, from when it answers until the end of the block."""
    process = subprocess.Popen(command, env={**os.environ, **env}, start_new_session=True)
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionError:
                time.sleep(0.05)
        else:
            raise SystemExit("The server did not start.")
        yield Server(process, port)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def ours(home: Path, durability: str, folder: str = "") -> Iterator[Server]:
    """gunicorn with one worker."""
    (home / "bench_app.py").write_text(OURS)
    port = free_port()
    gunicorn = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "-k", "gthread", "--threads", "8"]
    if any(setting.name == "control_socket_disable" for setting in KNOWN_SETTINGS):
        gunicorn.append("--no-control-socket")  # it would be one socket in the home folder for all instances
    env = {
        "PYTHONPATH": os.pathsep.join([str(home), str(ROOT)]),
        "BENCH_HOME": str(home / "instance"),
        "BENCH_DURABILITY": durability,
        "BENCH_FOLDER": str(home / folder) if folder else "",
    }
    with running([*gunicorn, "--log-level", "warning", "bench_app:app"], port, env) as server:
        yield server


@contextmanager
def older(home: Path, python: Path) -> Iterator[Server]:
    """The older server, on Tornado; its temporary files where its chunks are, or it could not rename them."""
    port = free_port()
    with running([str(python), "-c", OLDER, str(port)], port, {"BENCH_HOME": str(home), "TMPDIR": str(home)}) as server:
        yield server


def older_python(folder: Path) -> Path:
    """An interpreter that has ``flowjs`` and Tornado, from PyPI."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "flowjs==0.1.1", "tornado"], check=True)
    return python


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())

"""How much memory one large upload costs a worker: 1 GiB in one PATCH to gunicorn (gthread) over loopback.

Prints the growth of the worker's peak memory and the speed; fails if the growth passes the target. See README.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gunicorn.config import KNOWN_SETTINGS

MIB = 1024 * 1024
TARGET = 16 * MIB  # of growth
ROOT = Path(__file__).resolve().parents[1]
APP = """
import os
from flask import Flask
from flask_resumable import FlaskResumable

app = Flask(__name__, instance_path=os.environ["BENCH_HOME"])
FlaskResumable(app)
"""


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the upload (default: 1024)")
    parser.add_argument("--chunked", action="store_true", help="send Transfer-Encoding: chunked, not Content-Length")
    parser.add_argument("--dir", help="where to put the upload (default: the folder for temporary files)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as home:
        server, port = start(Path(home))
        try:
            send(port, 1, is_chunked=options.chunked)  # whatever is loaded by the first upload is not this one's cost
            worker = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])
            before = peak_memory(worker)
            started = time.perf_counter()
            send(port, options.mib, is_chunked=options.chunked)
            seconds = time.perf_counter() - started
            growth = max(0, peak_memory(worker) - before)  # the kernel counts in batches
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    print(f"upload        {options.mib} MiB in one PATCH, {'chunked' if options.chunked else 'with Content-Length'}")
    print(f"peak memory   {before / MIB:.1f} MiB before, {growth / MIB:.1f} MiB more after", end=" ")
    print(f"(target: below {TARGET // MIB} MiB)")
    print(f"speed         {options.mib * MIB / seconds:,.0f} bytes/s ({options.mib / seconds:,.0f} MiB/s)")
    return 0 if growth < TARGET else 1


def start(home: Path) -> tuple[subprocess.Popen[bytes], int]:
    """gunicorn with one worker, as it is when it answers."""
    (home / "bench_app.py").write_text(APP)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    gunicorn = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "-k", "gthread", "--threads", "8"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home), str(ROOT)]), "BENCH_HOME": str(home / "instance")}
    if any(setting.name == "control_socket_disable" for setting in KNOWN_SETTINGS):
        gunicorn.append("--no-control-socket")  # it would be one socket in the home folder for all instances
    command = [*gunicorn, "--log-level", "warning", "bench_app:app"]
    server = subprocess.Popen(command, env=env, start_new_session=True)
    while server.poll() is None:
        try:
            exchange(port, "OPTIONS", "/files/", {})
        except ConnectionError:
            time.sleep(0.05)
        else:
            return server, port
    raise SystemExit("gunicorn did not start.")


def send(port: int, mib: int, *, is_chunked: bool) -> None:
    """Create an upload and send all of it in one PATCH."""
    size = mib * MIB
    head = exchange(port, "POST", "/files/", {"Upload-Length": str(size), "Content-Length": "0"})
    location = next(line for line in head.split("\r\n") if line.lower().startswith("location:")).split(": ")[1]
    framing = {"Transfer-Encoding": "chunked"} if is_chunked else {"Content-Length": str(size)}
    headers = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0", **framing}
    block = os.urandom(MIB)
    piece = b"%x\r\n%b\r\n" % (MIB, block) if is_chunked else block
    head = exchange(port, "PATCH", f"/files/{location}", headers, [piece] * mib + [b"0\r\n\r\n"] * is_chunked)
    if not head.startswith("HTTP/1.1 204"):
        raise SystemExit(f"The upload failed:\n{head}")


def exchange(port: int, method: str, path: str, headers: dict[str, str], body: list[bytes] | None = None) -> str:
    """One request on a connection of its own; the head of its answer."""
    fields = {"Host": "bench.test", "Tus-Resumable": "1.0.0", "Connection": "close", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        for piece in body or ():
            connection.sendall(piece)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer.partition(b"\r\n\r\n")[0].decode("latin-1")


def peak_memory(pid: int) -> int:
    """The most bytes of memory that a process has had at once (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    sys.exit(main())

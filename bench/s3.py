"""What the way through the app costs an upload to S3: one PATCH to gunicorn, beside boto3's own ``upload_fileobj``.

Both send the same file to the same moto server, in turns; medians of the rounds are printed. Fails if the app has less
than 80 % of the throughput, or if the worker's memory grows by more than its limit for parts allows. See README.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

MIB = 1024 * 1024
ROOT = Path(__file__).resolve().parents[1]
SHARE = 0.8  # of boto3's throughput
SLACK = 32 * MIB  # of growth beside the parts in memory
BUCKET = "bench"
APP = """
import os
from flask import Flask
from flask_resumable import FlaskResumable
from flask_resumable.storage.s3 import S3Storage

app = Flask(__name__, instance_path=os.environ["BENCH_HOME"])
FlaskResumable(app, storage=S3Storage(
    "bench", endpoint_url=os.environ["BENCH_STORE"], access_key=os.environ["BENCH_ACCESS_KEY"],
    secret_key=os.environ["BENCH_SECRET_KEY"], memory=int(os.environ["BENCH_MEMORY"]),
    spool_directory=os.environ["BENCH_HOME"],
))
"""


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=512, help="size of the file (default: 512)")
    parser.add_argument("--rounds", type=int, default=5, help="of each way (default: 5)")
    parser.add_argument("--memory", type=int, default=64, help="MiB of parts in memory (default: 64)")
    parser.add_argument("--endpoint", help="a store that runs already, with a bucket named 'bench' (default: moto)")
    parser.add_argument("--access-key", default="test")
    parser.add_argument("--secret-key", default="testtest")
    options = parser.parse_args()
    servers: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        try:
            return measure(home, options, servers)
        finally:
            for server in servers:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def measure(home: Path, options: argparse.Namespace, servers: list[subprocess.Popen[bytes]]) -> int:
    """Let both ways take turns."""
    endpoint = options.endpoint or start_moto(servers)
    store = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=options.access_key,
        aws_secret_access_key=options.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
    if not options.endpoint:
        store.create_bucket(Bucket=BUCKET)
    file = home / "file"
    with file.open("wb") as target:
        for _ in range(options.mib):
            target.write(os.urandom(MIB))
    port = start_app(home, endpoint, options, servers)
    worker = int(Path(f"/proc/{servers[-1].pid}/task/{servers[-1].pid}/children").read_text().split()[0])
    (home / "small").write_bytes(os.urandom(MIB))
    remove(store, through_app(port, home / "small"))  # what the first upload loads is not this one's cost
    before = peak_memory(worker)
    seconds: dict[str, list[float]] = {"boto3": [], "app": []}
    ways: dict[str, Callable[[], str]] = {
        "boto3": lambda: straight(store, file),
        "app": lambda: through_app(port, file),
    }
    for _ in range(options.rounds):
        for name, upload in ways.items():
            started = time.perf_counter()
            key = upload()
            seconds[name].append(time.perf_counter() - started)
            assert store.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == file.stat().st_size
            remove(store, key)
    growth = max(0, peak_memory(worker) - before)
    speeds = {name: options.mib / statistics.median(times) for name, times in seconds.items()}
    share = speeds["app"] / speeds["boto3"]
    print(f"file          {options.mib} MiB, medians of {options.rounds} rounds in turns")
    print(f"upload_fileobj{speeds['boto3']:8.0f} MiB/s")
    print(f"through app   {speeds['app']:8.0f} MiB/s, {share:.0%} of that (target: {SHARE:.0%})")
    print(f"peak memory   {growth / MIB:8.1f} MiB more (parts in memory: {options.memory} MiB at most)")
    return 0 if share >= SHARE and growth <= options.memory * MIB + SLACK else 1


def straight(store: Any, file: Path) -> str:
    """boto3's own way; the key."""
    with file.open("rb") as stream:
        store.upload_fileobj(stream, BUCKET, "straight")
    return "straight"


def through_app(port: int, file: Path) -> str:
    """One tus upload in one PATCH; the key."""
    size = file.stat().st_size
    head = exchange(port, "POST", "/files/", {"Upload-Length": str(size), "Content-Length": "0"})
    location = next(line for line in head.split("\r\n") if line.lower().startswith("location:")).split(": ")[1]
    headers = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0", "Content-Length": str(size)}
    head = exchange(port, "PATCH", f"/files/{location}", headers, file)
    if not head.startswith("HTTP/1.1 204"):
        raise SystemExit(f"The upload failed:\n{head}")
    return location


def exchange(port: int, method: str, path: str, headers: dict[str, str], file: Path | None = None) -> str:
    """One request on a connection of its own; the head of its answer."""
    fields = {"Host": "bench.test", "Tus-Resumable": "1.0.0", "Connection": "close", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        if file is not None:
            with file.open("rb") as stream:
                connection.sendfile(stream)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer.partition(b"\r\n\r\n")[0].decode("latin-1")


def remove(store: Any, key: str) -> None:
    """Make room."""
    store.delete_object(Bucket=BUCKET, Key=key)


def start_moto(servers: list[subprocess.Popen[bytes]]) -> str:
    """moto's server; its URL."""
    port = free_port()
    program = Path(sys.executable).with_name("moto_server")
    command = [str(program), "-H", "127.0.0.1", "-p", str(port)]
    servers.append(
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    )
    wait_for(servers[-1], port)
    return f"http://127.0.0.1:{port}"


def start_app(home: Path, endpoint: str, options: argparse.Namespace, servers: list[subprocess.Popen[bytes]]) -> int:
    """gunicorn with one worker; its port."""
    (home / "bench_app.py").write_text(APP)
    port = free_port()
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(home), str(ROOT)]),
        "BENCH_HOME": str(home),
        "BENCH_STORE": endpoint,
        "BENCH_ACCESS_KEY": options.access_key,
        "BENCH_SECRET_KEY": options.secret_key,
        "BENCH_MEMORY": str(options.memory * MIB),
    }
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "-k", "gthread", "--threads", "8"]
    command += ["--log-level", "warning", "--no-control-socket", "bench_app:app"]
    servers.append(subprocess.Popen(command, env=env, start_new_session=True))
    wait_for(servers[-1], port)
    return port


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    """Until it listens."""
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("A server did not start.")


def peak_memory(pid: int) -> int:
    """The most bytes of memory that a process has had at once (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    sys.exit(main())

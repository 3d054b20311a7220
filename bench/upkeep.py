"""Removing expired uploads, and joining parts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.databases import Database
from bench.databases import database
from bench.databases import embedded
from bench.databases import TITLES
from bench.kinds import kind
from bench.measure import Tree
from bench.programs import ROOT
from bench.records import copy_files
from bench.records import count_of
from bench.records import fill
from bench.runs import Figures
from bench.runs import measuring
from bench.runs import Run
from bench.runs import Sizes
from bench.runs import Wrong
from bench.servers import app_env
from bench.tables import Table
from bench.units import MIB

_PARTS = 8
_PATIENCE = 1200  # seconds
_CALLS = "copy_file_range,sendfile,splice,read,pread64,readv,preadv,write,pwrite64,writev,pwritev"
_TEMPLATE = """
from bench.app import app
tus = {"Tus-Resumable": "1.0.0"}
client = app.test_client()
made = client.post("/files/", headers={**tus, "Upload-Length": "2000"}).headers["Location"]
patch = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
client.patch(f"/files/{made}", headers=patch, data=bytes(1000))
print(made)
"""


def clean(name: str, home: Path, content: Path, wanted: Sizes) -> Iterator[Table]:
    """``flask tus delete_expired`` for few and for many expired uploads, each with its files."""
    own = kind(name).database
    where = f" ({TITLES[own]})" if own else ""
    table = Table(
        f"flask tus delete_expired: expired uploads with their files{where}",
        ("uploads", "files", "seconds", "uploads/s", "files/s", "cpu s", "database: cpu s", "peak MiB"),
    )
    for count in (wanted.expired // 10, wanted.expired):
        if table.rows and float(str(table.rows[0][2])) * 10 > _PATIENCE:
            table.note = f"{count:,} uploads were left out: they would have taken more than {_PATIENCE} s."
            break
        folder = home / str(count)
        folder.mkdir(parents=True)
        with database(own, folder) if own else embedded(folder) as found:
            table.rows.append(_clean(folder, count, found, app_env(folder, found if own else None)))
        shutil.rmtree(home / str(count))
    yield table


def _clean(home: Path, count: int, found: Database, env: Mapping[str, str]) -> tuple[object, ...]:
    env = {**os.environ, **env}
    made = subprocess.run([sys.executable, "-c", _TEMPLATE], env=env, check=True, capture_output=True, text=True)
    template = made.stdout.strip()
    ids = fill(found.engine, template, count, expired=True)
    files = copy_files(home / "uploads", template, ids) * count
    command = [sys.executable, "-m", "flask", "--app", "bench.app", "tus", "delete_expired"]
    begun, before = time.perf_counter(), found.tree.cpu() if found.tree else 0.0
    with subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        tree, peak, cpu = Tree((process.pid,)), 0, 0.0
        try:
            while process.poll() is None:
                peak, cpu = max(peak, tree.memory("VmHWM")), max(cpu, tree.cpu())
                time.sleep(0.02)
        finally:
            tree.end()
    seconds, used = time.perf_counter() - begun, found.tree.cpu() - before if found.tree else 0.0
    left = sum(path.is_file() for path in (home / "uploads").rglob("*")) - files // count
    if process.returncode or left or count_of(found.engine) != 1:
        raise Wrong(
            f"delete_expired left {left} files and {count_of(found.engine) - 1} records, status {process.returncode}"
        )
    return f"{count:,}", f"{files:,}", seconds, count / seconds, files / seconds, cpu, used, peak / MIB


def concat(name: str, home: Path, content: Path, wanted: Sizes) -> Iterator[Table]:
    """The request that joins the parts, and the system calls that move the bytes."""
    table = Table(
        f"Concatenation of {_PARTS} parts of {wanted.part // MIB} MiB ({kind(name).title})",
        ("", "seconds", "MiB/s", "cpu s", "cpu s/GiB", "grown MiB"),
    )
    with measuring(name, home, content, wanted) as run:
        _join(run, _sent(run, MIB), MIB)
        for number in (1, 2, 3):
            figures = _join(run, _sent(run, wanted.part), wanted.part)
            row = [figures[key] for key in ("seconds", "MiB/s", "cpu", "cpu s/GiB", "grown MiB")]
            table.rows.append((f"run {number}", *row))
        sent = _sent(run, wanted.part)
        with _traced(run.server.tree, home / "calls.txt") as is_traced:
            if is_traced:
                _join(run, sent, wanted.part)
    yield table
    if is_traced:
        yield _calls(home / "calls.txt", wanted.part)


def _sent(run: Run, size: int) -> dict[str, Any]:
    """Send the parts of a concatenation."""
    return run.measure("parts", volume=size * _PARTS, url=run.server.url, count=_PARTS, size=size)[1]


def _join(run: Run, sent: dict[str, Any], size: int) -> Figures:
    """Join the parts."""
    options = {"ids": sent["ids"], "phase": sent["phase"], "size": size * _PARTS}
    figures, report = run.measure("join", volume=size * _PARTS, url=run.server.url, **options)
    run.remove(report)
    return figures


@contextmanager
def _traced(tree: Tree, output: Path) -> Iterator[bool]:
    """Count a server's system calls in a block, if strace is installed and allowed to."""
    if not shutil.which("strace"):
        yield False
        return
    pids = [argument for pid in tree.pids() for argument in ("-p", str(pid))]
    command = ["strace", "-f", "-c", "-U", "calls,name", "-o", str(output), "-e", f"trace={_CALLS}", *pids]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        time.sleep(1)  # strace does not say when it has attached
        yield process.poll() is None
        process.send_signal(signal.SIGINT)


def _calls(output: Path, size: int) -> Table:
    table = Table(f"System calls of joining {_PARTS} parts of {size // MIB} MiB", ("calls", "name"))
    for line in output.read_text().splitlines():
        cells = line.split()
        if len(cells) == 2 and cells[0].isdigit() and cells[1] != "total":
            table.rows.append(tuple(cells))
    return table

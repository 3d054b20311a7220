"""A state machine over HTTP: clients of every protocol on two servers, compared with what may be answered."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from proof.campaign import Result

from .mutants import MUTANTS
from .runs import Found
from .runs import hunted
from .runs import in_process
from .runs import in_process_on_s3
from .runs import processes
from .runs import tried
from .worlds import World

if TYPE_CHECKING:
    from tests.s3.conftest import Store

STEPS = 30
TOOLS = Path(__file__).resolve().parents[2] / "bench" / "peers" / "bin"


def run(*, seed: int, quick: bool, folder: Path | None) -> Result:
    """Run the machine on each combination of servers, and then on each mutant, which it must find."""
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), str(TOOLS)])
    result = Result()
    for name, opened, examples in _worlds(folder):
        with opened as worlds:
            found = tried(worlds, seed=seed, examples=examples if quick else 20 * examples, steps=STEPS)
        _note(result, name, found, seed)
    for name, mutant in MUTANTS.items():
        found = hunted(name, seed=seed)
        what = f"mutant {name} ({mutant.what}): "
        if found.fault is None:
            result.faults.append(f"{what}not found in {found.examples} examples")
        else:
            result.figures.append(f"{what}found in example {found.examples}, {found.seconds:.0f} s: {found.fault}")
        print(result.figures[-1], flush=True)
    return result


def _worlds(folder: Path | None) -> list[tuple[str, AbstractContextManager[list[World]], int]]:
    """What to run on, and how many examples of it in a quick run. A full run tries twenty times as many."""
    from tests.databases.servers import MongoWire
    from tests.databases.servers import PostgreSQL

    return [
        ("in one process: SQLite, disk", in_process(), 60),
        ("in one process: SQLite, moto", in_process_on_s3(), 20),
        ("gunicorn: SQLite, disk", processes(folder, None, None), 20),
        ("gunicorn: PostgreSQL, disk", processes(folder, PostgreSQL, None), 20),
        ("gunicorn: MongoDB wire, disk", processes(folder, MongoWire, None), 20),
        ("gunicorn: PostgreSQL, versitygw", processes(folder, PostgreSQL, _versity), 10),
    ]


def _versity(home: Path) -> Store:
    from tests.s3.conftest import Store
    from tests.s3.versity import Versity

    server = Versity(home)
    server.start()
    return Store(server)


def _note(result: Result, name: str, found: Found, seed: int) -> None:
    result.figures.append(
        f"{name}: {found.examples} examples, {found.steps} steps, {found.requests} requests, {found.seconds:.0f} s"
    )
    print(result.figures[-1], flush=True)
    if found.fault is not None:
        result.faults.append(f"{name}, seed {seed}: {found.fault}")
        print(found.example, flush=True)

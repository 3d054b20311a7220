"""Programs and packages that may or may not be on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from bench.measure import NotAvailable

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(__file__).resolve().parent / "peers"


def no_control_socket() -> list[str]:
    """The option for a gunicorn that has one: it would be one socket in the home folder for all instances."""
    from gunicorn.config import KNOWN_SETTINGS

    has_it = any(setting.name == "control_socket_disable" for setting in KNOWN_SETTINGS)
    return ["--no-control-socket"] if has_it else []


def need(*modules: str) -> None:
    """Stop if a module is not installed.

    :raises NotAvailable: One is missing.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise NotAvailable(f"{' and '.join(missing)} are not installed; see the extra `bench`")


def program(name: str) -> str | None:
    """Where a program is, if it is anywhere."""
    return shutil.which(name, path=os.pathsep.join([str(PEERS / "bin"), os.environ.get("PATH", "")]))


def loop() -> Path:
    """The C loop, compiled if it was not or has changed.

    :raises NotAvailable: There is no compiler.
    """
    path, source = PEERS / "bin" / "loop", PEERS / "loop.c"
    if path.exists() and path.stat().st_mtime > source.stat().st_mtime:
        return path
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NotAvailable("there is no C compiler")
    path.parent.mkdir(exist_ok=True)
    subprocess.run([compiler, "-O2", "-pthread", "-o", str(path), str(source)], check=True)
    return path

"""What a test needs from the machine.

Where something is missing, the test is skipped with a line that says what to install (``tests/conftest.py``). With
``CI=true`` it fails instead: such a machine can install everything, and a skipped test would go unnoticed.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import subprocess
import sys
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(sys.executable).parent  # of this environment
FOLDERS = (  # where programs are that not everybody has in the PATH
    "/usr/sbin",
    "/usr/local/sbin",
    *(str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)),  # Debian's
)


class Missing(Exception):
    """Something is not there; the message is one line and says how to get it."""


def require_program(name: str, install: str) -> str:
    """The path of a program.

    :param install: The command that installs it.
    :raises Missing: It is neither in the PATH nor in one of the folders above.
    """
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *FOLDERS]))
    if path is None:
        raise Missing(f"{name} is missing: {install}")
    return path


def require_script(name: str, install: str) -> str:
    """The path of a program that pip has installed together with the tests; the PATH may have another one."""
    path = SCRIPTS / name
    if not path.exists():
        raise Missing(f"{name} is missing: {install}")
    return str(path)


def require_module(name: str, install: str) -> None:
    """A Python package, by the name under which it is imported."""
    if find_spec(name) is None:
        raise Missing(f"{name} is missing: {install}")


def require_user(name: str, install: str) -> None:
    """A user of the operating system, for a server that refuses to run as root."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        raise Missing(f"There is no user {name}, and root cannot run this server: {install}") from None


def require_strace() -> str:
    """The path of strace, which must be allowed to attach to a process that runs already."""
    strace = require_program("strace", "apt-get install strace")
    if refusal := _refusal_to_attach(strace):
        raise Missing(f"strace may not attach here (sysctl kernel.yama.ptrace_scope=0 allows it): {refusal}")
    return strace


@cache
def _refusal_to_attach(strace: str) -> str:
    """What strace says when it tries; nothing, if it may."""
    waiting = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    command = [strace, "-qq", "-o", os.devnull, "-p", str(waiting.pid)]
    with waiting, subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        while tracer.poll() is None and "TracerPid:\t0\n" in Path(f"/proc/{waiting.pid}/status").read_text():
            time.sleep(0.01)
        waiting.communicate()  # ends both
        refusal = " ".join(tracer.communicate()[1].split())
        return refusal if tracer.returncode else ""


def require_npm_packages(folder: Path) -> Path:
    """Install what ``folder/package.json`` names, unless it is there; the folder of the packages."""
    require_program("node", "apt-get install nodejs")
    with (folder / "package.json").open() as manifest:
        fcntl.flock(manifest, fcntl.LOCK_EX)  # other test processes want the same
        if not _is_installed(folder, json.load(manifest)["dependencies"]):
            _install(folder)
    return folder / "node_modules"


def _is_installed(folder: Path, wanted: dict[str, str]) -> bool:
    manifests = {name: folder / "node_modules" / name / "package.json" for name in wanted}
    return all(
        manifest.exists() and json.loads(manifest.read_text())["version"] == wanted[name]
        for name, manifest in manifests.items()
    )


def _install(folder: Path) -> None:
    npm = require_program("npm", "apt-get install npm")
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        reason = next(iter(done.stderr.splitlines()), f"exit code {done.returncode}")
        raise Missing(f"npm cannot install the packages of {folder}: {reason}")

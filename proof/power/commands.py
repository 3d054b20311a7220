"""The system's commands for disks and file systems."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

PATIENCE = 30.0  # seconds
_SBIN = "/usr/sbin:/sbin"


def run_command(*command: str) -> str:
    """Run a command, and return what it says.

    :raises subprocess.CalledProcessError: It has failed.
    """
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:{_SBIN}", "LC_ALL": "C"}
    # A Ctrl-C at a terminal reaches all processes of its group, and would leave half of the work.
    done = subprocess.run(command, env=env, capture_output=True, text=True, start_new_session=True)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return done.stdout


def unmount(folder: Path) -> None:
    """Unmount a file system. If it is used for long, it goes when it is not used any more.

    :raises subprocess.CalledProcessError: It was used for long.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            run_command("umount", str(folder))
            return
        except subprocess.CalledProcessError:
            if time.monotonic() > deadline:
                run_command("umount", "--lazy", str(folder))
                raise
        time.sleep(0.02)

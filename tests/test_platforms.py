"""Where the package runs, and what it says where it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
AS_ON_WINDOWS = """
import sys
sys.platform = "win32"
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
"""


@pytest.mark.parametrize("module", ["flask_resumable", "flask_resumable.storage.local", "flask_resumable.cli"])
def test_on_windows_the_import_says_what_to_do(module: str) -> None:
    """Whatever is imported first: one error, by name, and no trace of what is missing."""
    command = [sys.executable, "-c", f"{AS_ON_WINDOWS}import {module}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: flask_resumable runs on Linux, macOS and BSD, not on Windows")
    assert "WSL" in last and "During handling" not in ended.stderr

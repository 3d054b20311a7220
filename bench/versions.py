"""The versions of everything that takes part."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version

from bench.programs import PEERS
from bench.programs import program


def versions() -> str:
    """What took part, in one line."""
    found = [f"Python {sys.version.split()[0]}"]
    for name in ("gunicorn", "gevent", "granian", "Flask", "SQLAlchemy", "tuspyserver", "uvicorn", "flowjs", "tornado"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    if shutil.which("node"):
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
        found.append(f"node {node.strip().removeprefix('v')}")
    for name, option in (("tusd", "-version"), ("rustus", "--version")):
        if path := program(name):
            said = subprocess.run([path, option], capture_output=True, text=True, check=False).stdout
            number = re.search(r"\d+(\.\d+)+", said)
            found.append(f"{name} {number[0] if number else ''}".strip())
    for package in ("server", "file-store"):
        manifest = PEERS / "node_modules" / "@tus" / package / "package.json"
        if manifest.exists():
            found.append(f"@tus/{package} {json.loads(manifest.read_text())['version']}")
    return ", ".join(found)

"""JavaScript libraries from npm, where tests run the real clients."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]


def demand_packages(folder: Path) -> Path:
    """Install what ``folder/package.json`` names, unless it is there; the folder of the packages.

    Without npm the test is skipped; on a CI machine, which can install it, it fails.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        _give_up("node or npm is missing: apt-get install nodejs npm")
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
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        _give_up(f"npm install failed in {folder.relative_to(ROOT)}:\n{done.stderr}")


def _give_up(message: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)

"""The container files, as far as they can be held to account without an engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def test_the_dockerfile_is_sound() -> None:
    """hadolint has nothing to say."""
    subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], check=True)


def test_the_compose_file_follows_its_schema() -> None:
    """The compose file is one."""
    check = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(ROOT / "docker-compose.yml")]
    subprocess.run(check, check=True)


def test_the_containers_run_as_nobody_in_particular() -> None:
    """The image that is deployed ends as a user without privileges, and only the proxy has a port, on loopback."""
    stages = (ROOT / "Dockerfile").read_text().split("\nFROM ")
    assert "\nUSER 1000\n" in stages[-1]
    ports = [line.strip() for line in (ROOT / "docker-compose.yml").read_text().splitlines() if ":8080:" in line]
    assert ports == ['- "127.0.0.1:8080:8080"']

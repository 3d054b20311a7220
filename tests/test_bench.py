"""The benchmark works: small runs of it, with no look at the figures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.content import Content
from bench.content import make
from bench.content import PERIOD
from bench.goals import held

ROOT = Path(__file__).parents[1]


def _bench(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "--tiny", *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.live
def test_a_tiny_run_makes_a_table_and_a_picture(tmp_path: Path) -> None:
    """Uploads, HEADs and flow.js chunks to our server: figures, a page, a picture, and nothing left behind."""
    page = tmp_path / "docs" / "performance.md"
    page.parent.mkdir()
    page.write_text("Before.\n<!-- bench -->\nold\n<!-- /bench -->\nAfter.\n")
    scenarios = [argument for name in ("small", "flow", "concat") for argument in ("--only", name)]
    done = _bench(*scenarios, "--server", "gthread", "--data", str(tmp_path / "data"), "--write", str(page.parent))
    assert done.returncode == 0, done.stderr
    for title in ("Uploads of 10 KiB", "flow.js: forms", "Concatenation of 8 parts"):
        assert re.search(rf"### {title}.*\n\n\|.*\|\n\|[-|]+\|\n\|.*\d.*\|\n", done.stdout), done.stdout
    text = page.read_text()
    assert text.startswith("Before.\n<!-- bench -->\n") and text.endswith("<!-- /bench -->\nAfter.\n")
    assert done.stdout.strip() in text and "old" not in text
    assert ElementTree.parse(page.parent / "performance.svg").getroot().tag.endswith("svg")
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.live
def test_a_server_that_cannot_be_had_is_left_out(tmp_path: Path) -> None:
    """It is named, with the reason, and all is well."""
    done = _bench("--only", "small", "--server", "node", "--data", str(tmp_path), PATH="")
    assert done.returncode == 0
    assert "node is left out: it needs node" in done.stderr
    assert "Left out: @tus/server" in done.stdout


def test_a_wrong_file_is_noticed(tmp_path: Path) -> None:
    """A stored file is compared byte by byte: cut short, with a wrong byte, with a block from elsewhere."""
    make(tmp_path / "content")
    size, phase = 3_000_000, PERIOD - 1_000_000
    with Content(tmp_path / "content") as content:
        right = content.at(phase, size)
        for name, data, is_right in (
            ("right", right, True),
            ("short", right[:-1], False),
            ("wrong byte", right[:-1] + bytes([right[-1] ^ 1]), False),
            ("wrong block", right[1_048_576:2_097_152] + right[1_048_576:], False),
        ):
            (tmp_path / name).write_bytes(data)
            assert (content.differs(tmp_path / name, phase, size) is None) is is_right, name


def test_a_missed_goal_is_bold() -> None:
    """Costs are to be at most, rates at least so many times the others'."""
    big = {
        "c-splice": {"cpu s/GiB": 0.4, "MiB/s": 2000.0, "grown MiB": 0.0},
        "gthread": {"cpu s/GiB": 0.5, "MiB/s": 1000.0, "grown MiB": 3.0},
    }
    rows = {row[0]: row[2] for row in held({"big": big}).rows}
    assert rows["One large PATCH, CPU per byte, beside the C loop"] == "`gthread` 1.25x"
    assert rows["One large PATCH, speed, beside the C loop"] == "`gthread` **0.50x**"
    assert rows["One large PATCH, growth of memory, MiB"] == "`gthread` **3.00**"

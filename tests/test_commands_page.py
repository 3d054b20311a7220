"""docs/commands.md shows what the commands print."""

from __future__ import annotations

import re
import shlex
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path

import pytest
from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable.cli import tus_commands

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
BLOCKS = [block.splitlines() for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)]
NAMES = dict(re.findall(r"^([0-9a-f]{32})  .*? '([a-z.0-9]+)'", PAGE.read_text(), re.MULTILINE))
# What differs from run to run, and stands for it.
VARYING = [
    (r"[0-9a-f]{32}", "ID"),
    (r"\d{4}-\d\d-\d\dT[\d:]{8}\+00:00", "TIME"),
    (r'"[^" ]*/uploads/', '"FOLDER/'),
    (r"\d{7,} bytes are free", "N bytes are free"),
]


@pytest.fixture
def uploads(app: Flask) -> Iterator[dict[str, str]]:
    """The uploads of the page, by their file names."""
    now = datetime.now(UTC) - timedelta(days=3)
    failing = True

    class Uploads(FlaskResumable):
        def on_complete(self, upload: object) -> None:
            if failing:
                raise ValueError("no such folder")

        def current_owner(self) -> str:
            return owner

    Uploads(app, now=lambda: now)
    app.config["PROPAGATE_EXCEPTIONS"] = False

    def send(name: str, received: int, length: int) -> None:
        encoded = b64encode(name.encode()).decode()
        headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": f"filename {encoded}"}
        app.test_client().post("/files/", data=b"x" * received, headers=headers)

    owner = "7"
    send("holiday.mp4", 4000, 9000)
    now = datetime.now(UTC)
    send("report.pdf", 5000, 5000)
    failing, owner = False, "8"
    send("cat.jpg", 2000, 2000)
    send("talk.mp4", 100, 8000)
    yield {str(upload.metadata.filename): upload.id for upload in app.extensions["resumable"].repository.list(limit=9)}


def normalised(lines: list[str]) -> list[str]:
    """Return what does not vary, in an order that does not depend on ids."""
    text = "\n".join(lines)
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    shown = text.splitlines()
    return shown if shown[:1] == ["{"] else sorted(shown)


def test_the_page_shows_what_the_commands_print(
    app: Flask, uploads: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands run in the order of the page. Its list says which id belongs to which file."""
    monkeypatch.chdir(tmp_path)
    runner = app.test_cli_runner()
    for command, *expected in BLOCKS:
        words = shlex.split(command.removeprefix("$ "))
        assert words[:2] == ["flask", "tus"]
        arguments = [uploads[NAMES[word]] if word in NAMES else word for word in words[2:]]
        result = runner.invoke(args=["tus", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        assert normalised(result.output.splitlines()) == normalised(expected), command


def test_the_page_has_an_example_of_each_command() -> None:
    """None is left out."""
    shown = {shlex.split(block[0])[3] for block in BLOCKS}
    assert shown == set(tus_commands.commands)

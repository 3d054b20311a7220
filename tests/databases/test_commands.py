"""The operators' commands on each database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

import mongoengine
import pytest
from click.testing import Result
from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable.models import MongoengineModel
from flask_resumable.repositories.mongo.repository import MongoengineRepository

from .conftest import DATABASES
from .openers import empty_mongo
from .openers import empty_sql

TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


class Site:
    """An app on a database, with a clock that can be ahead and a hook that can fail."""

    def __init__(self, uri: str, home: Path) -> None:
        site = self
        self.ahead = timedelta()
        self.is_failing = True

        class Uploads(FlaskResumable):
            def on_complete(self, upload: object) -> None:
                if site.is_failing:
                    raise RuntimeError("as told")

            def current_owner(self) -> str | None:
                return "ann"

        self.app = Flask("app", instance_path=str(home / "instance"))
        wiring: dict[str, Any] = {}
        if uri.startswith("mongodb:"):
            empty_mongo(uri)
            wiring = {"repository": MongoengineRepository(MongoengineModel)}
        else:
            empty_sql(uri).dispose()
            self.app.config["RESUMABLE_DATABASE_URI"] = uri
        self.app.config["PROPAGATE_EXCEPTIONS"] = False
        Uploads(self.app, now=lambda: datetime.now(UTC) + self.ahead, **wiring)

    def send(self, content: bytes, length: int) -> None:
        """Send some bytes of a file."""
        headers = {**TUS, "Upload-Length": str(length)}
        self.app.test_client().post("/files/", data=content, headers=headers)

    def run(self, *arguments: str) -> Result:
        """Run a command."""
        return self.app.test_cli_runner().invoke(args=["tus", *arguments])

    def ids(self, *options: str) -> list[str]:
        """Return the ids that are listed."""
        return [json.loads(line)["id"] for line in self.run("list", "--json", *options).stdout.splitlines()]


@pytest.fixture(params=[*DATABASES, "sqlite"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """An app on each database, without uploads."""
    found = request.getfixturevalue(request.param)
    site = Site(found if isinstance(found, str) else found.uri, tmp_path)
    yield site
    if request.param == "mongo":
        mongoengine.disconnect()
    else:
        site.app.extensions["resumable"].repository.dispose()


def test_the_commands_work_on_every_database(site: Site) -> None:
    """Uploads are selected, counted, shown, marked, completed, removed and checked."""
    site.send(b"0123", 10)
    site.send(b"0123456789", 10)
    (active,) = site.ids("--status", "active")
    (stuck,) = site.ids("--stuck")
    assert sorted(site.ids("--owner", "ann")) == sorted([active, stuck])
    assert site.ids("--owner", "ANN") == site.ids("--larger-than", "10") == site.ids("--older-than", "1") == []
    assert site.ids("--expired") == site.ids("--storage", "other") == []
    assert site.run("retry", stuck).output == "Error: on_complete failed again: RuntimeError: as told\n"
    site.is_failing = False
    assert site.run("retry", stuck).output == f"{stuck} is complete.\n"
    assert site.run("mark", stuck, "failed", "--reason", "A virus.").exit_code == 0
    assert site.ids("--processing", "failed") == [stuck]
    assert json.loads(site.run("show", stuck).output)["processing"] == {"state": "failed", "reason": "A virus."}
    assert site.run("stats", "--status", "active").output.splitlines() == [
        "status   active  uploads: 1, bytes: 4",
        "storage  -  uploads: 1, bytes: 4",
        "owner    'ann'  uploads: 1, bytes: 4",
    ]
    assert site.run("delete", active).output == f"Removed: {active}.\n"
    assert site.ids() == [stuck]
    assert site.run("check").exit_code == 0


def test_a_clock_that_differs_is_a_warning(site: Site, request: pytest.FixtureRequest) -> None:
    """Of the database, except where it has none of its own, and of the folder. Programs get a code."""
    site.ahead = timedelta(minutes=2)
    result = site.run("check", "--quick", "--json")
    assert result.exit_code == 1
    wrong = {row["name"]: row for row in json.loads(result.stdout) if row["level"] != "ok"}
    has_clock = "sqlite" not in request.node.name
    assert [*wrong] == (["database clock"] if has_clock else []) + ["clock"]
    assert {row["code"] for row in wrong.values()} == {"clock_differs"}
    if has_clock:
        assert " seconds behind that of this machine: " in wrong["database clock"]["message"]

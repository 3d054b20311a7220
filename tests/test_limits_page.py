"""The examples in ``docs/limits.md`` work as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conformance.tus_client import refused
from tests.conformance.tus_client import Tus

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "limits.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)


def app_of(text: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The app of the block of Python that contains a text."""
    [code] = [code for language, code in BLOCKS if language == "python" and text in code]
    made = Flask.__init__

    def make(self: Flask, name: str, **options: Any) -> None:
        made(self, name, instance_path=str(home), **options)
        self.config["RESUMABLE_MIN_FREE_SPACE"] = None  # no machine has room for what the page allows

    monkeypatch.setattr(Flask, "__init__", make)
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile(code, "app.py", "exec", dont_inherit=True), names)
    app: Flask = names["app"]
    return app


def test_max_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown of curl is what the app of that section says, to those whom its hook limits."""
    client = app_of("upload.max_size =", tmp_path, monkeypatch).test_client()
    [told] = [code.strip().splitlines() for language, code in BLOCKS if language == "console" and "3000000" in code]
    response = Tus(client).create(3_000_000)
    assert (f"HTTP/1.1 {response.status}", response.text.strip()) == (told[1], told[-1])
    assert Tus(client, headers={"X-User": "alice"}).create(50_000_000).status_code == 201
    refused(Tus(client, headers={"X-User": "alice"}).create(50_000_001), 413)


def test_space_for_finished_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user has a row with what is used, which goes up and down with the files."""
    app = app_of("User.space", tmp_path, monkeypatch)
    user = app.extensions["resumable"].repository.model.metadata.tables["user"]
    db = app.extensions["sqlalchemy"]
    with app.app_context():
        db.session.execute(user.insert().values(id=7, space=10, used=0))
        db.session.commit()

    def used() -> int:
        with app.app_context():
            return int(db.session.scalar(user.select().with_only_columns(user.c.used)))

    refused(Tus(app.test_client()).create(5), 401)
    tus = Tus(app.test_client(), headers={"X-User": "7"})
    url = tus.upload(b"12345678")
    assert used() == 8
    refused(tus.create(3), 413)
    tus.request("DELETE", url)
    assert used() == 0
    tus.upload(b"123")
    with app.app_context():
        db.engine.dispose()


def test_quotas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown of curl is what somebody without a plan gets after three uploads, and alice has a plan."""
    client = app_of("MAX_ACTIVE_UPLOADS", tmp_path, monkeypatch).test_client()
    [told] = [code.strip().splitlines() for language, code in BLOCKS if language == "console" and "bob" in code]
    bob, alice = (Tus(client, headers={"X-User": user}) for user in ("bob", "alice"))
    for _ in range(3):
        bob.new(5)
    response = bob.create(5)
    wanted = f"HTTP/1.1 {response.status}", f"Retry-After: {response.headers['Retry-After']}", response.text.strip()
    assert wanted == (told[1], told[2], told[-1])
    refused(bob.create(2_000_000_001), 429)
    for _ in range(5):
        alice.new(10_000_000_000)
    refused(alice.create(1), 429)
    refused(alice.create(50_000_000_001), 413)

"""What is not installed is not needed, until somebody uses it; then the error says what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

APP = """
from flask import Flask
from flask_resumable import FlaskResumable

app = Flask("app", instance_path={home!r})
FlaskResumable(app)
tus = {{"Tus-Resumable": "1.0.0"}}
client = app.test_client()
created = client.post("/files/", headers={{**tus, "Upload-Length": "5"}})
patch = {{**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}}
print(client.patch("/files/" + created.headers["Location"], data=b"hello", headers=patch).status)
"""
SESSIONS = """
from flask import Flask
from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, scoped_session, sessionmaker

class Base(DeclarativeBase):
    pass

class Upload(SQLAlchemyMixin, Base):
    __tablename__ = "upload"
    note: Mapped[str | None]

class Uploads(FlaskResumable):
    def on_complete(self, upload):
        upload.note = "seen"

app = Flask("app", instance_path={home!r})
engine = create_engine("sqlite:///" + {home!r} + "/app.sqlite")
Base.metadata.create_all(engine)
session = scoped_session(sessionmaker(engine))
resumable = Uploads(app, model=Upload, db=session)
tus = {{"Tus-Resumable": "1.0.0"}}
client = app.test_client()
created = client.post("/files/", headers={{**tus, "Upload-Length": "5"}})
patch = {{**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}}
print(client.patch("/files/" + created.headers["Location"], data=b"hello", headers=patch).status)
with app.app_context():
    print(*(upload.note for upload in resumable.uploads()))
"""
EXTRAS = ("boto3", "botocore", "flask_sqlalchemy", "flask_sqlalchemy_lite", "mongoengine", "pymongo")


def run(code: str, missing: tuple[str, ...] = EXTRAS) -> subprocess.CompletedProcess[str]:
    """Run a program in a process in which these packages are not installed."""
    hide = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in missing)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", hide + code], env=environ, capture_output=True, text=True)


def test_an_app_on_a_disk_needs_none(tmp_path: Path) -> None:
    """With Flask and SQLAlchemy alone, an app takes uploads."""
    done = run(APP.format(home=str(tmp_path)))
    assert done.stdout == "204 NO CONTENT\n", done.stderr


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("from flask_resumable.storage import S3Storage", 'pip install "Flask-Resumable[s3]"'),
        ("from flask_resumable.models import MongoengineModel", "pip install 'Flask-Resumable[mongoengine]'"),
    ],
)
def test_what_is_missing_is_named(line: str, hint: str) -> None:
    """An import that needs an extra says how to install it."""
    done = run(line)
    assert (done.returncode, "ConfigurationError" in done.stderr) == (1, True)
    assert hint in done.stderr


def test_an_app_with_sessions_needs_none(tmp_path: Path) -> None:
    """A model of the app's with plain sessions of SQLAlchemy works, hooks and queries included."""
    done = run(SESSIONS.format(home=str(tmp_path)))
    assert done.stdout == "204 NO CONTENT\nseen\n", done.stderr


def test_a_storage_brings_its_own_packages_only() -> None:
    """Storages for disks do not load boto3, though it is there; it comes with ``S3Storage``."""
    code = (
        "import sys\nimport flask_resumable\nfrom flask_resumable.storage import LocalStorage, ChunkFolder\n"
        "print('boto3' in sys.modules)\nfrom flask_resumable.storage import S3Storage\nprint('boto3' in sys.modules)\n"
    )
    assert run(code, missing=()).stdout == "False\nTrue\n"


def test_a_storage_that_is_not_there_is_said_to_be_missing() -> None:
    """A slip is told as in any other module."""
    done = run("from flask_resumable.storage import AzureStorage")
    assert "cannot import name 'AzureStorage'" in done.stderr

"""Flask-Migrate, with each way of keeping uploads in an SQL database."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy import MetaData

from tests.databases.conftest import database_or_file as database_or_file
from tests.databases.conftest import mariadb as mariadb
from tests.databases.conftest import postgresql as postgresql
from tests.databases.live_app import Database

pytest.importorskip("flask_migrate")

ROOT = Path(__file__).parents[2]

APP = """
from flask import Flask
from flask_migrate import Migrate
from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.models import SQLAlchemyModel
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped

app = Flask("app", root_path=".")
app.config["SQLALCHEMY_DATABASE_URI"] = URI
db = SQLAlchemy()


class Note(db.Model):
    id: Mapped[int] = db.mapped_column(primary_key=True)
"""

READY_MADE = """
app.config["RESUMABLE_CREATE_TABLES"] = False
db.init_app(app)
FlaskResumable(app, model=SQLAlchemyModel, db=db)
Migrate(app, db)
"""

OWN = """
class Upload(SQLAlchemyMixin, db.Model):
    caption: Mapped[str | None] = db.mapped_column(db.String(80))


db.init_app(app)
FlaskResumable(app, model=Upload, db=db)
Migrate(app, db)
"""

# Whichever comes first, and whether or not the table has been used before.
EMBEDDED = """
app.config["RESUMABLE_DATABASE_URI"] = URI
FlaskResumable(app)
db.init_app(app)
Migrate(app, db)
"""

USED = """
app.config["RESUMABLE_DATABASE_URI"] = URI
db.init_app(app)
Migrate(app, db)
FlaskResumable(app)
app.test_client().post("/files/", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "5"})
"""

DRIVER = """
import json
import pathlib
from app import app

runner = app.test_cli_runner()
for command in ("init", "migrate -m uploads", "upgrade"):
    result = runner.invoke(args=["db", *command.split()])
    if result.exit_code:
        raise SystemExit(f"{command}: {result.output}{result.exception!r}")
(script,) = pathlib.Path("migrations/versions").glob("*.py")
headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Content-Type": "application/offset+octet-stream"}
answer = app.test_client().post("/files/", headers=headers, data=b"hello")
print(json.dumps([answer.status_code, script.read_text()]))
"""


def empty(uri: str) -> None:
    """Remove what other tests have left."""
    engine, tables = create_engine(uri), MetaData()
    tables.reflect(engine)
    tables.drop_all(engine)
    engine.dispose()


def migrated(home: Path, app: str) -> str:
    """Run the commands of Flask-Migrate's documentation and upload a file; the migration."""
    (home / "app.py").write_text(app)
    (home / "driver.py").write_text(DRIVER)
    done = subprocess.run(
        [sys.executable, "driver.py"], cwd=home, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check = [sys.executable, "-m", "flask", "db", "check"]
    checked = subprocess.run(check, cwd=home, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert checked.returncode == 0, checked.stdout + checked.stderr
    status, script = json.loads(done.stdout.splitlines()[-1])
    assert status == 201
    return str(script)


CASES = [
    *(pytest.param(name, READY_MADE, id=f"ready-made-{name}") for name in ("postgresql", "mariadb", "sqlite")),
    *(pytest.param(name, OWN, id=f"own-{name}") for name in ("mariadb", "sqlite")),
    *(pytest.param(name, EMBEDDED, id=f"embedded-{name}") for name in ("postgresql", "sqlite")),
    *(pytest.param(name, USED, id=f"used-{name}") for name in ("mariadb", "sqlite")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("database_or_file", "kind"), CASES, indirect=["database_or_file"])
def test_tables_are_created_and_never_dropped(tmp_path: Path, database_or_file: Database, kind: str) -> None:
    """Nothing is to be imported, edited or excluded: what Flask-Migrate writes can be executed as it stands."""
    empty(database_or_file.uri)
    script = migrated(tmp_path, f"URI = {database_or_file.uri!r}\n{APP}{kind}")
    upgrade = script.partition("def upgrade")[2].partition("def downgrade")[0]
    assert "flask_resumable" not in script and "drop_table" not in upgrade
    assert ("create_table('resumable_uploads'" in upgrade) == (kind in (READY_MADE, EMBEDDED))
    assert "sa.DateTime()" in upgrade or kind == USED


LITE = """
from flask import Flask
from flask_migrate import Migrate
from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass


class Upload(SQLAlchemyMixin, Base):
    __tablename__ = "upload"


class Database(SQLAlchemy):
    metadata = Base.metadata  # for Flask-Migrate


app = Flask("app", root_path=".")
app.config["SQLALCHEMY_ENGINES"] = {"default": "sqlite:///app.sqlite"}
db = Database(app)
FlaskResumable(app, model=Upload, db=db)
Migrate(app, db)
"""


@pytest.mark.slow
def test_flask_sqlalchemy_lite_can_be_migrated(tmp_path: Path) -> None:
    """Flask-Migrate looks for the metadata at the object that it is given."""
    assert "create_table('upload'" in migrated(tmp_path, LITE)

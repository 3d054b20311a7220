"""Keeps what a released version leaves in its databases and on the disk, and puts it back.

    python -m tests.upgrade.frozen WHEEL

makes ``tests/upgrade/<version>``, with PostgreSQL, MariaDB and a MongoDB-wire server of its own. It contains statements
as the databases understand them, documents as extended JSON, and small files in base64.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import bson.json_util
import pymongo
from sqlalchemy import create_engine
from sqlalchemy import MetaData
from sqlalchemy.schema import CreateIndex
from sqlalchemy.schema import CreateTable

from tests.databases.servers import DatabaseServer
from tests.databases.servers import MariaDB
from tests.databases.servers import MongoWire
from tests.databases.servers import PostgreSQL

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KINDS = {  # what keeps the records, and where
    "embedded": ("embedded", None),
    "sqlite": ("model", None),
    "postgresql": ("model", PostgreSQL),
    "mariadb": ("model", MariaDB),
    "mongodb": ("document", MongoWire),
}


def run(step: str, kind: str, uri: str, folder: Path, package: Path = ROOT) -> str:
    """Run a step of the scenario with the package in a folder; what it prints."""
    command = [sys.executable, str(HERE / "scenario.py"), step, KINDS[kind][0], uri, str(folder)]
    environ = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def sqlite_in(folder: Path) -> str:
    """The URI of a SQLite file."""
    return f"sqlite:///{folder / 'state.sqlite'}"


# --- the disk ---


def files_in(folder: Path) -> dict[str, str]:
    """All files of a folder in base64, apart from a database."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("state.sqlite"))
    return {str(path.relative_to(folder)): base64.b64encode(path.read_bytes()).decode() for path in paths}


def write_files(files: dict[str, str], folder: Path) -> None:
    """The opposite."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(base64.b64decode(content))


# --- SQL databases ---


def statements_of(uri: str) -> list[str]:
    """What creates and fills the tables of a database, in its own language."""
    engine = create_engine(uri)
    tables = MetaData()
    tables.reflect(engine)
    found = []
    with engine.connect() as connection:
        for table in tables.sorted_tables:
            indexes = sorted(table.indexes, key=lambda index: str(index.name))
            elements: list[Any] = [CreateTable(table), *map(CreateIndex, indexes)]
            found += [" ".join(str(element.compile(engine)).split()) for element in elements]
            name = engine.dialect.identifier_preparer.format_table(table)
            for row in connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY id").all():
                found.append(f"INSERT INTO {name} VALUES ({', '.join(_literal(value, engine.name) for value in row)})")
    engine.dispose()
    return found


def _literal(value: Any, dialect: str) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, dict | list):
        value = json.dumps(value)
    text = str(value.isoformat(" ") if isinstance(value, datetime) else value).replace("'", "''")
    return f"'{text}'" if dialect != "mysql" else "'" + text.replace("\\", "\\\\") + "'"


def execute(statements: list[str], uri: str) -> None:
    """Run statements in a database, whose tables of the same names are removed first."""
    engine = create_engine(uri)
    with engine.begin() as connection:
        for statement in statements:
            if statement.startswith("CREATE TABLE"):
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {statement.split()[2]}")
            connection.exec_driver_sql(statement.replace("%", "%%") if engine.name != "sqlite" else statement)
    engine.dispose()


# --- MongoDB ---


def documents_in(uri: str) -> dict[str, list[Any]]:
    """All documents of a database, by collection, as extended JSON."""
    with pymongo.MongoClient[Any](uri) as client:
        database = client.get_default_database()
        found = {name: list(database[name].find().sort("_id")) for name in sorted(database.list_collection_names())}
    return json.loads(bson.json_util.dumps(found))  # type: ignore[no-any-return]


def insert(documents: dict[str, list[Any]], uri: str) -> None:
    """The opposite, into collections that are emptied first."""
    with pymongo.MongoClient[Any](uri) as client:
        for name, found in bson.json_util.loads(json.dumps(documents)).items():
            collection = client.get_default_database()[name]
            collection.drop()
            if found:
                collection.insert_many(found)


# --- both ---


def freeze(version: str, kind: str, uri: str, folder: Path) -> None:
    """Keep what is in a database and a folder."""
    target = HERE / version
    target.mkdir(exist_ok=True)
    (target / f"{kind}.files.json").write_text(json.dumps(files_in(folder), indent=1) + "\n")
    if kind == "mongodb":
        (target / "mongodb.json").write_text(json.dumps(documents_in(uri), indent=1) + "\n")
    else:
        (target / f"{kind}.sql").write_text("".join(f"{statement};\n" for statement in statements_of(uri)))


def thaw(version: str, kind: str, uri: str, folder: Path) -> None:
    """Put it back."""
    source = HERE / version
    write_files(json.loads((source / f"{kind}.files.json").read_text()), folder)
    if kind == "mongodb":
        insert(json.loads((source / "mongodb.json").read_text()), uri)
    else:
        execute((source / f"{kind}.sql").read_text().removesuffix(";\n").split(";\n"), uri)


def main(wheel: Path) -> None:
    """Freeze what the version in a wheel leaves behind, in each kind of database."""
    version = wheel.name.split("-")[1]
    with tempfile.TemporaryDirectory() as home:
        package = Path(home, "package")
        zipfile.ZipFile(wheel).extractall(package)
        for kind, (_, server_class) in KINDS.items():
            folder = Path(home, kind)
            folder.mkdir()
            server: DatabaseServer | None = None if server_class is None else server_class()
            try:
                uri = sqlite_in(folder) if server is None else server.uri
                run("begin", kind, uri, folder, package)
                freeze(version, kind, uri, folder)
            finally:
                if server is not None:
                    server.close()
            print(f"{version} on {kind} is frozen.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

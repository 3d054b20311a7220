"""Keeps what a released version leaves in its databases and on the disk, and puts it back.

    python -m tests.upgrade.frozen WHEEL

makes ``tests/upgrade/<version>``, with PostgreSQL, MariaDB, a MongoDB-wire server and an object store of its own. It
contains statements as the databases understand them, documents as extended JSON, and small files in base64.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
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
from tests.s3.conftest import Store
from tests.s3.moto import Moto

PART = 1024  # bytes
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
    return _run("scenario.py", step, KINDS[kind][0], uri, str(folder), package=package)


def run_on_bucket(step: str, store: Store, folder: Path, package: Path = ROOT) -> str:
    """The same with a bucket whose parts have 1 KiB."""
    return _run("bucket.py", step, store.server.url, store.bucket, str(folder), package=package)


def _run(script: str, *arguments: str, package: Path) -> str:
    command = [sys.executable, str(HERE / script), *arguments]
    environ = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, env=environ, cwd=arguments[-1], capture_output=True, text=True)
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


# --- a bucket ---


def freeze_bucket(version: str, store: Store, folder: Path) -> None:
    """Keep the objects and parts of a bucket, and the embedded database."""
    objects = {key: store.content(key) for key in sorted(store.objects())}
    content = max(objects.values(), key=len)  # every upload consists of the same bytes, and one is complete
    multiparts = []
    for multipart, key in sorted(store.multiparts().items(), key=lambda item: item[1]):
        listed = store.client.list_parts(Bucket=store.bucket, Key=key, UploadId=multipart).get("Parts", [])
        parts = {part["PartNumber"]: _packed(_part_of(content, part["PartNumber"])) for part in listed}
        multiparts.append({"key": key, "id": multipart, "parts": parts})
    kept = {
        "statements": statements_of(sqlite_in(folder)),
        "files": files_in(folder),
        "objects": {key: _packed(body) for key, body in objects.items()},
        "multiparts": multiparts,
    }
    (HERE / version).mkdir(exist_ok=True)
    (HERE / version / "bucket.json").write_text(json.dumps(kept, indent=1) + "\n")


def thaw_bucket(version: str, store: Store, folder: Path) -> None:
    """Put it back. A store chooses the ids of multipart uploads, so they are others now."""
    text = (HERE / version / "bucket.json").read_text()
    kept = json.loads(text)
    known: dict[str, str] = {}
    for multipart in kept["multiparts"]:
        where = {"Bucket": store.bucket, "Key": multipart["key"]}
        where["UploadId"] = known[multipart["id"]] = store.client.create_multipart_upload(**where)["UploadId"]
        for number, body in multipart["parts"].items():
            store.client.upload_part(**where, PartNumber=int(number), Body=_unpacked(body))
    for key, body in kept["objects"].items():
        store.client.put_object(Bucket=store.bucket, Key=key, Body=_with_ids(_unpacked(body).decode("latin-1"), known))
    write_files(kept["files"], folder)
    execute([_with_ids(statement, known).decode() for statement in kept["statements"]], sqlite_in(folder))


def _part_of(content: bytes, number: int) -> bytes:
    return content[(number - 1) * PART : number * PART]


def _with_ids(text: str, known: dict[str, str]) -> bytes:
    for old, new in known.items():
        text = text.replace(old, new)
    return text.encode("latin-1")


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


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
        folder = Path(home, "bucket")
        folder.mkdir()
        moto = Moto(folder.parent, min_part=PART)
        moto.start()
        try:
            store = Store(moto)
            run_on_bucket("begin", store, folder, package)
            freeze_bucket(version, store, folder)
        finally:
            moto.kill()
        print(f"{version} in a bucket is frozen.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

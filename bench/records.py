"""Many records at once: copies of a real one, made by the database itself."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

_TABLE = "resumable_uploads"
_LONG_AGO = "strftime('%Y-%m-%d %H:%M:%S.000000', 1577836800 + i, 'unixepoch')"  # one each second, from 2020 on
_FILL = """
    INSERT INTO {table} ({columns})
    WITH RECURSIVE counter(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counter WHERE i < {count})
    SELECT {values} FROM counter, (SELECT * FROM {table} WHERE id = '{template}')
"""


def fill(home: Path, template: str, count: int, *, expired: bool = False) -> list[str]:
    """Add ``count`` copies of the record with the id ``template``, under random ids.

    :param expired: Whether their time is to be over.
    :return: The new ids.
    """
    with closing(sqlite3.connect(home / "resumable.sqlite", timeout=30)) as connection:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({_TABLE})")]
        fixed = {"id": "lower(hex(randomblob(16)))", "client_key": "NULL"}
        if expired:
            fixed |= {"expires_at": _LONG_AGO, "removable_at": _LONG_AGO}
        statement = _FILL.format(
            table=_TABLE,
            columns=", ".join(f'"{name}"' for name in names),
            values=", ".join(fixed.get(name, f'"{name}"') for name in names),
            count=count,
            template=template,
        )
        with connection:
            connection.execute(statement)
        return [row[0] for row in connection.execute(f"SELECT id FROM {_TABLE} WHERE id != ?", (template,))]


def count_of(home: Path) -> int:
    """How many records there are."""
    with closing(sqlite3.connect(home / "resumable.sqlite", timeout=30)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {_TABLE}").fetchone()[0])


def copy_files(folder: Path, template: str, ids: list[str]) -> int:
    """Give each of the ids copies of the template's files; how many files there are for each."""
    files = [path for path in folder.rglob(f"{template}*") if path.is_file()]
    for path in files:
        for upload_id in ids:
            shutil.copyfile(path, path.with_name(path.name.replace(template, upload_id)))
    return len(files)

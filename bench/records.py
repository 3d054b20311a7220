"""Many records at once: copies of a real one, made by the database itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect

if TYPE_CHECKING:
    from sqlalchemy import Engine

_TABLE = "resumable_uploads"
_COUNTERS = {  # tables with the numbers from 1 on, in a column i
    "sqlite": "(WITH RECURSIVE counter(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counter WHERE i < {count})"
    " SELECT i FROM counter) AS counter",
    "postgresql": "generate_series(1, {count}) AS counter(i)",
    "mysql": "(SELECT seq AS i FROM seq_1_to_{count}) AS counter",
}
_IDS = {
    "sqlite": "lower(hex(randomblob(16)))",
    "postgresql": "replace(CAST(gen_random_uuid() AS text), '-', '')",
    "mysql": "md5(concat(uuid(), rand()))",
}
_LONG_AGO = {  # one each second from 2020 on: no two are alike
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', 1577836800 + i, 'unixepoch')",
    "postgresql": "timestamp '2020-01-01' + i * interval '1 second'",
    "mysql": "timestamp('2020-01-01') + interval i second",
}


def fill(engine: Engine, template: str, count: int, *, expired: bool = False) -> list[str]:
    """Add ``count`` copies of the record with the id ``template``, under random ids.

    :param expired: Whether they have expired.
    :return: The new ids.
    """
    database, quote = engine.dialect.name, engine.dialect.identifier_preparer.quote_identifier
    database = "mysql" if database == "mariadb" else database
    names = [column["name"] for column in inspect(engine).get_columns(_TABLE)]
    values = {name: f"template.{quote(name)}" for name in names}
    values |= {"id": "counter.id", "client_key": "NULL", "request_key": "NULL"}
    if expired:
        values |= dict.fromkeys(("expires_at", "removable_at"), _LONG_AGO[database])
    # In the order of the ids: MariaDB needs ten times as long if it has to insert at random places.
    ids = f"SELECT i, {_IDS[database]} AS id FROM {_COUNTERS[database].format(count=count)} ORDER BY id LIMIT {count}"
    statement = (
        f"INSERT INTO {_TABLE} ({', '.join(map(quote, names))}) SELECT {', '.join(values[name] for name in names)}"
        f" FROM ({ids}) AS counter, (SELECT * FROM {_TABLE} WHERE id = '{template}') AS template"
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    with engine.connect() as connection:
        if database == "postgresql":
            connection.exec_driver_sql("ANALYZE")  # at once, or autovacuum would do it in the middle of a run
            connection.commit()
        return list(connection.exec_driver_sql(f"SELECT id FROM {_TABLE} WHERE id <> '{template}'").scalars())


def count_of(engine: Engine) -> int:
    """The number of records."""
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {_TABLE}").scalar_one())


def copy_files(folder: Path, template: str, ids: list[str]) -> int:
    """Copy the template's files for each id. Return the number of files that each has."""
    files = [path for path in folder.rglob(f"{template}*") if path.is_file()]
    for path in files:
        for upload_id in ids:
            shutil.copyfile(path, path.with_name(path.name.replace(template, upload_id)))
    return len(files)

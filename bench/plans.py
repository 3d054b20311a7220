"""How SQLite finds what a request needs: ``EXPLAIN QUERY PLAN`` of each statement, as JSON.

Run as a process of its own, with ``BENCH_HOME`` naming the instance folder: it is the app, and one of its clients.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager

from bench.app import app

_TUS = {"Tus-Resumable": "1.0.0"}
_EXPLAINED = ("SELECT", "UPDATE", "DELETE")


def main() -> None:
    """Make each kind of request once, and explain its statements."""
    client = app.test_client()
    made = client.post("/files/", headers={**_TUS, "Upload-Length": "3"}).headers["Location"]
    patch = {**_TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    chunk = {"flowChunkNumber": 1, "flowChunkSize": 1024, "flowTotalSize": 4096, "flowTotalChunks": 4}
    query = {**chunk, "flowIdentifier": "plans", "flowFilename": "plans", "flowCurrentChunkSize": 1024}
    requests: dict[str, Callable[[], object]] = {
        "HEAD": lambda: client.head(f"/files/{made}", headers=_TUS),
        "PATCH": lambda: client.patch(f"/files/{made}", headers=patch, data=b"abc"),
        "flow.js, is a chunk there?": lambda: client.get("/flow/", query_string=query),
        "flask tus delete_expired": lambda: app.test_cli_runner().invoke(args=["tus", "delete_expired", "--dry-run"]),
        "flask tus complete_pending": lambda: app.test_cli_runner().invoke(args=["tus", "complete_pending"]),
    }
    found = []
    for name, do in requests.items():
        with _listening() as statements:
            do()
        found += [(name, statement, plan) for statement, plan in statements.items()]
    print(json.dumps(found))


@contextmanager
def _listening() -> Iterator[dict[str, str]]:
    """The statements of a block, shortened, with their plans."""
    database = app.extensions["resumable"].repository._database
    said: list[str] = []
    plans: dict[str, str] = {}
    database.raw.set_trace_callback(said.append)
    try:
        yield plans
    finally:
        database.raw.set_trace_callback(None)
    for statement in said:
        if statement.lstrip().upper().startswith(_EXPLAINED) and "resumable_uploads" in statement:
            rows = database.raw.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            plans.setdefault(_short(statement), "; ".join(row[3] for row in rows))


def _short(statement: str) -> str:
    """The verb and the condition of a statement."""
    bare = re.sub(r"'[^']*'|\b\d+\b", "?", statement.replace("resumable_uploads.", "").replace('"', ""))
    flat = re.sub(r"\s+", " ", bare).strip()
    _, where, condition = flat.partition(" WHERE ")
    return flat.split()[0] + (where + condition if where else "")


if __name__ == "__main__":
    main()

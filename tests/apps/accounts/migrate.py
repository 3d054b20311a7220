"""Runs the commands of Flask-Migrate's documentation, in a process of its own because Alembic sets up logging."""

from __future__ import annotations

import sys

from flask.cli import cli


def main(instance_path: str) -> None:
    """Create the migrations and the database in a folder, and check that nothing is left to migrate."""
    app = f"tests.apps.accounts.app:create_app({instance_path!r})"
    for command in ("init", "migrate", "upgrade", "check"):
        cli.main(["--app", app, "db", command, "--directory", f"{instance_path}/migrations"], standalone_mode=False)


if __name__ == "__main__":
    main(sys.argv[1])

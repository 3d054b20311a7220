"""The ``flask tus`` commands."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import nullcontext
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from datetime import timedelta
from functools import reduce
from pathlib import Path
from typing import Any
from typing import IO

import click
from flask import current_app
from flask.cli import AppGroup
from flask.cli import FlaskGroup

from .core.health import ERROR
from .core.health import WARNING
from .core.owner import ANYBODY
from .core.placement import storage_of
from .core.processing import Processing
from .core.processing import ProcessingState
from .core.selection import Selection
from .core.upload import MAX_LENGTH
from .core.upload import Status
from .core.upload import Upload
from .errors import ResumableError
from .errors import Unavailable
from .errors import UploadNotFound
from .interfaces import Storage
from .service.cleanup import Cleaner
from .service.cleanup import complete_pending as make_up_hooks
from .service.cleanup import Report
from .service.health import check as run_checks
from .service.verify import Findings
from .service.verify import Verifier
from .starter import write_app
from .state import current_state
from .state import State

_TOP = 10  # rows of each kind in statistics
_HOURS = 24 * 365 * 1000  # the maximum age; dates have an end
_PATIENCE = 1.0  # seconds before progress is shown


def _app_state() -> State:
    """Return the state of the app. Flask finds this group of commands in every app, also where nobody uploads."""
    try:
        return current_state()
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None


def _state() -> State:
    """Return the state of the app, and tell why a command may find nothing. No command creates a database."""
    state = _app_state()
    location = state.repository.capabilities.location
    if location is None:
        return state
    if location.is_in_memory():
        click.echo(
            "The records of uploads are in the memory of each process, so this command does not see those of a running "
            "server. Use a database file or server.",
            err=True,
        )
    path = location.file()
    if path is not None and not os.path.exists(path):
        click.echo(f"There are no uploads yet: the database {path} does not exist.", err=True)
        click.get_current_context().exit()
    return state


def _not_found(upload_id: str) -> click.ClickException:
    return click.ClickException(f"No upload has the id {upload_id!r}. 'flask tus list' lists them.")


def _hooks_context(state: State) -> AbstractContextManager[object]:
    """Return the context in which a command calls hooks."""
    return current_app.test_request_context() if state.settings.command_requests else nullcontext()


class _DashedGroup(AppGroup):
    """Accepts ``delete-expired`` for ``delete_expired``."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name.replace("-", "_"))


def is_command() -> bool:
    """Whether a ``flask`` command other than ``flask run`` loads the app, such as a migration in a container build."""
    context = click.get_current_context(silent=True)
    return context is not None and isinstance(context.find_root().command, FlaskGroup) and context.info_name != "run"


tus_commands = _DashedGroup("tus", help="Inspect, clean up and recover resumable uploads.")


@tus_commands.command("init", with_appcontext=False)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Write a small app into FOLDER, to start from: with users, a database, a page, tests and a compose file.

    This needs no app. Files that exist are never overwritten.
    """
    try:
        written = write_app(folder)
    except FileExistsError as error:
        raise click.ClickException(f"{error.filename} exists. Choose another folder.") from None
    except OSError as error:
        raise click.ClickException(f"{folder} cannot be written: {error.strerror}.") from None
    click.echo(
        f"Wrote {len(written)} files to {folder}. Next:\n\n"
        f"  cd {shlex.quote(str(folder))} && pip install -r requirements.txt && npm install\n"
        "  flask create_tables\n"
        "  gunicorn 'app:create_app()'\n\n"
        "Then open http://127.0.0.1:8000. README.md says what is where, and how to start it in containers."
    )


BATCH = click.option(
    "--batch", default=100, show_default=True, type=click.IntRange(1, 10_000), help="Records to load at a time."
)
ORPHANS_AFTER = click.option(
    "--orphans-after",
    default=24.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Age in hours from which unfinished bytes without a record count as orphans.",
)


@tus_commands.command("delete_expired")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@ORPHANS_AFTER
@BATCH
def delete_expired(dry_run: bool, orphans_after: float, batch: int) -> None:
    """Remove expired uploads, and unfinished bytes without a record (orphans).

    Complete uploads and those in use are never touched. You can run this while the app serves requests, and several
    times at once.
    """
    state = _state()
    cleaner = Cleaner(state.service, batch=batch)
    if dry_run:
        uploads = bytes_freed = 0
        for upload in cleaner.expired():
            click.echo(_line(upload))
            uploads, bytes_freed = uploads + 1, bytes_freed + upload.received.total
        click.echo(f"Uploads that would be removed: {uploads} ({bytes_freed} bytes).")
        return
    report = Report()
    with _hooks_context(state):
        _show("Removing", cleaner.delete_expired(report, orphans_after=timedelta(hours=orphans_after)))
    click.echo(
        f"Uploads removed: {report.removed}, orphans removed: {report.orphans}, bytes freed: {report.bytes}, "
        f"busy: {report.busy}, failed: {len(report.failed)}."
    )
    if report.missing:
        click.echo(f"Bytes that were received but not found: {report.missing}. Check the upload folder.", err=True)
    _exit_if_failed(report, "remove")


@tus_commands.command("complete_pending")
@BATCH
def complete_pending(batch: int) -> None:
    """Complete uploads whose on_complete hook was cut off by a crash or failed."""
    report = Report()
    state = _state()
    with _hooks_context(state):
        _show("Completing", make_up_hooks(state.service, report, batch=batch))
    click.echo(f"Uploads completed: {report.completed}, failed: {len(report.failed)}.")
    _exit_if_failed(report, "complete")


@tus_commands.command("check")
@click.option("--quick", is_flag=True, help="Leave out the search for what has been left undone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(quick: bool, as_json: bool) -> None:
    """Check whether uploads can work here: database, folder, clock, free space, and what has been left undone.

    Exits with 0 if all is well, with 1 if something should be done, and with 2 if uploads fail.
    """
    results = [*run_checks(_app_state().service, quick=quick)]
    if as_json:
        click.echo(json.dumps([asdict(result) for result in results], indent=2))
    else:
        for result in results:
            click.echo(f"{result.level:<7}  {result.name}: {result.message}")
    levels = {result.level for result in results}
    sys.exit(2 if ERROR in levels else 1 if WARNING in levels else 0)


@tus_commands.command("delete")
@click.argument("upload_id", metavar="ID")
def delete(upload_id: str) -> None:
    """Remove one upload and its bytes, as if its client had deleted it."""
    state = _state()
    try:
        state.service.delete(upload_id, owner=state.repository.get(upload_id).owner)
    except UploadNotFound:
        raise _not_found(upload_id) from None
    except ResumableError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Removed: {upload_id}.")


@tus_commands.command("retry")
@click.argument("upload_id", metavar="ID")
def retry(upload_id: str) -> None:
    """Complete one upload whose on_complete hook was cut off by a crash or failed."""
    state = _state()
    try:
        upload = state.service.catch_up(upload_id)
    except UploadNotFound:
        raise _not_found(upload_id) from None
    except ResumableError as error:
        raise click.ClickException(str(error)) from None
    except Exception as error:
        raise click.ClickException(f"on_complete failed again: {type(error).__name__}: {error}") from error
    click.echo(f"{upload_id} is {upload.status.value}.")


@tus_commands.command("verify")
@ORPHANS_AFTER
@BATCH
def verify(orphans_after: float, batch: int) -> None:
    """Check that the storage has all bytes that the records say were received.

    Compares names and sizes, not contents, and changes nothing. You can run this while the app serves requests. Exits
    with 1 if something is wrong or could not be checked.
    """
    verification = _app_state().storage.capabilities.verification
    if verification is None:
        raise click.ClickException("This storage does not support verification.")
    state = _state()
    findings = Findings()
    verifier = Verifier(state.service, verification, findings, batch=batch)
    _show("Verifying", _told(verifier.run(orphans_after=timedelta(hours=orphans_after))))
    click.echo(
        f"Uploads verified: {findings.verified}, damaged: {len(findings.damaged)}, busy: {findings.busy}, "
        f"failed: {len(findings.failed)}. Orphans: {findings.orphans}; 'flask tus delete_expired' removes them."
    )
    if findings.failed:
        click.echo(f"Could not verify: {', '.join(findings.failed)}. See the log for the reasons.", err=True)
    if findings.failed or findings.damaged:
        sys.exit(1)


def _told(found: Iterator[tuple[str, list[str]]]) -> Iterator[str]:
    for upload_id, problems in found:
        for problem in problems:
            if sys.stderr.isatty():
                click.echo("\r\x1b[K", nl=False, err=True)  # clears the progress bar, which is then drawn again
            click.echo(f"{upload_id}  {problem}")
        yield upload_id


_SELECTION = (
    click.option(
        "--status", type=click.Choice([status.value for status in Status]), help="Only uploads with this status."
    ),
    click.option("--owner", help="Only uploads of this owner."),
    click.option(
        "--processing",
        type=click.Choice([state.value for state in ProcessingState]),
        help="Only uploads that the app has marked with this state.",
    ),
    click.option("--storage", help="Only uploads in this storage, by its name."),
    click.option(
        "--older-than",
        type=click.FloatRange(0, _HOURS),
        metavar="HOURS",
        help="Only uploads created longer ago than that.",
    ),
    click.option(
        "--larger-than",
        type=click.IntRange(0, MAX_LENGTH),
        metavar="BYTES",
        help="Only uploads of more bytes than that, expected or received.",
    ),
    click.option("--expired", is_flag=True, help="Only uploads that 'delete_expired' would remove."),
    click.option("--stuck", is_flag=True, help="Only uploads that wait for a step that a crash or a hook interrupted."),
)


def _selecting(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select uploads."""
    return reduce(lambda function, option: option(function), reversed(_SELECTION), command)


def _selection(
    state: State,
    *,
    status: str | None,
    owner: str | None,
    processing: str | None,
    storage: str | None,
    older_than: float | None,
    larger_than: int | None,
    expired: bool,
    stuck: bool,
) -> Selection:
    now, placement = state.service.now(), state.storage.capabilities.placement
    storages: set[str | None] = set() if storage is None else {storage}
    if placement is not None and storage == placement.default:
        storages.add(None)
    return Selection(
        status=None if status is None else Status(status),
        owner=ANYBODY if owner is None else owner,
        processing=None if processing is None else ProcessingState(processing),
        storages=frozenset(storages),
        created_before=None if older_than is None else now - timedelta(hours=older_than),
        larger_than=larger_than,
        removable_at=now if expired else None,
        stuck_at=now if stuck else None,
    )


@tus_commands.command("list")
@_selecting
@click.option("--json", "as_json", is_flag=True, help="Print an object of JSON on each line.")
@BATCH
def list_uploads(as_json: bool, batch: int, **conditions: Any) -> None:
    """List uploads: id, status, bytes received and expected, expiry, name."""
    state = _state()
    selection = _selection(state, **conditions)
    for uploads in _pages("Listed", state, selection, batch, is_shown=not _is_terminal(sys.stdout)):
        click.echo("\n".join(json.dumps(_summary(upload)) if as_json else _line(upload) for upload in uploads))


def _is_terminal(stream: IO[str]) -> bool:
    return stream.isatty()


def _pages(
    label: str, state: State, selection: Selection, batch: int, *, is_shown: bool = True
) -> Iterator[Sequence[Upload]]:
    """Yield the selected uploads in pages. If that takes long, show how many there were so far, on a terminal."""
    after, count = "", 0
    is_shown = is_shown and _is_terminal(sys.stderr)
    began = time.monotonic()
    try:
        while uploads := state.repository.list(selection, limit=batch, after=after):
            yield uploads
            after, count = uploads[-1].id, count + len(uploads)
            if is_shown and time.monotonic() - began > _PATIENCE:
                click.echo(f"\r\x1b[K{label}: {count}", nl=False, err=True)
    finally:
        if is_shown:
            click.echo("\r\x1b[K", nl=False, err=True)


def _summary(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "status": upload.status.value,
        "owner": upload.owner,
        "filename": upload.metadata.filename,
        "storage": storage_of(upload.storage),
        "received": upload.received.total,
        "length": upload.length,
        "created_at": _time(upload.created_at),
        "expires_at": _expiry(upload),
    }


@tus_commands.command("stats")
@_selecting
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@BATCH
def stats(as_json: bool, batch: int, **conditions: Any) -> None:
    """Count uploads and their bytes by status, by storage, and for the ten owners with the most bytes."""
    found: dict[str, dict[str | None, tuple[int, int]]] = {"status": {}, "storage": {}, "owner": {}}
    state = _state()
    for page in _pages("Counted", state, _selection(state, **conditions), batch):
        for upload in page:
            size = upload.received.total
            keys = (upload.status.value, storage_of(upload.storage), upload.owner)
            for of_kind, key in zip(found.values(), keys, strict=True):
                before = of_kind.get(key, (0, 0))
                of_kind[key] = (before[0] + 1, before[1] + size)
    rows = [
        {"by": kind, "name": key, "uploads": uploads, "bytes": size}
        for kind, of_kind in found.items()
        for key, (uploads, size) in sorted(of_kind.items(), key=lambda item: -item[1][1])[:_TOP]
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        name = "-" if row["name"] is None else row["name"] if row["by"] == "status" else ascii(row["name"])
        click.echo(f"{row['by']:<7}  {name}  uploads: {row['uploads']}, bytes: {row['bytes']}")


@tus_commands.command("show")
@click.argument("upload_id", metavar="ID")
def show(upload_id: str) -> None:
    """Show all details of one upload, as JSON."""
    state = _state()
    try:
        upload = state.repository.get(upload_id)
    except UploadNotFound:
        raise _not_found(upload_id) from None
    known: dict[str, Any] = {
        "id": upload.id,
        "status": upload.status.value,
        **({} if upload.processing is None else {"processing": upload.processing.to_json()}),
        "owner": upload.owner,
        "filename": upload.metadata.filename,
        "metadata": dict(upload.metadata),
        "offset": upload.offset,
        "length": upload.length,
        "max_size": upload.max_size,
        "concat": None if upload.concat is None else upload.concat.raw,
        "created_at": _time(upload.created_at),
        "expires_at": _expiry(upload),
        "claimed_until": _time(upload.claimed_until),
        **_whereabouts(state.storage, upload),
    }
    click.echo(json.dumps(known, indent=2))


@tus_commands.command("mark")
@click.argument("upload_id", metavar="ID")
@click.argument("state", type=click.Choice([state.value for state in ProcessingState]))
@click.option("--reason", help="Why the processing has failed, for the person who uploads.")
def mark(upload_id: str, state: str, reason: str | None) -> None:
    """Say how far the app's processing of an upload is. Downloads wait for READY."""
    try:
        processing = Processing.of(state, reason)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not _state().repository.mark(upload_id, processing):
        raise _not_found(upload_id)


def _whereabouts(storage: Storage, upload: Upload) -> dict[str, Any]:
    """Return where the bytes are and what the storage has noted about them. Long lists are cut to their length."""
    path = location = None
    with suppress(Unavailable):  # its storage is not configured here; the notes still name it
        path = storage.path(upload)
        locations = storage.capabilities.locations
        location = None if locations is None else locations.location(upload)
    notes = {
        name: f"{len(value)} items" if isinstance(value, list | dict) and len(value) > 5 else value
        for name, value in upload.storage.items()
    }
    return {"path": None if path is None else str(path), "location": location, "storage": notes}


def _line(upload: Upload) -> str:
    length = "?" if upload.length is None else upload.length
    # ascii: the client's file name may contain control sequences that the terminal would obey.
    name = ascii(upload.metadata.filename) if upload.metadata.filename else "-"
    marked = "" if upload.processing is None else f"  {upload.processing.state.value}"
    if upload.processing is not None and upload.processing.reason is not None:
        marked += f" {ascii(upload.processing.reason)}"
    return f"{upload.id}  {upload.status.value:<9}  {upload.offset}/{length}  {_expiry(upload) or '-'}  {name}{marked}"


def _expiry(upload: Upload) -> str | None:
    """Return when it expires. The record of a complete upload keeps a time that no longer counts."""
    return _time(upload.expires_at) if upload.can_expire else None


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _show(label: str, work: Iterator[str]) -> None:
    """Run the work, with a progress bar if this is a terminal."""
    if sys.stderr.isatty():
        with click.progressbar(work, label=label, show_pos=True, file=sys.stderr) as items:
            deque(items, maxlen=0)
    else:
        deque(work, maxlen=0)


def _exit_if_failed(report: Report, verb: str) -> None:
    if report.failed:
        click.echo(f"Could not {verb}: {', '.join(report.failed)}. See the log for the reasons.", err=True)
        for hint in sorted(report.hints):
            click.echo(hint, err=True)
        sys.exit(1)

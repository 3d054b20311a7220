"""``flask tus ...``: what an operator does with uploads."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from datetime import timedelta
from typing import Any

import click
from flask.cli import AppGroup

from .abilities import Locates
from .abilities import Verifies
from .cleaning import Cleaner
from .cleaning import complete_pending as make_up_hooks
from .cleaning import Report
from .errors import Unavailable
from .errors import UploadNotFound
from .interfaces import Storage
from .sansio.upload import Status
from .sansio.upload import Upload
from .state import current_state
from .verifying import Findings
from .verifying import Verifier


class _DashedGroup(AppGroup):
    """Takes ``delete-expired`` for ``delete_expired``."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name.replace("-", "_"))


tus_commands = _DashedGroup("tus", help="Resumable uploads: look, clean up, make up for crashes.")

BATCH = click.option(
    "--batch", default=100, show_default=True, type=click.IntRange(1, 10_000), help="Records at a time."
)
ORPHANS_AFTER = click.option(
    "--orphans-after",
    default=24.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Hours after which unfinished bytes without a record are leftovers.",
)


@tus_commands.command("delete_expired")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@ORPHANS_AFTER
@BATCH
def delete_expired(dry_run: bool, orphans_after: float, batch: int) -> None:
    """Remove uploads that were not finished in time, and what they left on the disk.

    Never touches a finished upload, or one that is being written to. Safe beside live traffic and beside itself.
    """
    cleaner = Cleaner(current_state().service, batch=batch)
    if dry_run:
        uploads = bytes_freed = 0
        for upload in cleaner.expired():
            click.echo(_line(upload))
            uploads, bytes_freed = uploads + 1, bytes_freed + upload.received.total
        click.echo(f"{uploads} uploads ({bytes_freed} bytes) would be removed.")
        return
    report = Report()
    _show("Removing", cleaner.delete_expired(report, orphans_after=timedelta(hours=orphans_after)))
    click.echo(
        f"{report.removed} uploads removed, {report.orphans} leftovers removed ({report.bytes} bytes), "
        f"{report.busy} busy, {len(report.failed)} failed."
    )
    _exit_if_failed(report, "remove")


@tus_commands.command("complete_pending")
@BATCH
def complete_pending(batch: int) -> None:
    """Call the on_complete hooks that a crash or an error has left undone."""
    report = Report()
    _show("Completing", make_up_hooks(current_state().service, report, batch=batch))
    click.echo(f"{report.completed} uploads completed, {len(report.failed)} failed.")
    _exit_if_failed(report, "complete")


@tus_commands.command("verify")
@ORPHANS_AFTER
@BATCH
def verify(orphans_after: float, batch: int) -> None:
    """Hold the records against the bytes: is all there that was received?

    Looks at names and sizes, not at contents, and changes nothing. Safe beside live traffic. Exit code 1 if something
    is wrong, or could not be looked at.
    """
    state = current_state()
    if not isinstance(state.storage, Verifies):
        raise click.ClickException("This storage cannot be verified.")
    findings = Findings()
    verifier = Verifier(state.service, state.storage, findings, batch=batch)
    _show("Verifying", _told(verifier.run(orphans_after=timedelta(hours=orphans_after))))
    click.echo(
        f"{findings.verified} uploads verified, {len(findings.damaged)} damaged, {findings.busy} busy, "
        f"{len(findings.failed)} failed; {findings.orphans} leftovers, which delete_expired removes."
    )
    if findings.failed:
        click.echo(f"Could not verify: {', '.join(findings.failed)}. The log says why.", err=True)
    if findings.failed or findings.damaged:
        sys.exit(1)


def _told(found: Iterator[tuple[str, list[str]]]) -> Iterator[str]:
    for upload_id, problems in found:
        for problem in problems:
            if sys.stderr.isatty():
                click.echo("\r\x1b[K", nl=False, err=True)  # the line of the progress bar, which is drawn anew
            click.echo(f"{upload_id}  {problem}")
        yield upload_id


@tus_commands.command("list")
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only uploads in this state.")
@BATCH
def list_uploads(status: str | None, batch: int) -> None:
    """List uploads: id, status, bytes received and expected, expiry, name."""
    repository = current_state().repository
    after = ""
    while uploads := repository.list(status=status, limit=batch, after=after):
        for upload in uploads:
            click.echo(_line(upload))
        after = uploads[-1].id


@tus_commands.command("show")
@click.argument("upload_id", metavar="ID")
def show(upload_id: str) -> None:
    """Show all that is known of one upload, as JSON."""
    state = current_state()
    try:
        upload = state.repository.get(upload_id)
    except UploadNotFound:
        raise click.ClickException(f"There is no upload {upload_id!r}.") from None
    known: dict[str, Any] = {
        "id": upload.id,
        "status": upload.status.value,
        "owner": upload.owner,
        "filename": upload.metadata.filename,
        "metadata": dict(upload.metadata),
        "offset": upload.offset,
        "length": upload.length,
        "concat": None if upload.concat is None else upload.concat.raw,
        "created_at": _time(upload.created_at),
        "expires_at": _time(upload.expires_at),
        "claimed_until": _time(upload.claimed_until),
        **_whereabouts(state.storage, upload),
    }
    click.echo(json.dumps(known, indent=2))


def _whereabouts(storage: Storage, upload: Upload) -> dict[str, Any]:
    """Where the bytes are, and what the storage has noted of them; of long lists of parts only how long they are."""
    path = location = None
    with suppress(Unavailable):  # its storage is not set up here; the notes tell which it is
        path = storage.path(upload)
        location = storage.location(upload) if isinstance(storage, Locates) else None
    notes = {
        name: f"{len(value)} items" if isinstance(value, list | dict) and len(value) > 5 else value
        for name, value in upload.storage.items()
    }
    return {"path": None if path is None else str(path), "location": location, "storage": notes}


def _line(upload: Upload) -> str:
    length = "?" if upload.length is None else upload.length
    expires = _time(upload.expires_at) if upload.can_expire else None
    # repr: a client's name for a file may hold anything that a terminal obeys.
    name = ascii(upload.metadata.filename) if upload.metadata.filename else "-"
    return f"{upload.id}  {upload.status.value:<9}  {upload.offset}/{length}  {expires or '-'}  {name}"


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _show(label: str, work: Iterator[str]) -> None:
    """Do the work, with progress shown on a terminal and nothing elsewhere."""
    if sys.stderr.isatty():
        with click.progressbar(work, label=label, show_pos=True, file=sys.stderr) as items:
            deque(items, maxlen=0)
    else:
        deque(work, maxlen=0)


def _exit_if_failed(report: Report, verb: str) -> None:
    if report.failed:
        click.echo(f"Could not {verb}: {', '.join(report.failed)}. The log says why.", err=True)
        sys.exit(1)

"""`avm sync`: commit, fetch, merge, push."""

from __future__ import annotations

import sys

import click

from avm.api.syncing import readers, told
from avm.api.view import View
from avm.cli.door import Door, shared, warn


@click.command("sync")
@click.argument("remote", required=False)
@click.option(
    "--allow-unrelated-histories",
    is_flag=True,
    help="Merge also where the two have no commit in common.",
)
@click.option("--allow-loss", is_flag=True, help="Even if a side removed most of its memories.")
@shared
@click.pass_obj
def command(
    door: Door, remote: str | None, allow_unrelated_histories: bool, allow_loss: bool
) -> None:
    """Commit what waits, fetch from REMOTE, merge, and push; again if somebody else pushed first.

    REMOTE is a name or an address; default: sync.remote, else what git's branch follows. Memories
    merge by docs/sync-and-conflicts.md: a text that does not fit in is kept beside the memory (avm
    conflicts). What you staged or edited is not touched: if the remote changed it, nothing moves.
    """
    view = door.view()
    _tell_of_readers(view, remote)
    report = view.sync(
        remote,
        allow_unrelated_histories=allow_unrelated_histories,
        allow_loss=allow_loss,
        asking=sys.stdin.isatty(),
    )
    door.result(report, told(report))


def _tell_of_readers(view: View, remote: str | None) -> None:
    """Once for each remote: a question on a terminal, a line elsewhere."""
    line = view.first_sync_with(remote)
    if line is None:
        return
    url, agree = line
    said = readers(url)
    if sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(f"{said}. Sync?", abort=True, err=True)
    else:
        warn(said)
    agree()

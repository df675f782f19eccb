"""`avm restore`: bring a memory back."""

from __future__ import annotations

import click

from avm.base.errors import UsageError
from avm.cli.door import Door, shared, warn


@click.command("restore")
@click.argument("path", metavar="PATH[@REV]")
@click.option("--at", metavar="REV", help="The revision, where PATH itself holds an @.")
@click.option("--meta", is_flag=True, help="Only the front matter that a plain write dropped.")
@shared
@click.pass_obj
def command(door: Door, path: str, at: str | None, meta: bool) -> None:
    """Put a file back as it was at REV, in a new commit; without REV what rm, avm forget or an
    expiry took.

    An expiry that is past is taken out of the front matter. REV is as in avm show.
    """
    rel, rev = door.path_at(path, at)
    if meta and rev is not None:
        raise UsageError("--meta takes no revision: it finds the newest front matter by itself")
    view = door.view()
    done = view.restore_meta(rel) if meta else view.restore(rel, rev)
    door.result(done, f"{done}\n")
    for note in done.notes:
        warn(note)

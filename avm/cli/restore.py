"""`avm restore`: bring a memory back."""

from __future__ import annotations

import click

from avm.api.view import View
from avm.api.written import Restored
from avm.base.errors import UsageError
from avm.cli.door import Door, shared, warn


@click.command("restore")
@click.argument("path", metavar="PATH[@REV]")
@click.argument("more", nargs=-1, metavar="[PATH]...")
@click.option("--at", metavar="REV", help="The revision, where PATH itself holds an @.")
@click.option("--meta", is_flag=True, help="Only the front matter that a plain write dropped.")
@click.option(
    "--from", "rescue", metavar="RESCUE", help="As before a sync: its rescue's name, or latest."
)
@shared
@click.pass_obj
def command(
    door: Door, path: str, more: tuple[str, ...], at: str | None, meta: bool, rescue: str | None
) -> None:
    """Put files back as they were at REV, each in a new commit; without REV what rm, avm forget or
    an expiry took.

    An expiry that is past is taken out of the front matter. REV is as in avm show. avm sync names
    what it was before it moved anything; --from brings files of that back.
    """
    if sum((at is not None, meta, rescue is not None)) > 1:
        raise UsageError("give one of --at, --meta and --from")
    view = door.view()
    if rescue is not None:
        at = view.rescued_at(rescue)
    restored = [_restored(door, view, each, at, meta) for each in (path, *more)]
    door.result(restored if more else restored[0], "".join(f"{done}\n" for done in restored))
    for done in restored:
        for note in done.notes:
            warn(note)


def _restored(door: Door, view: View, path: str, at: str | None, meta: bool) -> Restored:
    rel, rev = door.path_at(path, at)
    if meta and rev is not None:
        raise UsageError("--meta takes no revision: it finds the newest front matter by itself")
    return view.restore_meta(rel) if meta else view.restore(rel, rev)

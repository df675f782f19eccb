"""`avm show`: a file as it was."""

from __future__ import annotations

import click

from avm.cli.door import Door, say, shared


@click.command("show")
@click.argument("path", metavar="PATH[@REV]")
@click.option("--at", metavar="REV", help="The revision, where PATH itself holds an @.")
@shared
@click.pass_obj
def command(door: Door, path: str, at: str | None) -> None:
    """Print a file as it was at REV, under the name it had then; without REV the newest committed.

    REV is a hash, ~3 (so many commits back), 2026-11-01, yesterday or 12h; for the owner also a
    branch or a tag.
    """
    rel, rev = door.path_at(path, at)
    data = door.view().show(rel, rev, zone=None)
    if door.as_json:
        text = data.decode("utf-8", "replace")
        door.result({"path": "/" + rel, "rev": rev, "text": text}, "")
    else:
        say(data)

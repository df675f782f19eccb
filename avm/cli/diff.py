"""`avm diff`: what changed in a file."""

from __future__ import annotations

import click

from avm.cli.door import Door, shared


@click.command("diff")
@click.argument("path")
@click.argument("old", metavar="REV", required=False)
@click.argument("new", metavar="REV", required=False)
@shared
@click.pass_obj
def command(door: Door, path: str, old: str | None, new: str | None) -> None:
    """Print what changed in PATH: between two REVs, or from one to now.

    Without any: what is not committed yet, else the newest change. Nothing is printed if there is
    no difference.
    """
    rel = door.rel(path)
    text = door.view().diff(rel, old, new, zone=None)
    door.result({"path": "/" + rel, "old": old, "new": new, "diff": text}, text)

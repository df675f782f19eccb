"""`avm gc`: remove expired memories from the tree."""

from __future__ import annotations

import sys

import click

from avm.cli.door import Door, shared


@click.command("gc")
@shared
@click.pass_obj
def command(door: Door) -> None:
    """Remove the expired memories under memory/ from the tree, in one commit.

    git keeps every version: avm restore PATH brings one back. Exits 1 if some must stay.
    """
    done = door.view().gc()
    lines = [*done.removed, *(f"left  {path}: {why}" for path, why in done.left.items())]
    door.result(done, "\n".join(lines or ["nothing has expired"]) + "\n")
    if done.left:
        sys.exit(1)

"""`avm conflicts`: what two sides wrote to one memory."""

from __future__ import annotations

import sys

import click

from avm.base.paths import printable
from avm.cli.door import Door, shared


@click.command("conflicts")
@click.argument("folder", required=False, default="")
@shared
@click.pass_obj
def command(door: Door, folder: str) -> None:
    """List the memories that two sides changed, in FOLDER and below: a line each, with where the
    other side's text was kept.

    avm resolve settles one. Exit code 1: there is none.
    """
    found = door.view().conflicts(door.rel(folder) if folder else "")
    lines = [f"{printable(path)}  {printable('; '.join(o))}\n" for path, o in found.items()]
    door.result(found, "".join(lines) or "no conflicts\n")
    if not found:
        sys.exit(1)

"""`avm forget`: remove memories; history keeps them."""

from __future__ import annotations

import click

from avm.cli.door import Door, shared


@click.command("forget")
@click.argument("path", nargs=-1, required=True)
@shared
@click.pass_obj
def command(door: Door, path: tuple[str, ...]) -> None:
    """Remove files from the vault. git keeps every version: avm restore PATH brings one back."""
    view = door.view()
    rels = [door.rel(name) for name in path]
    for rel in rels:
        view.forget(rel)
    gone = [f"/{rel}" for rel in rels]
    door.result(gone, "".join(f"{name}\n" for name in gone))

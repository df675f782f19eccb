"""`avm cat`: any file of the vault, any virtual node, with no mount."""

from __future__ import annotations

import click

from avm.cli.door import Door, say, shared
from avm.overlay import virtual


@click.command("cat")
@click.argument("path", nargs=-1, required=True)
@shared
@click.pass_obj
def command(door: Door, path: tuple[str, ...]) -> None:
    """Print files and virtual nodes: avm cat memory/shared/x.md, avm cat :recall:deploy.

    A PATH begins at the vault's root, or at the current folder if that is inside the vault or a
    mount of it.
    """
    view = door.view()
    for name in path:
        rel = door.rel(name)
        answer = virtual.read(view, rel)
        if door.as_json:
            door.result({"path": "/" + rel, "text": answer.data.decode("utf-8", "replace")}, "")
        else:
            say(answer.data)
        if answer.read_whole:
            answer.read_whole()

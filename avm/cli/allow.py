"""`avm allow`: let files be committed that look as if they held a secret."""

from __future__ import annotations

import click

from avm.base import paths
from avm.cli.door import Door, shared


@click.command("allow")
@click.argument("path", nargs=-1, required=True)
@shared
@click.pass_obj
def command(door: Door, path: tuple[str, ...]) -> None:
    """Let each PATH be committed and synced as it is now, whatever secret it seems to hold.

    It goes by content: when the file changes it is looked at again. What you have staged of it is
    allowed too. With --agent only what that agent may write.
    """
    view = door.view()
    lines, told = [], []
    for name in path:
        shown = paths.display(door.rel(name))
        found = view.allow(shown)
        told.append({"path": shown, "allowed": found})
        what = "; ".join(map(str, found))
        lines.append(f"allowed {shown}: {what}" if found else f"{shown}: nothing to allow")
    door.result(told, "\n".join(lines) + "\n")

"""`avm purge`: how to take a file out of history for good."""

from __future__ import annotations

import click

from avm.cli.door import Door, shared


@click.command("purge")
@click.argument("path")
@shared
@click.pass_obj
def command(door: Door, path: str) -> None:
    """Say how to rewrite history without a file, for a secret that got into it. Does nothing."""
    rel = door.rel(path)
    text = door.view().purge_help(rel)
    door.result({"path": f"/{rel}", "how": text}, text)

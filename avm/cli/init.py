"""`avm init`: make a vault, or adopt what is there."""

from __future__ import annotations

from pathlib import Path

import click

from avm.base import config
from avm.cli.door import Door, shared, warn
from avm.vault import init
from avm.vault.network import unsafe_because


@click.command("init")
@click.argument("path", required=False)
@click.option("--undo", is_flag=True, help="Take an adoption back; files and commits stay.")
@shared
@click.pass_obj
def command(door: Door, path: str | None, undo: bool) -> None:
    """Make a vault at PATH (default ~/avm), or adopt the repository or notes that are there.

    Adopting touches no file: it sets avm.vault in the repository's own git config.
    """
    settings = config.from_process({"vault": path or door.vault})
    root = Path(settings["vault"] or config.default_vault()).absolute()
    if undo:
        line = init.unadopt(root, settings["state_dir"])
        door.result({"vault": str(root), "did": "undone"}, line + "\n")
        return
    vault, how = init.init(root, settings["state_dir"])
    lines = {
        "made": f"{vault.root} is a new vault\n",
        "adopted": f"{vault.root} is a vault now; avm init --undo {vault.root} takes that back\n",
        "found": f"{vault.root} is a vault already\n",
    }
    door.result({"vault": str(vault.root), "did": how}, lines[how])
    if why := unsafe_because(vault.state_dir):
        warn(f"{vault.root}: {why}; set AVM_STATE_DIR to a local folder")

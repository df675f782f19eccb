"""`avm clone`: a vault from somewhere else."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from avm.base import config
from avm.cli.door import Door, shared
from avm.vault import cloning

_TOLD = {
    "cloned": "{} is a vault now\n",
    "adopted": "{0} is a vault now; avm init --undo {0} takes that back\n",
    "made": "{} is a new vault now, as the repository was empty; avm sync sends it\n",
}


@click.command("clone")
@click.argument("url")
@click.argument("path", required=False)
@shared
@click.pass_obj
def command(door: Door, url: str, path: str | None) -> None:
    """Clone the vault at URL into PATH, with git's hooks, the merge driver and the index.

    PATH is by default a folder of the URL's last name. A repository that is no vault becomes one
    as by avm init: none of its files is touched. An empty one gets a new vault's files.
    """
    root = Path(path or cloning.folder_of(url)).absolute()
    settings = config.from_process({})
    vault, how = cloning.clone(url, root, settings["state_dir"], asking=sys.stdin.isatty())
    door.vault = str(vault.root)
    door.view().index()
    door.result({"vault": str(vault.root), "did": how}, _TOLD[how].format(vault.root))

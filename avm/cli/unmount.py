"""`avm unmount`: take a mount away."""

from __future__ import annotations

from pathlib import Path

import click

from avm.base.config import mount_registry
from avm.cli.door import Door, shared


@click.command("unmount")
@click.argument("mountpoint", metavar="MOUNT")
@shared
@click.pass_obj
def command(door: Door, mountpoint: str) -> None:
    """Unmount MOUNT and wait until its last memories are committed; a stale mount goes too."""
    from avm.fuse import mounts

    line = mounts.unmount(Path(mountpoint), registry_dir=mount_registry())
    door.result({"mountpoint": mountpoint, "did": line}, line + "\n")

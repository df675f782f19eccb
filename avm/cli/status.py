"""`avm status`: what is mounted, stale, indexed, waiting, unparsable."""

from __future__ import annotations

import dataclasses

import click

from avm.api import Status
from avm.base.config import mount_registry
from avm.cli.door import Door, shared
from avm.fuse.registry import Registration, read_all
from avm.overlay.nodes.status import as_text


@click.command("status")
@shared
@click.pass_obj
def command(door: Door) -> None:
    """Say what is mounted, indexed, not committed yet, expired and unreadable.

    An agent hears of its own mounts and memories alone.
    """
    view = door.view()
    status, agent = view.status(), view.viewer.agent
    mounts = [
        mount
        for mount in read_all(mount_registry())
        if str(mount.vault) == status.vault and agent in (None, mount.agent)
    ]
    value = dataclasses.asdict(status) | {"mounts": [m._asdict() for m in mounts]}
    door.result(value, _places(status, mounts) + as_text(status))


def _places(status: Status, mounts: list[Registration]) -> str:
    kind = "adopted repository" if status.adopted else "vault"
    lines = [f"{kind}  {status.vault}"]
    for mount in mounts:
        state = "stale: avm mount it again or avm unmount it" if mount.stale else "mounted"
        lines.append(f"{state}  {mount.mountpoint}  for {mount.agent or 'the owner'}")
    if not mounts:
        lines.append("mounted  nowhere")
    return "\n".join(lines) + "\n"

"""`avm status`: what is mounted, stale, indexed, waiting, unparsable."""

from __future__ import annotations

import dataclasses

import click

from avm.api import Status
from avm.base.config import mount_registry
from avm.cli.door import Door, shared
from avm.fuse.registry import Registration, read_all

_SHOWN = 10


@click.command("status")
@shared
@click.pass_obj
def command(door: Door) -> None:
    """Say what is mounted, indexed, not committed yet, expired and unreadable."""
    status = door.view().status()
    mounts = [m for m in read_all(mount_registry()) if str(m.vault) == status.vault]
    value = dataclasses.asdict(status) | {"mounts": [dataclasses.asdict(m) for m in mounts]}
    door.result(value, _as_text(status, mounts))


def _as_text(status: Status, mounts: list[Registration]) -> str:
    kind = "adopted repository" if status.adopted else "vault"
    lines = [f"{kind}  {status.vault}"]
    for mount in mounts:
        state = "stale: avm mount it again or avm unmount it" if mount.stale else "mounted"
        lines.append(f"{state}  {mount.mountpoint}  for {mount.agent or 'the owner'}")
    if not mounts:
        lines.append("mounted  nowhere")
    lines.append(f"indexed  {status.memories} memories, {status.passages} passages")
    if status.notice:
        lines.append(f"notice   {status.notice}")
    lines.append(f"semantic {status.semantic}")
    if status.embedded < status.passages:
        missing = status.passages - status.embedded
        lines.append(f"         {missing} passages without embedding: avm index --wait")
    waiting = [f"{path}: {reason}" for path, reason in sorted(status.waiting.items())]
    if status.blocked:
        lines.append(f"commits wait: {status.blocked}")
    lines += _listed("not committed", waiting)
    lines += _listed("expired", list(status.expired))
    lines += _listed("unreadable", [f"{path}: {problem}" for path, problem in status.unreadable])
    return "\n".join(lines) + "\n"


def _listed(what: str, items: list[str]) -> list[str]:
    if not items:
        return []
    lines = [f"{what}  {len(items)}", *(f"  {item}" for item in items[:_SHOWN])]
    if len(items) > _SHOWN:
        lines.append(f"  and {len(items) - _SHOWN} more (--json lists all)")
    return lines

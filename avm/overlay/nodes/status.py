"""`:status`: what is not committed and why, how it stands to the remote, what has expired."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import Status, View
from avm.api.facts import Synced
from avm.base.paths import clean_rel, printable
from avm.base.times import format_instant
from avm.overlay.names import Node

_SHOWN = 10


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """The state of the folder `rel`."""
    return as_text(view.status(clean_rel(rel)))


def as_text(status: Status) -> str:
    """A status in lines, long lists cut; where the vault and its mounts are is for the caller."""
    lines = [f"indexed  {status.memories} memories, {status.passages} passages"]
    if status.notice:
        lines.append(f"notice   {status.notice}")
    lines.append(f"keeper   {status.keeper}")
    lines.append(f"semantic {status.semantic}")
    if status.embedded < status.passages:
        missing = status.passages - status.embedded
        lines.append(f"         {missing} passages without embedding: avm index --wait")
    lines += _sync(status.sync) if status.sync else []
    lines += [f"quota    {status.quota}"] if status.quota else []
    waiting = [f"{path}: {reason}" for path, reason in sorted(status.waiting.items())]
    if status.blocked:
        lines.append(f"commits wait: {status.blocked}")
    lines += _listed("not committed", waiting)
    lines += _listed("conflicts (avm resolve)", list(status.conflicts))
    lines += _listed("expired", list(status.expired))
    lines += _listed("unreadable", [f"{path}: {problem}" for path, problem in status.unreadable])
    lines += _listed("front matter dropped (avm restore --meta)", list(status.dropped))
    moved = [f"{path}: {place}" for path, place in status.rescued]
    lines += _listed("moved out of a new file's way", moved)
    lines += _listed("refused", [f"{path}: {why}" for path, why in status.refused])
    return "\n".join(lines) + "\n"


def _sync(sync: Synced) -> list[str]:
    """How the vault stands to its remote."""
    at = f"last {format_instant(sync.at)}" if sync.at else "never yet"
    line = f"sync     {printable(sync.remote)}, {at}"
    if sync.ahead is not None and sync.behind is not None:
        line += f"; {sync.ahead} ahead, {sync.behind} behind"
    if sync.error is None:
        return [line]
    when = f" {format_instant(sync.failed_at)}" if sync.failed_at else ""
    return [line, f"         failed{when}: {printable(sync.error)}"]


def _listed(what: str, items: list[str]) -> list[str]:
    if not items:
        return []
    lines = [f"{what}  {len(items)}", *(f"  {printable(item)}" for item in items[:_SHOWN])]
    if len(items) > _SHOWN:
        lines.append(f"  and {len(items) - _SHOWN} more (avm status --json lists all)")
    return lines


NODE = Node(
    name="status",
    place="folder",
    doc="what is not committed and why, the last sync, conflicts, what has expired, what cannot be"
    " read, what was refused",
    examples=(":status",),
    render=render,
    parameters={},
)

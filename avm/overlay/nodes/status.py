"""`:status`: what is not committed and why, what has expired, what cannot be read."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import Status, View
from avm.base.paths import clean_rel, printable
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
    waiting = [f"{path}: {reason}" for path, reason in sorted(status.waiting.items())]
    if status.blocked:
        lines.append(f"commits wait: {status.blocked}")
    lines += _listed("not committed", waiting)
    lines += _listed("expired", list(status.expired))
    lines += _listed("unreadable", [f"{path}: {problem}" for path, problem in status.unreadable])
    lines += _listed("front matter dropped (avm restore --meta)", list(status.dropped))
    moved = [f"{path}: {place}" for path, place in status.rescued]
    lines += _listed("moved out of a new file's way", moved)
    lines += _listed("refused", [f"{path}: {why}" for path, why in status.refused])
    return "\n".join(lines) + "\n"


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
    doc="what is not committed and why, what has expired, what cannot be read, what was refused",
    examples=(":status",),
    render=render,
    parameters={},
)

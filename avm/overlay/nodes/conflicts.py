"""`:conflicts`: what two sides wrote to one memory, and nobody has settled."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.names import Node


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """A line a memory, with the other side's text where it was kept beside it."""
    lines = [f"{path}  {'; '.join(others)}\n" for path, others in view.conflicts(rel).items()]
    return "".join(lines) or "No conflicts.\n"


NODE = Node(
    name="conflicts",
    place="folder",
    doc="memories that two sides changed: the path, then the other side's text or what git says",
    examples=(":conflicts",),
    render=render,
    parameters={},
)

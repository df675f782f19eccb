"""`:stats`: how much there is."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.names import Node


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """Counts, then one line a folder."""
    stats = view.stats(rel)
    lines = [f"memories {stats.memories}", f"bytes {stats.bytes}", f"tags {stats.tags}"]
    lines += [f"{count} {folder}" for folder, count in stats.folders.items()]
    return "\n".join(lines) + "\n"


NODE = Node(
    name="stats",
    place="folder",
    doc="how many memories, bytes and tags, and memories by folder",
    examples=(":stats",),
    render=render,
    parameters={},
)

"""`:tags`: every tag with its number of memories."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.names import Node


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """One line a tag, most used first."""
    tags = view.tags(rel)
    return "".join(f"{count} {tag}\n" for tag, count in tags.items()) or "No tags yet.\n"


NODE = Node(
    name="tags",
    place="folder",
    doc="tags with the number of memories that carry each, most first",
    examples=(":tags",),
    render=render,
    parameters={},
)

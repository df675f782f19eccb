"""`:list`: the memories of a folder, one line each."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.names import Node


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """The day of change, importance, path and title of each memory in `rel`."""
    found = view.memories(rel, **arguments)  # type: ignore[arg-type]  # values are checked there
    lines = []
    for one in found:
        importance = "-" if one.importance is None else f"{one.importance:.2f}"
        title = " ".join(one.title.split())
        lines.append(f"{one.changed:%Y-%m-%d} {importance:>4} {one.path}  {title}\n")
    return "".join(lines) or "No memories.\n"


NODE = Node(
    name="list",
    place="folder",
    doc="the memories, one line each: day of change, importance, path, title",
    examples=(":list", ":list?sort=changed&limit=20", ":list:tag=trading,sort=importance"),
    render=render,
    parameters={
        "sort": "path (default), changed: the newest first, or importance",
        "tag": "only with this tag or one below it",
        "limit": "the most lines",
        "offset": "lines left out before",
    },
)

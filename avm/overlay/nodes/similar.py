"""`x.md:similar`: the memories that are like one."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.hits import similar_lines
from avm.overlay.names import Node


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """A line a memory, the likest first."""
    return similar_lines(view.similar(rel))


NODE = Node(
    name="similar",
    place="file",
    doc="the memories that are like it in meaning or words: score, path with line, title",
    examples=("rsi_rule.md:similar",),
    render=render,
    parameters={},
)

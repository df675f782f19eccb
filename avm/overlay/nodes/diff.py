"""`x.md:diff`: what changed in one memory."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.names import Node


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """What is not committed yet, else the newest change, as a unified diff."""
    return view.diff(rel)


NODE = Node(
    name="diff",
    place="file",
    doc="what is not committed yet, else its newest change, as a unified diff",
    examples=("rsi_rule.md:diff",),
    render=render,
    parameters={},
    gone=True,
)

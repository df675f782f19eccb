"""`x.md:meta`: front matter and facts of one memory, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from avm.api import View
from avm.overlay.names import Node


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """The facts of the memory `rel`."""
    return json.dumps(view.meta(rel), ensure_ascii=False, indent=2) + "\n"


NODE = Node(
    name="meta",
    place="file",
    doc="front matter and facts of the memory as JSON",
    examples=("rsi_rule.md:meta",),
    render=render,
    parameters={},
)

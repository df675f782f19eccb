"""`x.md:body`: the text of one memory without its front matter."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.names import Node


def render(view: View, rel: str, arguments: Mapping[str, str]) -> bytes:
    """The bytes below the front matter."""
    return view.body(rel)


def write(view: View, rel: str, data: bytes, added: bool) -> None:
    """Write them, or add some; the front matter stays as it is."""
    view.set_body(rel, data, add=added)


NODE = Node(
    name="body",
    place="file",
    doc="the text without front matter",
    examples=("rsi_rule.md:body",),
    render=render,
    parameters={},
    write=write,
    takes="the new text; the front matter stays; with >> it is added",
    several=True,
)

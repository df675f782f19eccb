"""`x.md:ttl`: when one memory expires."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.names import Node, one_line


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """The instant, or `never`."""
    return view.ends(rel) + "\n"


def write(view: View, rel: str, data: bytes, added: bool) -> None:
    """Set it, from now on."""
    view.set_ttl(rel, one_line(data))


NODE = Node(
    name="ttl",
    place="file",
    doc="when it expires, in UTC, or never",
    examples=("rsi_rule.md:ttl",),
    render=render,
    parameters={},
    write=write,
    takes="a duration from now on, such as 30d or 12h, a date, or never",
)

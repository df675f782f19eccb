"""`:delta` and `x.md:delta`: what has changed since it was last read here."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.base.errors import UsageError
from avm.overlay.names import Answer, Node

_PEEK = {"peek": "1: it is told again the next time"}


def render(view: View, rel: str, arguments: Mapping[str, str]) -> Answer:
    """A line a memory; of a memory a unified diff. Read to its end, it is not told again."""
    peek = arguments.get("peek", "0")
    if peek not in ("0", "1"):
        raise UsageError(f"peek {peek!r}: use 1, or 0")
    news = view.news(rel)
    data = news.text.encode("utf-8", "surrogateescape")
    return Answer(data, None if peek == "1" else news.mark)


NODE = Node(
    name="delta",
    place="folder",
    doc="what changed since it was last read here to its end: + new, ~ changed, - gone, > moved",
    examples=(":delta", ":delta?peek=1"),
    render=render,
    parameters=_PEEK,
)
OF_FILE = Node(
    name="delta",
    place="file",
    doc="what changed in it since it was last read here to its end, as a unified diff",
    examples=("rsi_rule.md:delta",),
    render=render,
    parameters=_PEEK,
)

"""`x.md:links` and `x.md:backlinks`: what a memory links to, and what links to it."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.names import Node, text_of


def _links(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    return _lines(view.links(rel), "It links to no memory.")


def _backlinks(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    return _lines(view.backlinks(rel), "No memory links to it.")


def _write(view: View, rel: str, data: bytes, added: bool) -> None:
    view.add_links(rel, [line for line in text_of(data).split("\n") if line.strip()])


def _lines(found: list[str], none: str) -> str:
    return "".join(f"{path}\n" for path in found) or f"{none}\n"


LINKS = Node(
    name="links",
    place="file",
    doc="the memories that it links to, a path a line",
    examples=("rsi_rule.md:links",),
    render=_links,
    parameters={},
    write=_write,
    takes="paths or titles, one a line: they are added to the front matter's links",
)
BACKLINKS = Node(
    name="backlinks",
    place="file",
    doc="the memories that link to it, a path a line",
    examples=("rsi_rule.md:backlinks",),
    render=_backlinks,
    parameters={},
)

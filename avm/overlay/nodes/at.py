"""`x.md:at:REV`: a memory as it was; `/:at:REV/…`: everything as it was (avm.overlay.past)."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.names import Node

_REV = "a hash, ~3, 2026-11-01, yesterday, 12h; %2F is a slash"


def render(view: View, rel: str, arguments: Mapping[str, str]) -> bytes:
    """The bytes of the file at that revision."""
    return view.show(rel, arguments["rev"])


def _render_folder(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    raise IsADirectoryError(rel)


NODE = Node(
    name="at",
    place="file",
    doc="the file as it was at REV, under the name it had then",
    examples=("rsi_rule.md:at:yesterday", "rsi_rule.md:at:~3", "rsi_rule.md:at:2026-11-01"),
    render=render,
    parameters={"rev": _REV},
    value="rev",
    gone=True,
)
FOLDER = Node(
    name="at",
    place="root",
    doc="in the root: a read-only folder, the whole tree as it was at REV",
    examples=(":at:yesterday", ":at:4f2c1e"),
    render=_render_folder,
    parameters={"rev": _REV},
    value="rev",
)

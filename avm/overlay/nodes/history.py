"""`x.md:history`: the commits of one memory."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.api.past import SHORT
from avm.base import paths
from avm.base.times import format_instant
from avm.overlay.names import Node


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """A line a commit, newest first; a name that the file had before stands at the end."""
    lines = []
    for commit in view.history(rel):
        older = "" if commit.path == paths.display(rel) else f"  ({commit.path})"
        when = format_instant(commit.when)
        lines.append(f"{commit.hash[:SHORT]}  {when}  {commit.author}  {commit.subject}{older}\n")
    return "".join(lines) or "Not committed yet.\n"


NODE = Node(
    name="history",
    place="file",
    doc="its commits, newest first: hash, time (UTC), author, subject; renames are followed",
    examples=("rsi_rule.md:history",),
    render=render,
    parameters={},
    gone=True,
)

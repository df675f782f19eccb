"""`:search`: ranked hits, one line each."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.hits import as_lines
from avm.overlay.names import Node

_HOW = """\
Ask here:  cat ':search?NVDA risk'   cat ':search?query=NVDA+risk&limit=3'
without quotes:  cat :search:NVDA+risk,limit=3
A line is: score (0-1 of the best hit), path with the line, the passage that matches.
"""


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """The hits in the folder `rel`; without a query, how to ask."""
    text = arguments.get("query", "")
    if not text.strip():
        return _HOW
    limit: str | int = arguments.get("limit", 10)
    return as_lines(view.search(text, limit, folder=rel), text)  # type: ignore[arg-type]


NODE = Node(
    name="search",
    place="folder",
    doc="ranked hits: score, path with line, the matching passage; bare: how to ask",
    examples=(":search?RSI", ":search?query=RSI&limit=10", ":search:NVDA+risk,limit=5"),
    render=render,
    parameters={"query": "what to look for (also q)", "limit": "the most hits, default 10"},
    words=True,
)

"""`:recall`: what answers a question, within a token budget."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.base.errors import UsageError
from avm.base.paths import clean_rel
from avm.overlay.names import Node


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """The packed answer from the folder `rel`; without a query what is important and recent."""
    query, strategy = arguments.get("query", ""), arguments.get("strategy", "balanced")
    budget: int = arguments.get("max_tokens")  # type: ignore[assignment]  # checked and named there
    format, folder = arguments.get("format", "markdown"), clean_rel(rel)
    if _explains(arguments.get("explain", "0")):
        why = view.explained_recall(query, budget, strategy, folder=folder, format=format)
        return why.as_text()
    return view.recall(query, budget, strategy, folder=folder, format=format)


def _explains(value: str) -> bool:
    if value not in ("0", "1"):
        raise UsageError(f"explain {value!r}: use 1, or 0")
    return value == "1"


NODE = Node(
    name="recall",
    place="folder",
    doc="the passages that answer, within a token budget; bare: the most important and recent",
    examples=(
        ":recall?query=NVDA+risk&max_tokens=2000&strategy=recency",
        ":recall:NVDA+risk,max_tokens=500",
        ":recall?query=NVDA+risk&explain=1",
        ":recall",
    ),
    render=render,
    parameters={
        "query": "the question (also q)",
        "max_tokens": "the budget in o200k tokens, default 2000",
        "strategy": "balanced, relevance, recency or importance",
        "format": "markdown, or plain: the passages alone",
        "explain": "1: why each memory came or did not",
    },
    words=True,
)

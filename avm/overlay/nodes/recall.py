"""`:recall`: what answers a question, within a token budget."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.base.paths import clean_rel
from avm.overlay.names import Node


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """The packed answer from the folder `rel`; without a query what is important and recent."""
    budget = arguments.get("max_tokens")
    return view.recall(
        arguments.get("query", ""),
        budget,  # type: ignore[arg-type]  # checked and named there
        arguments.get("strategy", "balanced"),
        folder=clean_rel(rel),
    )


NODE = Node(
    name="recall",
    place="folder",
    doc="the passages that answer, within a token budget; bare: the most important and recent",
    examples=(
        ":recall?query=NVDA+risk&max_tokens=2000&strategy=recency",
        ":recall:NVDA+risk,max_tokens=500",
        ":recall",
    ),
    render=render,
    parameters={
        "query": "the question (also q)",
        "max_tokens": "the budget in o200k tokens, default 2000",
        "strategy": "balanced, recency or importance",
    },
    words=True,
)

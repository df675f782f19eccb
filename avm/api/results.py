"""What a question is answered with. Paths are vault paths: `/memory/…`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hit:
    """A memory that matches. `score` is 0–1 of the best hit; compare it within one answer only."""

    path: str
    score: float
    snippet: str
    title: str
    line: int


@dataclass(frozen=True)
class Recalled:
    """An answer within its budget. `tokens` is an upper bound of its o200k tokens; `ranked_by` is
    `text` or `text+vectors`."""

    text: str
    tokens: int
    passages: int
    memories: int
    ranked_by: str

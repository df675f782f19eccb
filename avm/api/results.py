"""What a search is answered with. Paths are vault paths: `/memory/…`."""

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

"""What is alike. Paths are vault paths: `/memory/…`; lines are counted in the file, from 1."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Alike:
    """A memory that is like another: `score` is 0–1, `line` where its likest passage begins."""

    path: str
    line: int
    title: str
    score: float


@dataclass(frozen=True)
class Similar:
    """The memories that are like one, likest first; `by`: `text` or `text+vectors`."""

    by: str
    memories: tuple[Alike, ...]


@dataclass(frozen=True)
class AlikePair:
    """Two memories with passages that are alike: `score` is 0–1."""

    score: float
    path: str
    line: int
    other: str
    other_line: int


@dataclass(frozen=True)
class SimilarPairs:
    """Memories that are alike, likest first; `by`: `text` or `text+vectors`; `note`: what was not
    compared, a line, if anything was not."""

    by: str
    pairs: tuple[AlikePair, ...]
    note: str | None = None

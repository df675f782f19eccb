"""Why one memory did or did not come: the first reason that holds, in the order in which they are
looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from avm.base import paths
from avm.base.paths import display
from avm.index.text import NO_WORDS, Condition, Filter, Words
from avm.recall.explain import ExplainedHit, condition_text, fate_line, term_text
from avm.recall.fates import Fate, Kind
from avm.recall.scoring import MIN_COSINE
from avm.recall.versions import successors

if TYPE_CHECKING:
    from avm.index.index import Index, MemoryRow
    from avm.recall.candidates import Near
    from avm.recall.query import Query

#: Passages of one memory that are looked at.
_MOST_PASSAGES = 1_000


@dataclass(frozen=True)
class Why:
    """Why the memory at `path` did or did not come.

    `fate` is one of `fates.Kind`, `because_of` what it gave way to: memories, or the filters that
    it does not pass. It is the `rank`th of `of` memories that could answer, of which the budget of
    `max_tokens` held `held`; None if it could not. `expired` is the instant. `cosine` is how near
    its nearest passage is, where nothing found it and meaning took part. `reader` is the agent for
    whom it was asked. `hit` has its numbers.
    """

    path: str
    fate: str
    because_of: tuple[str, ...] = ()
    rank: int | None = None
    of: int = 0
    held: int = 0
    max_tokens: int = 0
    expired: str | None = None
    cosine: float | None = None
    ranked_by: str = ""
    semantic: str = ""
    reader: str | None = None
    hit: ExplainedHit | None = None

    @property
    def verdict(self) -> str:
        """The reason, in a line."""
        place = f"{_ordinal(self.rank)} of {self.of}" if self.rank else ""
        match Kind(self.fate):
            case Kind.PACKED:
                return f"packed, {place}"
            case Kind.BUDGET:
                return f"budget ({place}; the budget of {self.max_tokens} held {self.held})"
            case Kind.EMPTY:
                return f"empty: there is no text in it to show ({place})"
            case Kind.EXPIRED:
                return f"expired on {self.expired}"
            case Kind.FILTERED:
                return f"filtered out: it does not pass {', '.join(self.because_of)}"
            case Kind.IGNORED:
                return self._ignored()
            case Kind.ACCESS:
                return f"access: {self.reader} may not read it"
            case Kind.OUTRANKED:
                return "outranked: so much answers better that it was not looked at"
            case Kind.UNMATCHED:
                return self._unmatched()
        return fate_line(self.fate, self.because_of)

    def _ignored(self) -> str:
        if not paths.is_memory(self.path):
            return "no memory: its name does not end in .md"
        return "ignored: by git's rules, .avmignore, or for its name"

    def _unmatched(self) -> str:
        none = "none of the words stands in it"
        if not self.ranked_by.endswith("vectors"):
            return f"{none} (ranked by text alone; semantic {self.semantic})"
        if self.cosine is None:
            return f"{none}, and it has no embedding yet (ranked by {self.ranked_by})"
        near = f"cosine {self.cosine:.3f}, the least is {MIN_COSINE}"
        return f"{none} and its meaning is not near ({near}; ranked by {self.ranked_by})"

    def as_text(self) -> str:
        """The same for people: the verdict, and its numbers if there are any."""
        lines = [f"{self.path}: {self.verdict}"]
        if self.hit:
            lines.append(self.hit.as_line())
        return "".join(f"{line}\n" for line in lines)


def filters_failed(index: Index, query: Query, where: Filter, row: MemoryRow) -> tuple[str, ...]:
    """What of a query's filters and of the folder asked in the memory does not pass."""
    return tuple(
        shown for shown, filter in _filters(query, where) if not index.openings([row.id], filter)
    )


def _filters(query: Query, where: Filter) -> Iterator[tuple[str, Filter]]:
    everything = where.access()
    if where.scope:
        yield f"folder {display(where.scope)}", everything._replace(scope=where.scope)
    for group in where.groups():
        shown = " or ".join(map(condition_text, group))
        yield shown, everything._replace(conditions=tuple(group))
    for term in query.without.terms:
        yield f"-{term_text(term)}", everything._replace(without=Words((term,)))


def no_candidate(
    index: Index, query: Query, where: Filter, near: Near | None, row: MemoryRow
) -> tuple[Fate, float | None]:
    """Why a memory that passes all filters was not among what could answer, and how near its
    meaning is. Call it in the snapshot of the question."""
    cosine = None
    if query.question:
        alone = where.access().asking((Condition("path", row.path),), NO_WORDS)
        cosine = _nearest(index, alone, near, row)
        hits = index.search(query.words, alone, _MOST_PASSAGES)
        named = any(hit.memory_id == row.id for hit in hits)
        if not named and (cosine is None or cosine < MIN_COSINE):
            return Fate(Kind.UNMATCHED), cosine
    newer = successors(index, where, {row.id}).get(row.id)
    if newer:
        current = (facts.path for facts in index.facts(newer).values())
        return Fate(Kind.SUPERSEDED, tuple(sorted(current))), cosine
    return Fate(Kind.OUTRANKED), cosine


def _nearest(index: Index, alone: Filter, near: Near | None, row: MemoryRow) -> float | None:
    """The cosine of the memory's nearest passage, None if there is none."""
    cosines = near(alone, _MOST_PASSAGES, ()) if near else None
    if not cosines:
        return None
    own = [hit.chunk_id for hit in index.hits(cosines, alone) if hit.memory_id == row.id]
    return max((cosines[chunk_id] for chunk_id in own), default=None)


def _ordinal(number: int) -> str:
    teens = 10 <= number % 100 <= 20
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"

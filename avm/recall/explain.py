"""Why an answer is what it is: what was looked for, what each part gave each memory, and what
became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from avm.base.paths import display
from avm.base.times import format_instant, instant_of
from avm.index.index import Index
from avm.index.text import Condition, Term
from avm.recall import scoring
from avm.recall.candidates import Candidate, Scored, best_of_each, load
from avm.recall.fates import Fate, Kind
from avm.recall.packing import Packed
from avm.recall.query import Query
from avm.recall.scoring import Scale, Weights
from avm.recall.trail import Trail


@dataclass(frozen=True)
class ExplainedHit:
    """A memory by its best passage, at `line`.

    `rank` counts memories from 1, None for one that gave way to a newer one. `score` is relevance ×
    `importance_factor` × `recency_factor` under the strategy `balanced`; that a pinned memory comes
    before all others is not in it. `relevance` (0–1 of the best one's) is made of `text` (BM25, 0–1
    of the best one's), `cosine` (nearness in meaning), None where it was not found that way, and of
    what `neighbours`, its `document` and a `field` add; None if a pin or a link alone brought it.
    `bm25` is for the owner alone: it depends on texts that others may not see. `days`: since it
    changed. `linked_from` links to it, `replaces` gave way to it.

    `fate`: `packed`, or why it was left out, one of `fates.Kind`; None for a search. `because_of`:
    the memories that it gave way to.
    """

    path: str
    line: int
    rank: int | None
    score: float
    relevance: float | None
    text: float | None
    bm25: float | None
    cosine: float | None
    neighbours: float
    document: float
    field: float
    importance: float | None
    importance_factor: float
    days: int
    recency_factor: float
    pinned: bool
    linked_from: str | None
    replaces: tuple[str, ...]
    fate: str | None
    because_of: tuple[str, ...]

    def as_line(self) -> str:
        """The same for people."""
        rank = "-" if self.rank is None else f"{self.rank}."
        fate = "" if self.fate is None else f" {fate_line(self.fate, self.because_of)}:"
        return (
            f"{rank} {self.score:.3f} {self.path}#L{self.line} {fate}"
            f" {', '.join([*self._found_by(), *self._weighed()])}"
        )

    def _found_by(self) -> list[str]:
        found = ["pinned"] if self.pinned else []
        if self.linked_from:
            found.append(f"linked from {self.linked_from}")
        if self.replaces:
            found.append(f"in place of {' '.join(self.replaces)}")
        if self.text is not None:
            raw = "" if self.bm25 is None else f" (BM25 {self.bm25:.3g})"
            found.append(f"text {self.text:.2f}{raw}")
        if self.cosine is not None:
            found.append(f"cosine {self.cosine:.3f}")
        bonuses = (
            ("neighbours", self.neighbours),
            ("document", self.document),
            ("field", self.field),
        )
        return found + [f"{name} +{value:.2f}" for name, value in bonuses if value]

    def _weighed(self) -> list[str]:
        weighed = [] if self.relevance is None else [f"relevance {self.relevance:.2f}"]
        if self.importance_factor != 1.0:
            weighed.append(f"importance ×{self.importance_factor:.2f}")
        return [*weighed, f"recency ×{self.recency_factor:.2f} ({self.days} d)"]


@dataclass(frozen=True)
class Explained:
    """Why an answer is what it is: `words` looked for, `filters` that memories passed, `strategy`,
    `semantic`: whether meaning took part (`on`, `off (reason)`), and the memories, best first.

    `max_tokens` and `tokens` are a recall's budget and what its answer costs, None for a search.
    """

    words: tuple[str, ...]
    filters: tuple[str, ...]
    ranked_by: str
    semantic: str
    strategy: str
    max_tokens: int | None
    tokens: int | None
    hits: tuple[ExplainedHit, ...]

    def as_text(self) -> str:
        """The same for people, a line each."""
        lines = [
            f"words: {', '.join(self.words) or '(none)'}",
            f"filters: {', '.join(self.filters) or '(none)'}",
            f"ranked by: {self.ranked_by}",
            f"semantic: {self.semantic}",
        ]
        if self.max_tokens is not None:
            ranked = [hit for hit in self.hits if hit.rank is not None]
            packed = sum(hit.fate == Kind.PACKED.value for hit in ranked)
            lines += [
                f"strategy: {self.strategy}",
                f"packed: {packed} of {len(ranked)}, {self.tokens} of {self.max_tokens} tokens",
            ]
        lines += [hit.as_line() for hit in self.hits]
        return "".join(f"{line}\n" for line in lines)


def fate_line(fate: str, because_of: Sequence[str]) -> str:
    """`packed`, `budget`, `superseded by /memory/…`."""
    preposition = {"superseded": "by", "duplicate": "of"}.get(fate)
    return f"{fate} {preposition} {' '.join(because_of)}" if preposition else fate


class Judged(NamedTuple):
    """A memory that could answer, by its best passage, and what became of it. Paths are rels."""

    candidate: Candidate
    rank: int | None
    fate: Fate | None
    linked_from: str | None
    replaces: tuple[str, ...]


def judged(index: Index, found: Sequence[Scored], trail: Trail, packed: Packed) -> list[Judged]:
    """What became of all that took part in a recall, and of what gave way before, best first.

    Call it in the snapshot of the recall.
    """
    ranks = {item.path: n for n, item in enumerate(best_of_each(found, len(found)), 1)}
    old = [item for item in trail.superseded if item.path not in ranks]
    best = best_of_each(sorted([*found, *old]), len(found) + len(old))
    heirs = {heir for item in old for heir in trail.newer[item.hit.memory_id]}
    names = {memory_id: facts.path for memory_id, facts in index.facts(heirs).items()}
    replaces: dict[int, dict[str, None]] = {}
    for item in old:
        for heir in trail.newer[item.hit.memory_id]:
            replaces.setdefault(heir, {})[item.path] = None
    result = []
    for candidate in load(index, best):
        memory = candidate.memory
        fate = packed.fates.get(memory.path, Fate(Kind.BUDGET))
        if memory.path not in ranks:
            newer = sorted(names[heir] for heir in trail.newer[memory.id])
            fate = Fate(Kind.SUPERSEDED, tuple(newer))
        alone = not candidate.scored.relevance.total
        linked_from = trail.linked.get(memory.id) if alone else None
        instead_of = tuple(replaces.get(memory.id, ()))
        result.append(Judged(candidate, ranks.get(memory.path), fate, linked_from, instead_of))
    return result


def ranked(index: Index, found: Sequence[Scored]) -> list[Judged]:
    """The same of what a search found, which packs nothing: each memory once, best first."""
    loaded = load(index, found)
    return [Judged(candidate, n, None, None, ()) for n, candidate in enumerate(loaded, 1)]


class Scales(NamedTuple):
    """What a passage's numbers are seen against; `raw`: whether BM25 itself may be told."""

    weights: Weights
    scale: Scale
    raw: bool

    @classmethod
    def of(cls, weights: Weights, found: Sequence[Scored], trail: Trail, *, raw: bool) -> Scales:
        """Those of one question; `raw` for the owner."""
        everything = (*found, *trail.superseded)
        cosines = [item.cosine for item in everything if item.cosine is not None]
        return cls(weights, Scale.of((item.hit.score for item in everything), cosines), raw)


def hit(item: Judged, scales: Scales, *, asked: bool) -> ExplainedHit:
    """A memory for whoever asks; `asked`: whether there was anything to be relevant to."""
    memory, passage, scored = item.candidate
    weights, found = scales.weights, scored.relevance
    bm25, importance = scored.text, scored.importance
    recency = scoring.recency_factor(scored.days, weights.recency, weights.half_life_days)
    fate = item.fate
    return ExplainedHit(
        path=display(memory.path),
        line=passage.first_line,
        rank=item.rank,
        score=round(scored.score % scoring.PINNED, 6),
        relevance=round(scored.share, 6) if found.total or not asked else None,
        text=None if bm25 is None else round(scales.scale.by_text(bm25), 6),
        bm25=None if bm25 is None or not scales.raw else round(bm25, 6),
        cosine=None if scored.cosine is None else round(scored.cosine, 6),
        neighbours=round(found.neighbours, 6),
        document=round(found.document, 6),
        field=round(found.field, 6),
        importance=importance,
        importance_factor=round(scoring.importance_factor(importance, weights.importance), 6),
        days=scored.days,
        recency_factor=round(recency, 6),
        pinned=bool(memory.pinned),
        linked_from=None if item.linked_from is None else display(item.linked_from),
        replaces=tuple(map(display, item.replaces)),
        fate=None if fate is None else fate.kind.value,
        because_of=() if fate is None else tuple(map(display, fate.paths)),
    )


def words_of(query: Query) -> tuple[str, ...]:
    """What a query looks for, as it may be written."""
    return tuple(map(term_text, query.words.terms))


def filters_of(query: Query) -> tuple[str, ...]:
    """What memories must be for it, as it may be written."""
    without = [f"-{term_text(term)}" for term in query.without.terms]
    return (*map(condition_text, query.conditions), *without)


def term_text(term: Term) -> str:
    """One thing to look for, as it may be written."""
    return f'"{term.text}"' if " " in term.text else term.text


def condition_text(condition: Condition) -> str:
    """One filter, as it may be written."""
    key, value = condition.key, condition.value
    if key in ("since", "before") and isinstance(value, float):
        value = format_instant(instant_of(value))
    shown = f"{key}{value}" if key.startswith("importance") else f"{key}:{value}"
    return f"-{shown}" if condition.negated else shown

"""Why an answer is what it is: what was looked for, and what each factor gave each memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avm.base.paths import display
from avm.base.times import format_instant, instant_of
from avm.index.text import Condition, Term
from avm.recall import scoring
from avm.recall.candidates import Scored
from avm.recall.query import Query


@dataclass(frozen=True)
class ExplainedHit:
    """A memory by its best passage, at `line`.

    `text` is its BM25, for an agent its share (0–1) of the best one's, and `cosine` its nearness in
    meaning, None for what did not find it; `relevance` (0–1) is made of these. `score` is relevance
    × `importance_factor` × `recency_factor` under the strategy `balanced`. `days`: since it
    changed.
    """

    path: str
    line: int
    score: float
    text: float | None
    cosine: float | None
    relevance: float
    importance: float | None
    importance_factor: float
    days: int
    recency_factor: float


@dataclass(frozen=True)
class Explained:
    """Why memories were found: `words` looked for, `filters` that they passed, `semantic`: whether
    meaning took part (`on (model)`, `off (reason)`), and the hits, best first."""

    words: tuple[str, ...]
    filters: tuple[str, ...]
    ranked_by: str
    semantic: str
    hits: tuple[ExplainedHit, ...]

    def as_text(self) -> str:
        """The same for people, a line each."""
        lines = [
            f"words: {', '.join(self.words) or '(none)'}",
            f"filters: {', '.join(self.filters) or '(none)'}",
            f"ranked by: {self.ranked_by}",
            f"semantic: {self.semantic}",
        ]
        for hit in self.hits:
            text = "-" if hit.text is None else f"{hit.text:.3f}"
            cosine = "-" if hit.cosine is None else f"{hit.cosine:.3f}"
            lines.append(
                f"{hit.score:.3f} {hit.path}#L{hit.line}"
                f"  text {text} cosine {cosine} relevance {hit.relevance:.2f}"
                f" importance ×{hit.importance_factor:.2f} recency ×{hit.recency_factor:.2f}"
                f" ({hit.days} d)"
            )
        return "".join(f"{line}\n" for line in lines)


def explain(
    query: Query,
    found: Sequence[Scored],
    lines: Sequence[int],
    ranked_by: str,
    semantic: str,
    *,
    in_full: bool,
) -> Explained:
    """What `found` was found by; `lines` are where its passages begin.

    Not `in_full`: no BM25, which counts the words of memories too that the viewer may not see.
    """
    unit = 1.0 if in_full else max((item.text or 0.0 for item in found), default=0.0)
    hits = [
        ExplainedHit(
            path=display(item.path),
            line=line,
            score=item.score,
            text=None if item.text is None else round(item.text / unit, 6),
            cosine=None if item.cosine is None else round(item.cosine, 6),
            relevance=round(item.relevance, 6),
            importance=item.importance,
            importance_factor=round(scoring.importance_factor(item.importance), 6),
            days=item.days,
            recency_factor=round(scoring.recency_factor(item.days), 6),
        )
        for item, line in zip(found, lines, strict=True)
    ]
    filters = [_condition(condition) for condition in query.conditions]
    filters += [f"-{_term(term)}" for term in query.without.terms]
    return Explained(
        tuple(map(_term, query.words.terms)), tuple(filters), ranked_by, semantic, tuple(hits)
    )


def _term(term: Term) -> str:
    return f'"{term.text}"' if " " in term.text else term.text


def _condition(condition: Condition) -> str:
    key, value = condition.key, condition.value
    if key in ("since", "before") and isinstance(value, float):
        value = format_instant(instant_of(value))
    shown = f"{key}{value}" if key.startswith("importance") else f"{key}:{value}"
    return f"-{shown}" if condition.negated else shown

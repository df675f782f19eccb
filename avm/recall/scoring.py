"""Scores: relevance × importance × recency, each a small pure function.

The factors of importance and recency stay near 1, so that they order what matches about as well but
never bury the one memory that answers.
"""

from __future__ import annotations

import enum
import math
from functools import lru_cache
from typing import NamedTuple

from avm.base.errors import UsageError
from avm.base.importance import DEFAULT_IMPORTANCE

#: Weights of full text and of embeddings in a passage's relevance, when it has both. Measured on
#: conversations: a little more for meaning than for words.
TEXT_WEIGHT, VECTOR_WEIGHT = 0.4, 0.6
#: A passage found by meaning alone must be at least this near (cosine): MiniLM gives unrelated
#: sentences some -0.1 to 0.1.
MIN_COSINE = 0.15
#: Days in which what is new about a memory halves.
HALF_LIFE_DAYS = 90.0
SECONDS_A_DAY = 86_400
#: Under RECENCY and IMPORTANCE a memory is a match if it is this relevant, of the best's 1.
_MATCH_SHARE = 0.3


class ScoringStrategy(enum.Enum):
    """How matches are ordered."""

    RECENCY = "recency"
    IMPORTANCE = "importance"
    BALANCED = "balanced"

    @classmethod
    def of(cls, value: ScoringStrategy | str) -> ScoringStrategy:
        """A strategy from its name in any letter case. Raises UsageError that lists them."""
        if isinstance(value, cls):
            return value
        try:
            return cls(str(value).lower())
        except ValueError:
            names = ", ".join(strategy.value for strategy in cls)
            raise UsageError(f"strategy {value!r}: use one of {names}") from None


class Evidence(NamedTuple):
    """What speaks for a passage: BM25 (larger is better) and cosine, None where it has none."""

    text: float | None
    cosine: float | None


class Scale(NamedTuple):
    """The range of the evidence among the candidates of one query."""

    best_text: float
    low_cosine: float
    high_cosine: float

    @classmethod
    def of(cls, evidence: list[Evidence]) -> Scale:
        """The range over all candidates."""
        texts = [e.text for e in evidence if e.text is not None]
        cosines = [e.cosine for e in evidence if e.cosine is not None]
        return cls(max(texts, default=0.0), min(cosines, default=0.0), max(cosines, default=0.0))


def relevance(evidence: Evidence, scale: Scale, *, vectors: bool) -> float:
    """0–1: BM25 over the best BM25, cosine min-max scaled, joined by the weights above.

    `vectors`: whether the query was embedded at all; without, text alone decides.
    """
    text = 0.0
    if evidence.text is not None and scale.best_text > 0:
        text = max(0.0, evidence.text) / scale.best_text
    if not vectors:
        return text
    span = scale.high_cosine - scale.low_cosine
    cosine = 0.0
    if evidence.cosine is not None:
        cosine = (evidence.cosine - scale.low_cosine) / span if span > 0 else 1.0
    return TEXT_WEIGHT * text + VECTOR_WEIGHT * cosine


def age_days(changed: float, now: float) -> int:
    """Whole days since `changed` (seconds since the epoch); the future counts as today."""
    return max(0, day_of(now) - day_of(changed))


def day_of(instant: float) -> int:
    """The day, in days since the epoch, UTC."""
    return int(instant // SECONDS_A_DAY)


def importance_factor(importance: float | None) -> float:
    """0.8–1.2, linear; 1.0 at the default importance of 0.5."""
    return 0.8 + 0.4 * (DEFAULT_IMPORTANCE if importance is None else importance)


def recency_factor(days: int) -> float:
    """0.85–1.15: 0.85 + 0.3 · 2^(−days / HALF_LIFE_DAYS)."""
    return 0.85 + 0.3 * math.exp2(-days / HALF_LIFE_DAYS)


@lru_cache(4096)
def weight(importance: float | None, days: int) -> float:
    """What a memory's importance and recency make of its relevance."""
    return importance_factor(importance) * recency_factor(days)


def balanced(relevant: float, weight: float) -> float:
    """The score under BALANCED, rounded to 1e-6 so that every machine orders alike."""
    return round(relevant * weight, 6)


def score(strategy: ScoringStrategy, relevant: float, importance: float | None, days: int) -> float:
    """A score, larger is better, rounded to 1e-6 so that every machine orders alike.

    BALANCED is relevance × importance × recency. RECENCY and IMPORTANCE order what matches by that
    property; relevance breaks ties, and what hardly matches comes after.
    """
    value = balanced(relevant, weight(importance, days))
    if strategy is ScoringStrategy.BALANCED:
        return value
    if relevant < _MATCH_SHARE:
        return round(value * 0.1, 6)
    if strategy is ScoringStrategy.RECENCY:
        key = math.exp2(-days / HALF_LIFE_DAYS)
    else:
        key = DEFAULT_IMPORTANCE if importance is None else importance
    return round(1.0 + key + 0.001 * value, 6)

"""Scores: relevance × importance × recency, each a small pure function.

Relevance is what full text and meaning say of a passage, and of what stands around it. The factors
of importance and recency stay near 1, so that they order what matches about as well but never bury
the one memory that answers.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from avm.base.errors import UsageError
from avm.base.importance import DEFAULT_IMPORTANCE
from avm.base.times import SECONDS_A_DAY

if TYPE_CHECKING:
    from avm.base.config import Config

#: A passage found by meaning alone must be at least this near (cosine): MiniLM gives unrelated
#: sentences some -0.1 to 0.1.
MIN_COSINE = 0.15
#: What being pinned adds to a score: more than any other has.
PINNED = 10_000.0
#: Older than some 270 years is as old as that.
_MOST_DAYS = 100_000
#: Under RECENCY and IMPORTANCE a memory is a match if what speaks for it itself is at least this
#: much of what speaks for the best.
MATCH_SHARE = 0.3


class ScoringStrategy(enum.Enum):
    """How matches are ordered."""

    RECENCY = "recency"
    IMPORTANCE = "importance"
    BALANCED = "balanced"
    RELEVANCE = "relevance"

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


# Looking one up in the enumeration takes as long as a score does.
_RELEVANCE, _BALANCED = ScoringStrategy.RELEVANCE, ScoringStrategy.BALANCED
#: The strategies that order what matches by a property, and by relevance only where it is the same.
ORDERED = (ScoringStrategy.RECENCY, ScoringStrategy.IMPORTANCE)


class Weights(NamedTuple):
    """What each part counts. All are settings, `recall.<name>`; docs/recall.md has what each part
    gains and how the defaults were found."""

    text: float = 0.5
    meaning: float = 0.5
    neighbour: float = 0.2
    document: float = 0.5
    field: float = 0.2
    link: float = 0.3
    importance: float = 0.4
    recency: float = 0.2
    half_life_days: float = 365.0

    @classmethod
    def of(cls, config: Config) -> Weights:
        """The weights that are configured."""
        shares = (float(config[f"recall.{name}"]) for name in cls._fields[:-1])
        days = config["recall.half_life"].total_seconds() / SECONDS_A_DAY
        return cls._make((*shares, days))


class Scale(NamedTuple):
    """The range of the evidence among the candidates of one query: BM25, larger is better, and
    cosines."""

    best_text: float
    low_cosine: float
    high_cosine: float

    @classmethod
    def of(cls, texts: Iterable[float], cosines: Collection[float]) -> Scale:
        """The range over all candidates."""
        best = max(texts, default=0.0)
        return cls(max(0.0, best), min(cosines, default=0.0), max(cosines, default=0.0))

    def by_text(self, text: float) -> float:
        """0–1: BM25 over the best BM25."""
        return max(0.0, text) / self.best_text if self.best_text else 0.0

    def by_meaning(self, cosine: float | None) -> float:
        """0–1: the cosine from the least to the greatest among the candidates; 0 for none."""
        if cosine is None:
            return 0.0
        span = self.high_cosine - self.low_cosine
        return (cosine - self.low_cosine) / span if span > 0 else 1.0


class Relevance(NamedTuple):
    """What each part gives a passage; `total` is their sum.

    `text` and `meaning` speak for the passage itself; `neighbours` is what speaks for the passages
    beside it, `document` for the best of its file or episode, `field` that the question names it.
    """

    text: float = 0.0
    meaning: float = 0.0
    neighbours: float = 0.0
    document: float = 0.0
    field: float = 0.0

    @property
    def own(self) -> float:
        """What speaks for the passage itself."""
        return self.text + self.meaning

    @property
    def total(self) -> float:
        """All of it."""
        return self.text + self.meaning + self.neighbours + self.document + self.field


def age_days(changed: float, now: float) -> int:
    """Whole days since `changed` (seconds since the epoch); the future counts as today."""
    return max(0, day_of(now) - day_of(changed))


def day_of(instant: float) -> int:
    """The day, in days since the epoch, UTC."""
    return int(instant // SECONDS_A_DAY)


def importance_factor(importance: float | None, spread: float) -> float:
    """1 + spread · (importance − 0.5): 1.0 at the default importance of 0.5."""
    known = DEFAULT_IMPORTANCE if importance is None else importance
    return 1.0 + spread * (known - DEFAULT_IMPORTANCE)


def recency_factor(days: int, spread: float, half_life_days: float) -> float:
    """1 + spread · (2^(−days / half life) − 0.5): 1.0 after one half life.

    Exponential forgetting, as in Park et al., Generative Agents (2023), kept within `spread`.
    """
    return 1.0 + spread * (math.exp2(-days / half_life_days) - 0.5)


@lru_cache(4096)
def weight(importance: float | None, days: int, weights: Weights) -> float:
    """What a memory's importance and recency make of its relevance."""
    important = importance_factor(importance, weights.importance)
    return important * recency_factor(days, weights.recency, weights.half_life_days)


def score(
    strategy: ScoringStrategy,
    relevance: float,
    importance: float | None,
    days: int,
    weights: Weights,
    *,
    matches: bool = True,
) -> float:
    """A score, larger is better, rounded to 1e-6 so that every machine orders alike.

    BALANCED is relevance × importance × recency, RELEVANCE the first alone. RECENCY and IMPORTANCE
    order what `matches` by that property; relevance breaks ties, and what hardly matches comes
    after.
    """
    if strategy is _RELEVANCE:
        return round(relevance, 6)
    value = relevance * weight(importance, days, weights)
    if strategy is _BALANCED:
        return round(value, 6)
    if not matches:
        return round(value * 0.1, 6)
    return round(order(strategy, importance, days) + 0.001 * value, 6)


def order(strategy: ScoringStrategy, importance: float | None, days: int) -> float:
    """The part of a match's score that relevance has no say in: 0 but for RECENCY and IMPORTANCE.

    A day is 0.01, an importance 10 for each 0.01; what relevance adds stays below either.
    """
    if strategy is ScoringStrategy.RECENCY:
        return 10.0 + 1000 * (1.0 - min(days, _MOST_DAYS) / _MOST_DAYS)
    if strategy is ScoringStrategy.IMPORTANCE:
        return 10.0 + 1000 * (DEFAULT_IMPORTANCE if importance is None else importance)
    return 0.0

"""Scores and strategies, as pure functions."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avm.base.config import Config
from avm.base.errors import UsageError
from avm.recall.scoring import (
    Scale,
    ScoringStrategy,
    Weights,
    age_days,
    importance_factor,
    recency_factor,
)
from avm.recall.scoring import score as plain_score

units = st.floats(0, 1)
days = st.integers(0, 5_000)
BALANCED, RECENCY = ScoringStrategy.BALANCED, ScoringStrategy.RECENCY
score = partial(plain_score, weights=Weights())


@given(units, units, days, days)
def test_more_important_or_newer_is_never_worse(a: float, b: float, x: int, y: int) -> None:
    low, high = sorted((a, b))
    assert importance_factor(low, 0.4) <= importance_factor(high, 0.4)
    new, old = sorted((x, y))
    assert recency_factor(old, 0.3, 90) <= recency_factor(new, 0.3, 90)


def test_importance_and_recency_order_what_matches_alike() -> None:
    assert score(BALANCED, 0.7, 0.9, 10) > score(BALANCED, 0.7, 0.3, 10)
    assert score(BALANCED, 0.7, 0.5, 1) > score(BALANCED, 0.7, 0.5, 365)


def test_the_one_right_old_memory_is_not_buried() -> None:
    assert score(BALANCED, 1.0, 0.3, 365) > score(BALANCED, 0.5, 0.9, 0)


def test_a_weight_of_nothing_takes_a_factor_out() -> None:
    flat = Weights(importance=0.0, recency=0.0)
    for importance, age in ((0.0, 900), (1.0, 0), (None, 3)):
        assert plain_score(BALANCED, 0.7, importance, age, flat) == 0.7


@given(units, units, days)
def test_relevance_alone_counts_where_it_is_asked_for(share: float, other: float, age: int) -> None:
    assert score(ScoringStrategy.RELEVANCE, share, other, age) == round(share, 6)


def test_strategies_order_matches_by_their_property() -> None:
    importance = ScoringStrategy.IMPORTANCE
    assert score(RECENCY, 0.4, 0.1, 1) > score(RECENCY, 1.0, 1.0, 30)
    assert score(RECENCY, 0.4, 0.1, 3_000) > score(RECENCY, 1.0, 1.0, 3_001)
    assert score(importance, 0.4, 0.9, 900) > score(importance, 1.0, 0.8, 0)
    for strategy in (RECENCY, importance):
        hardly = score(strategy, 1.0, 1.0, 0, matches=False)
        assert score(strategy, 0.4, 0.0, 5_000) > hardly > 0


@given(st.lists(st.floats(-1, 50)), st.lists(st.floats(-1, 1)))
def test_what_speaks_for_a_passage_is_a_share(texts: list[float], cosines: list[float]) -> None:
    scale = Scale.of(texts, cosines)
    assert all(0 <= scale.by_text(text) <= 1 for text in [*texts, 0.0])
    assert all(0 <= scale.by_meaning(cosine) <= 1 + 1e-9 for cosine in cosines)
    assert scale.by_meaning(None) == 0


def test_ages_are_whole_days_and_the_future_is_today() -> None:
    assert age_days(86_399, 86_400) == 1
    assert age_days(86_400, 86_400 + 86_399) == 0
    assert age_days(1e12, 0) == 0


def test_the_settings_default_to_the_weights() -> None:
    assert Weights.of(Config()) == Weights()


def test_strategy_names() -> None:
    assert ScoringStrategy.of("Recency") is ScoringStrategy.RECENCY
    with pytest.raises(UsageError, match="use one of recency, importance, balanced, relevance"):
        ScoringStrategy.of("loud")

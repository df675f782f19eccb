"""Scores and strategies, as pure functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avm.base.errors import UsageError
from avm.recall.scoring import (
    Evidence,
    Scale,
    ScoringStrategy,
    age_days,
    importance_factor,
    recency_factor,
    relevance,
    score,
)

units = st.floats(0, 1)
days = st.integers(0, 5_000)
BALANCED = ScoringStrategy.BALANCED


@given(units, units, days, days)
def test_more_important_or_newer_is_never_worse(a: float, b: float, x: int, y: int) -> None:
    low, high = sorted((a, b))
    assert importance_factor(low) <= importance_factor(high)
    new, old = sorted((x, y))
    assert recency_factor(old) <= recency_factor(new)


def test_importance_and_recency_order_what_matches_alike() -> None:
    assert score(BALANCED, 0.7, 0.9, 10) > score(BALANCED, 0.7, 0.3, 10)
    assert score(BALANCED, 0.7, 0.5, 1) > score(BALANCED, 0.7, 0.5, 365)


def test_the_one_right_old_memory_is_not_buried() -> None:
    assert score(BALANCED, 1.0, 0.3, 365) > score(BALANCED, 0.5, 0.9, 0)


def test_strategies_order_matches_by_their_property() -> None:
    recency, importance = ScoringStrategy.RECENCY, ScoringStrategy.IMPORTANCE
    assert score(recency, 0.4, 0.1, 1) > score(recency, 1.0, 1.0, 30)
    assert score(importance, 0.4, 0.9, 900) > score(importance, 1.0, 0.8, 0)
    for strategy in (recency, importance):
        assert score(strategy, 0.4, 0.0, 5_000) > score(strategy, 0.1, 1.0, 0)


@given(st.lists(st.builds(Evidence, st.floats(0, 50) | st.none(), st.floats(-1, 1) | st.none())))
def test_relevance_is_a_share(found: list[Evidence]) -> None:
    scale = Scale.of(found)
    for evidence in found:
        assert 0 <= relevance(evidence, scale, vectors=False) <= 1
        assert 0 <= relevance(evidence, scale, vectors=True) <= 1 + 1e-9


def test_ages_are_whole_days_and_the_future_is_today() -> None:
    assert age_days(86_399, 86_400) == 1
    assert age_days(86_400, 86_400 + 86_399) == 0
    assert age_days(1e12, 0) == 0


def test_strategy_names() -> None:
    assert ScoringStrategy.of("Recency") is ScoringStrategy.RECENCY
    with pytest.raises(UsageError, match="use one of recency, importance, balanced"):
        ScoringStrategy.of("loud")

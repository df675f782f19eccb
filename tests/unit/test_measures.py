"""The measures of retrieval, by examples worked out by hand."""

from __future__ import annotations

import math

import pytest

from avm.bench.measures import covered, mean, ndcg_at, recall_at, reciprocal_rank

NONE: frozenset[str] = frozenset()


def held(*hits: str) -> list[frozenset[str]]:
    """`ab` is a hit that holds the evidence a and b, `-` one that holds none."""
    return [NONE if hit == "-" else frozenset(hit) for hit in hits]


def test_a_text_is_covered_whole_or_not_whatever_its_white_space() -> None:
    answer = "1 passage\n\nAda: I planted\ntomatoes   today. …"
    assert covered(["I planted tomatoes today."], answer) == 1
    assert covered(["I planted  tomatoes\ntoday.", "tomatoes today. Yes."], answer) == 0.5
    assert covered(["i planted tomatoes today."], answer) == 0


def test_the_share_of_the_evidence_in_the_first_hits() -> None:
    ranking = held("-", "a", "a", "bc")
    assert [recall_at(ranking, "abcd", k) for k in (1, 2, 3, 4, 10)] == [0, 0.25, 0.25, 0.75, 0.75]
    assert recall_at([], "a", 10) == 0


def test_the_reciprocal_rank_is_of_the_first_hit_that_holds_any() -> None:
    assert reciprocal_rank(held("a", "b")) == 1
    assert reciprocal_rank(held("-", "-", "b", "a")) == pytest.approx(1 / 3)
    assert reciprocal_rank(held("-", "-")) == 0


def test_dcg_over_that_of_an_ideal_ranking() -> None:
    assert ndcg_at(held("a", "b", "-"), 2, 10) == 1
    assert ndcg_at(held("-", "a"), 1, 10) == pytest.approx(1 / math.log2(3))
    # (1/log2 2 + 1/log2 5) / (1/log2 2 + 1/log2 3)
    assert ndcg_at(held("a", "-", "-", "b"), 2, 10) == pytest.approx(1.43068 / 1.63093, abs=1e-5)


def test_a_hit_gains_nothing_by_what_is_held_already_or_stands_too_low() -> None:
    assert ndcg_at(held("ab", "a", "b"), 1, 10) == 1
    assert ndcg_at(held("a", "a"), 2, 10) == pytest.approx(1 / 1.63093, abs=1e-5)
    assert ndcg_at(held("-", "a"), 1, 1) == 0


def test_an_ideal_ranking_has_no_more_hits_than_are_looked_at() -> None:
    assert ndcg_at(held("a", "b"), 5, 2) == 1


def test_the_mean_of_answers() -> None:
    assert mean([True, False, False, True]) == 0.5

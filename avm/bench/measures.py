"""How well what was found answers a question whose evidence is known: pure functions, 0–1 each.

A ranking is a list of hits, best first, each as the ids of the evidence that it holds (mostly
none). The measures are those of information retrieval; see Manning, Raghavan, Schütze,
"Introduction to Information Retrieval" (2008), chapter 8, and Järvelin, Kekäläinen, "Cumulated
gain-based evaluation of IR techniques", ACM TOIS 20 (2002), for the last.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from avm.bench.locomo import one_line


def covered(texts: Collection[str], answer: str) -> float:
    """The share of `texts` that stand in `answer` whole, whatever white space is between words."""
    read = one_line(answer)
    return mean([one_line(text) in read for text in texts])


def recall_at(ranking: Sequence[Collection[str]], evidence: Collection[str], k: int) -> float:
    """|evidence that the first `k` hits hold| / |evidence|."""
    held = {one for hit in ranking[:k] for one in hit}
    return len(held & set(evidence)) / len(set(evidence))


def reciprocal_rank(ranking: Sequence[Collection[str]]) -> float:
    """1 / the rank, from 1, of the first hit that holds any; 0 if none does. Its mean is MRR."""
    return next((1 / rank for rank, hit in enumerate(ranking, 1) if hit), 0.0)


def ndcg_at(ranking: Sequence[Collection[str]], ideal: int, k: int) -> float:
    """DCG / the DCG of an ideal ranking, over the first `k` hits: DCG = Σ gain / log2(rank + 1).

    The gain is 1 for a hit that holds evidence which no hit before it held, else 0. An ideal
    ranking begins with `ideal` (at least 1) such hits: one for each memory that holds evidence.
    """
    seen: set[str] = set()
    gains = []
    for hit in ranking[:k]:
        gains.append(not seen.issuperset(hit))
        seen.update(hit)
    return _dcg(gains) / _dcg([True] * min(ideal, k))


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean of one or more values."""
    return sum(values) / len(values)


def _dcg(gains: Iterable[bool]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))

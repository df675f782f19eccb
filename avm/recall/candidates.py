"""Which passages may answer: from full text and from embeddings, filtered before every top-k."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from avm.index.fulltext import TextHit
from avm.index.index import Index, MemoryRow, PassageRow
from avm.index.text import Filter
from avm.recall import scoring
from avm.recall.links import Resolver
from avm.recall.query import Query
from avm.recall.scoring import Evidence, Scale, ScoringStrategy

#: Passages looked at from each source.
_DEPTH = 200
#: Candidates whose texts are read at a time: an answer seldom needs more.
_BATCH = 16
_MOST_WEIGHED = 20_000

#: `near(where, limit, also)`: the cosine by chunk id of the `limit` passages that are nearest to
#: the query of all that `where` lets through, and of those of `also` that have a vector. None:
#: meaning takes no part after all.
Near = Callable[[Filter, int, Sequence[int]], Mapping[int, float] | None]


class Scored(NamedTuple):
    """A passage that may answer, and why; `relevance` is 0–1, `days` the age of its memory.

    They sort as they answer: best first, ties by path and place, so that every door answers alike.
    """

    score_below_zero: float
    path: str
    ordinal: int
    hit: TextHit
    cosine: float | None
    relevance: float
    importance: float | None
    days: int

    @property
    def score(self) -> float:
        """The score, larger is better."""
        return -self.score_below_zero

    @property
    def text(self) -> float | None:
        """Its BM25, None if no word found it."""
        return self.hit.score or None


class Candidate(NamedTuple):
    """A passage with its memory and its score."""

    memory: MemoryRow
    passage: PassageRow
    score: float


def find(
    index: Index, query: Query, where: Filter, strategy: ScoringStrategy, near: Near | None
) -> list[Scored]:
    """The passages that may answer `query`, best first; superseded memories are left out.

    `where` is what the viewer may see; the query narrows it. Call it in a snapshot.
    """
    where = query.narrow(where)
    found, cosines = _evidence(index, query, where, near)
    known = (cosines or {}).values()
    best_text = max((hit.score for hit in found), default=0.0)
    scale = Scale(best_text, min(known, default=0.0), max(known, default=0.0))
    memory_ids = {hit.memory_id for hit in found}
    weighed = _weighed(index, memory_ids, where.now)
    superseded = superseded_paths(index, where, memory_ids)
    balanced = strategy is ScoringStrategy.BALANCED
    scored = []
    for hit in found:
        path, importance, days, weight = weighed[hit.memory_id]
        if path in superseded:
            continue
        if cosines is None:  # the same as below, without its calls: this is most of a search
            cosine, relevant = None, hit.score / best_text if best_text else 0.0
        else:
            cosine = cosines.get(hit.chunk_id)
            evidence = Evidence(hit.score or None, cosine)
            relevant = scoring.relevance(evidence, scale, vectors=True)
        value = (
            scoring.balanced(relevant, weight)
            if balanced
            else scoring.score(strategy, relevant, importance, days)
        )
        scored.append(Scored(-value, path, hit.ordinal, hit, cosine, relevant, importance, days))
    scored.sort()
    return scored


def standing(index: Index, query: Query, where: Filter, strategy: ScoringStrategy) -> list[Scored]:
    """What matters with no words asked for: pinned first, then important and recent memories.

    A query of filters lists what passes them, the newest first. Call it in a snapshot.
    """
    where = query.narrow(where)
    if query.only_filters:
        return _opening(index, [(1.0, i) for i in index.newest(where, _DEPTH)], where)
    if where.conditions or where.without:
        return _opening(index, _standing(index, where, strategy), where)
    # Looks at every memory: kept until one changes, or ends, or the day does.
    key = ("standing", where.folders, where.scope, strategy, where.now // scoring.SECONDS_A_DAY)
    until, best = index.kept(key, partial(_standing_until, index, where, strategy))
    if until is not None and until <= where.now:
        best = _standing(index, where, strategy)
    return _opening(index, best, where)


def load(index: Index, scored: Sequence[Scored]) -> Iterator[Candidate]:
    """The passages with their texts, in order; read as they are taken. Call it in a snapshot."""
    for start in range(0, len(scored), _BATCH):
        batch = scored[start : start + _BATCH]
        rows = index.passages([item.hit.chunk_id for item in batch])
        for item in batch:
            passage, memory = rows[item.hit.chunk_id]
            yield Candidate(memory, passage, item.score)


def superseded_paths(index: Index, where: Filter, memory_ids: set[int]) -> set[str]:
    """Those of some memories that another one, visible too, says it supersedes."""
    everywhere = where.access()  # what supersedes may be another than what was asked for
    claims = index.supersedes(sorted(memory_ids), everywhere)
    if not claims:
        return set()
    resolver = Resolver(index, everywhere)
    resolved = {(path, resolver.resolve(target, path)) for path, target in claims}
    return {old for new, old in resolved if old is not None and old != new}


def _weighed(
    index: Index, memory_ids: set[int], now: float
) -> dict[int, tuple[str, float | None, int, float]]:
    """(path, importance, days, weight) by memory, of these and others: kept until the index
    changes, or the day."""
    today = scoring.day_of(now)
    known: dict[int, tuple[str, float | None, int, float]]
    known = index.kept(("weighed", today), dict)
    missing = [memory_id for memory_id in memory_ids if memory_id not in known]
    if len(known) + len(missing) > _MOST_WEIGHED:
        known, missing = {}, list(memory_ids)  # of this question alone
    for memory_id, (path, importance, changed) in index.facts(missing).items():
        days = max(0, today - scoring.day_of(changed))
        known[memory_id] = path, importance, days, scoring.weight(importance, days)
    return known


def _evidence(
    index: Index, query: Query, where: Filter, near: Near | None
) -> tuple[list[TextHit], dict[int, float] | None]:
    """The passages that full text or embeddings name, and the cosines that are known of them;
    None if meaning took no part."""
    hits = index.search(query.words, where, _DEPTH)
    texts = {hit.chunk_id for hit in hits}
    told = near(where, _DEPTH, list(texts)) if near else None
    if told is None:
        return hits, None
    cosines = {
        chunk_id: cosine
        for chunk_id, cosine in told.items()
        if cosine >= scoring.MIN_COSINE or chunk_id in texts
    }
    # Whoever ranked the vectors may have seen another state of the index.
    more = index.hits([chunk_id for chunk_id in cosines if chunk_id not in texts], where)
    known = texts.union(hit.chunk_id for hit in more)
    return hits + more, {i: cosine for i, cosine in cosines.items() if i in known}


def _standing_until(
    index: Index, where: Filter, strategy: ScoringStrategy
) -> tuple[float | None, list[tuple[float, int]]]:
    """`_standing`, and the instant up to which it holds: the next expiry."""
    return index.next_end(where.now), _standing(index, where, strategy)


def _standing(index: Index, where: Filter, strategy: ScoringStrategy) -> list[tuple[float, int]]:
    """(score, id) of the memories that matter most, best first."""
    import heapq

    scored = []
    for memory_id, path, pinned, importance, changed in index.standing(where):
        days = scoring.age_days(changed, where.now)
        value = scoring.score(strategy, 1.0, importance, days)
        scored.append((-pinned * 10 - value, path, memory_id))
    depth = _DEPTH
    while True:
        best = heapq.nsmallest(depth, scored)
        superseded = superseded_paths(index, where, {memory_id for _, _, memory_id in best})
        chosen = [(-value, i) for value, path, i in best if path not in superseded]
        if len(chosen) >= _DEPTH or len(best) == len(scored):
            return chosen[:_DEPTH]
        depth *= 4


def _opening(index: Index, memories: list[tuple[float, int]], where: Filter) -> list[Scored]:
    """The first passage of each (score, memory id), in the order given."""
    first = {hit.memory_id: hit for hit in index.openings([i for _, i in memories], where)}
    weighed = _weighed(index, set(first), where.now)
    found = []
    for value, memory_id in memories:
        hit = first.get(memory_id)
        if hit:
            path, importance, days, _ = weighed[memory_id]
            found.append(Scored(-value, path, 0, hit, None, 1.0, importance, days))
    return found

"""Which passages may answer: from full text and from embeddings, filtered before every top-k."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from operator import add
from typing import NamedTuple

from avm.index.fulltext import TextHit
from avm.index.index import Index, MemoryRow, PassageRow
from avm.index.text import Filter
from avm.recall import scoring
from avm.recall.context import Standing, Surroundings
from avm.recall.query import Query
from avm.recall.scoring import (
    MATCH_SHARE,
    Relevance,
    Scale,
    ScoringStrategy,
    Weights,
)
from avm.recall.trail import Trail
from avm.recall.versions import successors

#: Passages looked at from each source.
DEPTH = 300
#: Candidates whose texts are read first; then twice as many, and so on.
_BATCH = 16
_MOST_KEPT = 20_000
#: What keeps those in order that no score tells apart.
_STEP = 1e-9

#: `near(where, limit, also)`: the cosine by chunk id of the `limit` passages that are nearest to
#: the query of all that `where` lets through, and of those of `also` that have a vector. None:
#: meaning takes no part after all.
Near = Callable[[Filter, int, Sequence[int]], Mapping[int, float] | None]

#: Fields that tell who speaks. Whoever does hardly says their own name.
WHO = frozenset(("speaker", "author", "from", "sender"))
#: A field of the front matter: (name, value), case folded.
Field = tuple[str, str]


class Ranking(NamedTuple):
    """How what is found is ordered."""

    strategy: ScoringStrategy = ScoringStrategy.BALANCED
    weights: Weights = Weights()


class Scored(NamedTuple):
    """A passage that may answer, and why; `share` (0–1) is its relevance of the best one's, `days`
    the age of its memory.

    They sort as they answer: best first, ties by path and place, so that every door answers alike.
    """

    score_below_zero: float
    path: str
    ordinal: int
    hit: TextHit
    cosine: float | None
    relevance: Relevance
    share: float
    importance: float | None
    days: int
    #: The part of the score that relevance has no say in.
    fixed: float = 0.0

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
    scored: Scored


def find(
    index: Index,
    query: Query,
    where: Filter,
    ranking: Ranking,
    near: Near | None,
    *,
    fields: Sequence[Field] = (),
    trail: Trail | None = None,
) -> list[Scored]:
    """The passages that may answer `query`, best first; superseded memories are left out, which
    `trail` notes.

    `where` is what the viewer may see, narrowed by the query; `fields` are what `fields_named`
    told. Call it in a snapshot.
    """
    hits, cosines = _evidence(index, query, where, near)
    if not hits:
        return []
    weights = ranking.weights
    memories = _memories(index, {hit.memory_id for hit in hits}, where.now)
    hits, relevance = _relevant(index, where, weights, fields, hits, cosines, memories)
    newer = successors(index, where, {hit.memory_id for hit in hits})
    old = [hit for hit in hits if hit.memory_id in newer]
    if newer:
        hits = _current(index, where, newer, hits, relevance, memories)
    everything = [*hits, *old]
    found = [relevance[hit.chunk_id] for hit in everything]
    totals = [one.total for one in found]
    best = max(totals[: len(hits)], default=0.0) or 1.0
    # Asked of every candidate only where it counts.
    ordered = ranking.strategy in scoring.ORDERED
    least = MATCH_SHARE * max((one.own for one in found[: len(hits)]), default=0.0)
    cosine_of = (cosines or {}).get
    matches, fixed = True, 0.0
    scored = []
    for hit, one, total in zip(everything, found, totals, strict=True):
        chunk_id, _, memory_id, ordinal = hit
        path, importance, days, _, _ = memories[memory_id]
        share = total / best
        if ordered:
            matches = one.own >= least
            fixed = scoring.order(ranking.strategy, importance, days) if matches else 0.0
        value = scoring.score(ranking.strategy, share, importance, days, weights, matches=matches)
        cosine = cosine_of(chunk_id)
        scored.append(
            Scored(-value, path, ordinal, hit, cosine, one, share, importance, days, fixed)
        )
    scored.sort()
    return (trail or Trail()).gave_way(scored, newer) if newer else scored


def _relevant(
    index: Index,
    where: Filter,
    weights: Weights,
    fields: Sequence[Field],
    hits: list[TextHit],
    cosines: Mapping[int, float] | None,
    memories: dict[int, Standing],
) -> tuple[list[TextHit], dict[int, Relevance]]:
    """What speaks for each passage, by chunk id; with the passages that stand beside the best."""
    scale = Scale.of((hit.score for hit in hits), (cosines or {}).values())
    if cosines is None:  # without vectors text alone decides
        texts = [scale.by_text(hit.score) for hit in hits]
        meanings = [0.0] * len(hits)
    else:
        texts = [weights.text * scale.by_text(hit.score) for hit in hits]
        meanings = [weights.meaning * scale.by_meaning(cosines.get(hit.chunk_id)) for hit in hits]
    around: Iterable[tuple[float, float]] = repeat((0.0, 0.0), len(hits))
    if weights.neighbour or weights.document:
        surroundings = Surroundings(index, hits, list(map(add, texts, meanings)), memories)
        beside = index.at(surroundings.beside(), where)
        more = {hit.memory_id for hit in beside} - memories.keys()
        memories.update(_memories(index, more, where.now))
        hits = hits + beside
        texts += [0.0] * len(beside)
        meanings += [0.0] * len(beside)
        around = surroundings.of(hits)
    named = _bonuses(index, fields, weights, {hit.memory_id for hit in hits})
    relevance = {
        hit.chunk_id: Relevance(
            text,
            meaning,
            weights.neighbour * neighbours,
            weights.document * document,
            named.get(hit.memory_id, 0.0),
        )
        for hit, text, meaning, (neighbours, document) in zip(
            hits, texts, meanings, around, strict=True
        )
    }
    return hits, relevance


def _current(
    index: Index,
    where: Filter,
    newer: Mapping[int, frozenset[int]],
    hits: list[TextHit],
    relevance: dict[int, Relevance],
    memories: dict[int, Standing],
) -> list[TextHit]:
    """The same without superseded memories, those in `newer`. What takes the place of one is at
    least as relevant, by its best passage or its first, if it is asked for at all."""
    left: dict[int, Relevance] = {}
    for hit in hits:
        for heir in newer.get(hit.memory_id, ()):
            left[heir] = max(left.get(heir, Relevance()), relevance[hit.chunk_id], key=_total)
    hits = [hit for hit in hits if hit.memory_id not in newer]
    found = {hit.memory_id for hit in hits}
    hits += index.openings([heir for heir in left if heir not in found], where)
    memories.update(_memories(index, {hit.memory_id for hit in hits} - memories.keys(), where.now))
    for heir, inherited in left.items():
        ids = [hit.chunk_id for hit in hits if hit.memory_id == heir]
        own = {chunk_id: relevance.setdefault(chunk_id, Relevance()) for chunk_id in ids}
        best = max(own, key=lambda chunk_id: own[chunk_id].total, default=None)
        if best is not None and inherited.total > own[best].total:
            relevance[best] = inherited
    return hits


def _total(relevance: Relevance) -> float:
    return relevance.total


def fields_named(index: Index, query: Query, where: Filter, weights: Weights) -> list[Field]:
    """The fields of which the question names exactly one known value: of two it tells neither.

    Call it in a snapshot.
    """
    if not weights.field:
        return []
    named: dict[str, list[str]] = {}
    for name, value in index.fields_named(query.names(), where.access()):
        named.setdefault(name, []).append(value)
    return [(name, values[0]) for name, values in named.items() if len(values) == 1]


def _bonuses(
    index: Index, fields: Sequence[Field], weights: Weights, memory_ids: Collection[int]
) -> dict[int, float]:
    """What having the fields that the question names gives a memory, by id."""
    having = index.having(fields, sorted(memory_ids)) if fields else {}
    return {memory_id: weights.field * count / len(fields) for memory_id, count in having.items()}


def standing(
    index: Index, query: Query, where: Filter, ranking: Ranking, trail: Trail | None = None
) -> list[Scored]:
    """What matters with no words asked for: pinned first, then important and recent memories.

    A query of filters lists what passes them, the newest first. `trail` notes who gave way. Call it
    in a snapshot.
    """
    if query.only_filters:
        newest = enumerate(index.newest(where, DEPTH))
        return opening(index, [(1.0 - n * _STEP, i) for n, i in newest], where)
    if where.conditions or where.without:
        return _current_opening(index, _standing(index, where, ranking), where, trail)
    # Looks at every memory: kept until one changes, or ends, or the day does.
    key = ("standing", where.who, where.scope, ranking, scoring.day_of(where.now))
    until, best = index.kept(key, partial(_standing_until, index, where, ranking))
    if until is not None and until <= where.now:
        best = _standing(index, where, ranking)
    return _current_opening(index, best, where, trail)


def best_of_each(found: Iterable[Scored], limit: int) -> list[Scored]:
    """The best passage of each of the `limit` best memories; `found` is best first."""
    best: dict[int, Scored] = {}
    for item in found:
        if best.setdefault(item.hit.memory_id, item) is item and len(best) == limit:
            break
    return list(best.values())


def load(index: Index, scored: Sequence[Scored]) -> Iterator[Candidate]:
    """The passages with their texts, in order; read as they are taken. Call it in a snapshot."""
    start, size = 0, _BATCH
    while batch := scored[start : start + size]:
        start, size = start + size, size * 2
        rows = index.passages([item.hit.chunk_id for item in batch])
        for item in batch:
            passage, memory = rows[item.hit.chunk_id]
            yield Candidate(memory, passage, item)


def _memories(index: Index, memory_ids: set[int], now: float) -> dict[int, Standing]:
    """What ranking knows of these memories: kept until the index changes, or the day."""
    today = scoring.day_of(now)
    known: dict[int, Standing] = index.kept(("memories", today), dict)
    missing = [memory_id for memory_id in memory_ids if memory_id not in known]
    if len(known) + len(missing) > _MOST_KEPT:
        known, missing = {}, list(memory_ids)  # of this question alone
    for memory_id, facts in index.facts(missing).items():
        known[memory_id] = Standing.of(memory_id, facts, now)
    return {memory_id: known[memory_id] for memory_id in memory_ids}


def _evidence(
    index: Index, query: Query, where: Filter, near: Near | None
) -> tuple[list[TextHit], dict[int, float] | None]:
    """The passages that full text or embeddings name, and the cosines that are known of them;
    None if meaning took no part."""
    hits = index.search(query.words, where, DEPTH)
    texts = {hit.chunk_id for hit in hits}
    told = near(where, DEPTH, list(texts)) if near else None
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


class _Stand(NamedTuple):
    """(score, id) of the memories that matter most, best first, and of the best of the superseded
    among them, with their current versions."""

    best: list[tuple[float, int]]
    old: list[tuple[float, int]]
    newer: dict[int, frozenset[int]]


def _standing_until(index: Index, where: Filter, ranking: Ranking) -> tuple[float | None, _Stand]:
    """`_standing`, and the instant up to which it holds: the next expiry."""
    return index.next_end(where.now), _standing(index, where, ranking)


def _standing(index: Index, where: Filter, ranking: Ranking) -> _Stand:
    """The memories that matter most."""
    import heapq

    scored = []
    for memory_id, path, pinned, importance, changed in index.standing(where):
        days = scoring.age_days(changed, where.now)
        value = scoring.score(ranking.strategy, 1.0, importance, days, ranking.weights)
        scored.append((-pinned * scoring.PINNED - value, path, memory_id))
    depth = DEPTH
    while True:
        best = heapq.nsmallest(depth, scored)
        newer = successors(index, where, {memory_id for _, _, memory_id in best})
        chosen = [(-value, i) for value, _, i in best if i not in newer]
        if len(chosen) >= DEPTH or len(best) == len(scored):
            old = [(-value, i) for value, _, i in best if i in newer]
            return _Stand(chosen[:DEPTH], old[:DEPTH], newer)
        depth *= 4


def _current_opening(
    index: Index, stand: _Stand, where: Filter, trail: Trail | None
) -> list[Scored]:
    if trail and stand.old:
        trail.gave_way(opening(index, stand.old, where), stand.newer)
    return opening(index, stand.best, where)


def opening(index: Index, memories: list[tuple[float, int]], where: Filter) -> list[Scored]:
    """The first passage of each (score, memory id), in the order given."""
    first = {hit.memory_id: hit for hit in index.openings([i for _, i in memories], where)}
    known = _memories(index, set(first), where.now)
    found = []
    for value, memory_id in memories:
        hit = first.get(memory_id)
        if hit:
            path, importance, days, _, _ = known[memory_id]
            found.append(Scored(-value, path, 0, hit, None, Relevance(), 1.0, importance, days))
    return found

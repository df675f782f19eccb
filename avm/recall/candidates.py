"""Which passages may answer: from full text and from embeddings, filtered before every top-k."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from avm.index.index import Index, MemoryRow, PassageRow
from avm.index.text import Filter
from avm.recall import scoring
from avm.recall.links import Resolver
from avm.recall.query import Query
from avm.recall.scoring import Evidence, Scale, ScoringStrategy

#: Passages looked at from each source.
_DEPTH = 200


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage with its memory and its score."""

    memory: MemoryRow
    passage: PassageRow
    score: float


#: Cosines by chunk id of the passages nearest to the question: asked with a filter, how many, and
#: which chunks besides. None: there are none to be had.
Near = Callable[[Filter, int, Sequence[int]], Mapping[int, float] | None]


def find(
    index: Index,
    query: Query,
    where: Filter,
    strategy: ScoringStrategy,
    near: Near | None,
) -> list[Candidate]:
    """The passages that may answer `query`, best first; superseded memories are left out."""
    evidence, with_vectors = _evidence(index, query, where, near)
    passages = index.passages(evidence)
    memories = index.memories({passage.memory_id for passage in passages.values()})
    superseded = superseded_paths(index, where)
    scale = Scale.of(list(evidence.values()))
    found = []
    for chunk_id, passage in passages.items():
        memory = memories[passage.memory_id]
        if memory.path in superseded:
            continue
        relevant = scoring.relevance(evidence[chunk_id], scale, vectors=with_vectors)
        days = scoring.age_days(memory.changed, where.now)
        value = scoring.score(strategy, relevant, memory.importance, days)
        found.append(Candidate(memory, passage, value))
    return in_order(found)


def standing(index: Index, where: Filter, strategy: ScoringStrategy) -> list[Candidate]:
    """What matters with no question asked: pinned first, then important and recent memories."""
    superseded = superseded_paths(index, where)
    scored = []
    for memory in index.list_memories(where):
        if memory.path not in superseded:
            days = scoring.age_days(memory.changed, where.now)
            value = scoring.score(strategy, 1.0, memory.importance, days)
            scored.append((memory.pinned * 10 + value, memory))
    scored.sort(key=lambda pair: (-pair[0], pair[1].path))
    best = scored[:_DEPTH]
    opening: dict[int, PassageRow] = {}
    for passage in index.passages_of([memory.id for _, memory in best]):
        opening.setdefault(passage.memory_id, passage)
    return [Candidate(memory, opening[memory.id], value) for value, memory in best]


def in_order(found: list[Candidate]) -> list[Candidate]:
    """Best first; ties by path and place, so that every door answers alike."""
    return sorted(found, key=lambda c: (-c.score, c.memory.path, c.passage.ordinal))


def superseded_paths(index: Index, where: Filter) -> set[str]:
    """The memories that another one, visible too, says it supersedes."""
    everywhere = replace(where, scope="")  # what supersedes may stand outside the folder asked in
    claims = index.supersedes(everywhere)
    if not claims:
        return set()
    resolver = Resolver(index, everywhere)
    resolved = {(path, resolver.resolve(target, path)) for path, target in claims}
    return {old for new, old in resolved if old is not None and old != new}


def _evidence(
    index: Index, query: Query, where: Filter, near: Near | None
) -> tuple[dict[int, Evidence], bool]:
    """What speaks for each passage, and whether embeddings took part."""
    texts = {hit.chunk_id: hit.score for hit in index.search(query.words, where, _DEPTH)}
    told = near(where, _DEPTH, list(texts)) if near is not None else None
    cosines = {
        chunk_id: cosine
        for chunk_id, cosine in (told or {}).items()
        if cosine >= scoring.MIN_COSINE or chunk_id in texts
    }
    evidence = {i: Evidence(texts.get(i), cosines.get(i)) for i in {**texts, **cosines}}
    return evidence, told is not None

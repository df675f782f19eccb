"""What belongs to an answer beside what matches: pinned memories, and what the best link to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avm.index.index import Index
from avm.index.text import Filter
from avm.recall.candidates import Scored, opening
from avm.recall.links import Resolver
from avm.recall.scoring import PINNED, Weights
from avm.recall.trail import Trail
from avm.recall.versions import successors

#: Memories, the best, whose links are followed.
_STRONG_HITS = 5
#: Of the best score, what a memory must have for its links to be followed.
_STRONG_SHARE = 0.5
#: Links of one memory that are followed: one with more is a list of everything.
_MOST_LINKS = 10


def with_companions(
    index: Index, where: Filter, weights: Weights, found: Sequence[Scored], trail: Trail
) -> list[Scored]:
    """The passages found and what belongs to them, best first: pinned memories before all.

    `trail` notes what came by a link, and what would have come had it not given way. `where` is
    narrowed by the query. Call it in a snapshot.
    """
    everything = [*found, *_linked(index, where, weights, found, trail)]
    return sorted([*_pinned(index, where, everything, trail), *everything])


def _pinned(index: Index, where: Filter, found: Sequence[Scored], trail: Trail) -> list[Scored]:
    """The pinned memories, each by its best passage or its first, with a score above all others.

    Those passages stand in `found` too: packing takes what it has but once.
    """
    ids = index.pinned(where)
    if not ids:
        return []
    newer = successors(index, where, ids)
    _note_old(index, where, trail, [(PINNED, old) for old in ids if old in newer], newer)
    ids = sorted(set(ids) - newer.keys())
    wanted = set(ids)
    best: dict[int, Scored] = {}
    for item in sorted(found):
        if item.hit.memory_id in wanted:
            best.setdefault(item.hit.memory_id, item)
    missing = [(0.0, memory_id) for memory_id in ids if memory_id not in best]
    return [
        item._replace(score_below_zero=item.score_below_zero - PINNED, fixed=item.fixed + PINNED)
        for item in (*best.values(), *opening(index, missing, where))
    ]


def _linked(
    index: Index, where: Filter, weights: Weights, found: Sequence[Scored], trail: Trail
) -> list[Scored]:
    """What the best link to, unless it was found itself: by its first passage, with a part of the
    score of what links to it."""
    if not weights.link or not found:
        return []
    strong: dict[int, Scored] = {}
    least = found[0].score * _STRONG_SHARE
    for item in found:
        if item.score < least or len(strong) == _STRONG_HITS:
            break
        strong.setdefault(item.hit.memory_id, item)
    everywhere = where.access()
    resolver = Resolver(index, everywhere)
    scores: dict[str, tuple[float, str]] = {}
    for memory_id, item in strong.items():
        for target in index.links_of(memory_id)[:_MOST_LINKS]:
            path = resolver.resolve(target, item.path)
            if path is not None:
                score = round((item.score - item.fixed) * weights.link, 6)
                if score > scores.get(path, (0.0, ""))[0]:
                    scores[path] = score, item.path
    known = {item.path for item in found}
    rows = [(index.memory(path), *how) for path, how in scores.items() if path not in known]
    linked = {row.id: score for row, score, _ in rows if row}
    trail.linked = {row.id: source for row, _, source in rows if row}
    newer = successors(index, where, set(linked)) if linked else {}
    _note_old(index, where, trail, [(s, i) for i, s in linked.items() if i in newer], newer)
    return opening(index, [(s, i) for i, s in linked.items() if i not in newer], where)


def _note_old(
    index: Index,
    where: Filter,
    trail: Trail,
    old: Sequence[tuple[float, int]],
    newer: Mapping[int, frozenset[int]],
) -> None:
    """Note superseded companions, (score, id), that nothing else was found of."""
    known = {item.hit.memory_id for item in trail.superseded}
    unseen = [(score, memory_id) for score, memory_id in old if memory_id not in known]
    if unseen:
        trail.gave_way(opening(index, unseen, where), newer)

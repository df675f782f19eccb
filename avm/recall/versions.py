"""Which memories give way to newer ones: those that another one says it supersedes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from avm.base import paths
from avm.index.index import Claim, Index
from avm.index.text import Filter
from avm.recall.links import Resolver

#: Versions of versions that are looked for: more are no history but a mistake.
_MOST_STEPS = 20


def successors(
    index: Index, where: Filter, memory_ids: Collection[int]
) -> dict[int, frozenset[int]]:
    """The current versions of each of these memories that has any, by id.

    Both must be what the viewer may see, though `where` may ask for less. Memories that supersede
    one another in a circle give way to none in it. Call it in a snapshot.
    """
    everywhere = where.access()
    resolver = Resolver(index, everywhere)
    newer: dict[int, set[int]] = {}
    asked: set[int] = set()
    wanted = set(memory_ids)
    for _ in range(_MOST_STEPS):
        for claim in index.supersedes(sorted(wanted - asked), everywhere):
            means = resolver.resolve(claim.target, claim.path)
            if claim.id != claim.old_id and means == claim.old_path and _may(claim):
                newer.setdefault(claim.old_id, set()).add(claim.id)
        asked |= wanted
        wanted = {new for found in newer.values() for new in found}
        if wanted <= asked:
            break
    current = {old: _current(newer, old) for old in newer}
    return {old: found for old, found in current.items() if found}


def _may(claim: Claim) -> bool:
    """Whether who wrote the new memory may write the old one: what is an agent's own gives way to
    nothing that others can write."""
    owner = paths.private_to(claim.old_path)
    return owner is None or owner == paths.private_to(claim.path)


def _current(newer: Mapping[int, set[int]], memory_id: int) -> frozenset[int]:
    """The versions after this one that have none themselves."""
    seen, waiting, last = {memory_id}, [memory_id], set()
    while waiting:
        following = newer.get(waiting.pop(), set())
        last |= following - newer.keys()
        waiting += following - seen
        seen |= following
    return frozenset(last)

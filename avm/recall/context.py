"""What stands around a passage speaks for it too: the passages beside it, and the best of its file
or episode.

A reply holds none of the words of the question that it answers, but it stands beside it.
avm/index/surroundings.py says what an episode is.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from avm.base import paths
from avm.index.fulltext import TextHit
from avm.index.index import Facts, Index
from avm.recall.scoring import age_days, day_of

#: A file, by the id of its memory, or an episode: (folder with its /, day).
Document = int | tuple[str, int]

#: The best files and episodes: in these passages are looked at for what stands beside them.
_NEAR_DOCUMENTS = 24
#: The best passages: what stands beside these becomes a candidate.
_NEAR_PASSAGES = 24
#: Episodes that are kept until the index changes.
_MOST_EPISODES = 1_000
#: How much the first and the second neighbour on either side count.
REACH = ((1, 1.0), (2, 1 / 3))


class Standing(NamedTuple):
    """What ranking knows of a memory; `days`: since it changed."""

    path: str
    importance: float | None
    days: int
    passages: int
    document: Document

    @classmethod
    def of(cls, memory_id: int, facts: Facts, now: float) -> Standing:
        """What is known of it at `now`."""
        document: Document = memory_id
        if facts.passages == 1 and facts.created is not None:
            folder = paths.parent(facts.path)
            document = f"{folder}/" if folder else "", day_of(facts.created)
        days = age_days(facts.changed, now)
        return cls(facts.path, facts.importance, days, facts.passages, document)


class _Episode(NamedTuple):
    """Its memories in order, and the place of each."""

    members: list[int]
    places: dict[int, int]


class Surroundings:
    """What stands around the candidates of one question. Use it in the question's snapshot."""

    def __init__(
        self,
        index: Index,
        hits: Sequence[TextHit],
        own: Sequence[float],
        memories: Mapping[int, Standing],
    ) -> None:
        """`own`: what speaks for each candidate itself; `memories` by id, also those of what is
        asked of later."""
        self._index = index
        self._memories = memories
        self._best: dict[Document, float] = {}
        first: dict[Document, str] = {}
        for hit, value in zip(hits, own, strict=True):
            path, _, _, _, document = memories[hit.memory_id]
            if value > self._best.get(document, -1.0):
                self._best[document] = value
            if path < first.setdefault(document, path):
                first[document] = path
        ordered = ((-value, first[document], document) for document, value in self._best.items())
        near = heapq.nsmallest(_NEAR_DOCUMENTS, ordered)
        #: What speaks for the candidates of near documents, by their places.
        self._at: dict[Document, dict[int, float]] = {document: {} for _, _, document in near}
        episodes = (document for document in self._at if isinstance(document, tuple))
        self._episodes = {document: self._episode(document) for document in episodes}
        #: (-own, path, place) of the candidates there, for the best of which others are looked for.
        self._placed: list[tuple[float, str, int, Document]] = []
        for hit, value in zip(hits, own, strict=True):
            path, _, _, _, document = memories[hit.memory_id]
            place = self._place_of(hit, document)
            if place is not None:
                self._at[document][place] = value
                self._placed.append((-value, path, place, document))

    def beside(self) -> list[tuple[int, int]]:
        """(memory id, ordinal) of what stands beside the best candidates and is none itself."""
        found: dict[tuple[int, int], None] = {}
        for _, _, place, document in sorted(self._placed)[:_NEAR_PASSAGES]:
            at = self._at[document]
            for distance, _ in REACH:
                for there in (place - distance, place + distance):
                    if there >= 0 and there not in at:
                        found.update(dict.fromkeys(self._passage(document, there)))
        return list(found)

    def of(self, hits: Iterable[TextHit]) -> Iterator[tuple[float, float]]:
        """What speaks for others around each of these candidates, or of `beside`: for its
        neighbours, nearer ones more, and for the best of its document."""
        for hit in hits:
            document = self._memories[hit.memory_id].document
            best = self._best.get(document, 0.0)
            near = 0.0
            place = self._place_of(hit, document)
            if place is not None:
                at = self._at[document].get
                for distance, share in REACH:
                    near += share * (at(place - distance, 0.0) + at(place + distance, 0.0))
            yield near, best

    def _episode(self, document: tuple[str, int]) -> _Episode:
        """The episode, kept until the index changes."""
        episodes: dict[Document, _Episode] = self._index.kept("episodes", dict)
        known = episodes.get(document)
        if known is None:
            if len(episodes) >= _MOST_EPISODES:
                episodes.clear()
            members = self._index.episode(*document)
            places = {memory_id: place for place, memory_id in enumerate(members)}
            known = episodes[document] = _Episode(members, places)
        return known

    def _place_of(self, hit: TextHit, document: Document) -> int | None:
        """Where a passage stands in its file or episode; None if nothing is looked for there."""
        if document not in self._at:
            return None
        if isinstance(document, tuple):
            return self._episodes[document].places.get(hit.memory_id)
        return hit.ordinal

    def _passage(self, document: Document, place: int) -> list[tuple[int, int]]:
        """(memory id, ordinal) at a place in a near document, as a list of at most one."""
        if isinstance(document, tuple):
            members = self._episodes[document].members[place : place + 1]
            return [(memory_id, 0) for memory_id in members]
        return [(document, place)] if place < self._memories[document].passages else []

"""What stands around a passage speaks for it too: the passages beside it, and the best of its file
or episode.

A reply holds none of the words of the question that it answers, but it stands beside it.
avm/index/surroundings.py says what an episode is.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from avm.base import paths
from avm.index.fulltext import TextHit
from avm.index.index import Facts, Index
from avm.recall.scoring import day_of

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


def document_of(memory_id: int, facts: Facts) -> Document:
    """The file or episode that a memory is in."""
    if facts.passages > 1 or facts.created is None:
        return memory_id
    folder = paths.parent(facts.path)
    return f"{folder}/" if folder else "", day_of(facts.created)


class Around(NamedTuple):
    """What speaks for others: for the neighbours, nearer ones more, and for the best around."""

    neighbours: float
    document: float


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
        own: Mapping[int, float],
        documents: Mapping[int, Document],
        names: Mapping[int, str],
    ) -> None:
        """`own`: what speaks for each candidate itself, by chunk id; `documents` by memory id,
        also for what is asked of later; `names` are the candidates' paths by memory id."""
        self._index = index
        self._hits = hits
        self._own = own
        self._documents = documents
        self._names = names
        self._best: dict[Document, float] = {}
        for hit in hits:
            document, value = documents[hit.memory_id], own[hit.chunk_id]
            if value > self._best.get(document, -1.0):
                self._best[document] = value
        first: dict[Document, str] = {}
        for hit in hits:
            name, document = names[hit.memory_id], documents[hit.memory_id]
            first[document] = min(name, first.get(document, name))
        ordered = ((-value, first[document], document) for document, value in self._best.items())
        near = heapq.nsmallest(_NEAR_DOCUMENTS, ordered)
        episodes: dict[Document, _Episode] = index.kept("episodes", dict)
        if len(episodes) > _MOST_EPISODES:
            episodes.clear()
        #: Those that are near; one of nobody for a file.
        self._episodes: dict[Document, _Episode] = {}
        for _, _, document in near:
            known = episodes.get(document)
            if known is None:
                known = episodes[document] = self._episode(document)
            self._episodes[document] = known
        self._at = {
            (documents[hit.memory_id], place): own[hit.chunk_id]
            for hit in hits
            if (place := self._place_of(hit)) is not None
        }

    def beside(self) -> list[tuple[int, int]]:
        """(memory id, ordinal) of what stands beside the best candidates and is none itself. The
        last passage of a file has such a next one too, which does not exist."""
        ranked = sorted(
            (-self._own[hit.chunk_id], self._names[hit.memory_id], hit.ordinal, hit)
            for hit in self._hits
        )
        found: dict[tuple[int, int], None] = {}
        for *_, hit in ranked[:_NEAR_PASSAGES]:
            place = self._place_of(hit)
            if place is None:
                continue
            document = self._documents[hit.memory_id]
            for distance, _ in REACH:
                for there in (place - distance, place + distance):
                    if (document, there) not in self._at:
                        found.update(dict.fromkeys(self._passage(document, there)))
        return list(found)

    def of(self, hit: TextHit) -> Around:
        """What stands around a candidate, or around one of `beside`."""
        document = self._documents[hit.memory_id]
        best = self._best.get(document, 0.0)
        place = self._place_of(hit)
        if place is None:
            return Around(0.0, best)
        at, near = self._at, 0.0
        for distance, share in REACH:
            before = at.get((document, place - distance), 0.0)
            near += share * (before + at.get((document, place + distance), 0.0))
        return Around(near, best)

    def _episode(self, document: Document) -> _Episode:
        members = self._index.episode(*document) if isinstance(document, tuple) else []
        return _Episode(members, {memory_id: place for place, memory_id in enumerate(members)})

    def _place_of(self, hit: TextHit) -> int | None:
        """Where a passage stands in its file or episode; None if that is not looked at."""
        document = self._documents[hit.memory_id]
        episode = self._episodes.get(document)
        if episode is None:
            return None
        return episode.places.get(hit.memory_id) if isinstance(document, tuple) else hit.ordinal

    def _passage(self, document: Document, place: int) -> list[tuple[int, int]]:
        """(memory id, ordinal) at a place in a near document, as a list of at most one."""
        if place < 0:
            return []
        if not isinstance(document, tuple):
            return [(document, place)]
        return [(memory_id, 0) for memory_id in self._episodes[document].members[place : place + 1]]

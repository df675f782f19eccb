"""Asking as one viewer what is alike: by the vectors that are there and by words. No model."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from avm.api import values
from avm.api.viewed import Viewed, again_if_damaged
from avm.base import paths
from avm.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from avm.api.resembling import AlikePair, Similar, SimilarPairs
    from avm.index.index import MemoryRow
    from avm.index.text import Filter

#: What is like a memory begins here, if nothing else is asked for: a cosine, or where there are no
#: vectors a share of common words, which is far lower for texts on one matter.
_LEAST, _LEAST_BY_TEXT = 0.6, 0.1
#: Memories whose words are compared.
_MOST_BY_TEXT = 20
#: Passages looked at for each memory that is wanted: then four times as many, as long as it takes.
_EACH, _DEEPER = 4, 4


class _Found(NamedTuple):
    """A memory, how alike it is, and the line of its likest passage."""

    score: float
    memory: MemoryRow
    line: int


class Comparing(Viewed):
    """What a viewer may ask of memories that are alike."""

    @again_if_damaged
    def similar(self, path: str, limit: int = 10, least: float | None = None) -> Similar:
        """The memories that are like the one at `path`, likest first; not what is superseded.

        A score is the cosine of the two passages that are nearest in meaning, or the resemblance of
        the words if that is more. `least`: from which score on, default 0.6, by words alone 0.1.
        Raises NotFoundError, UsageError.
        """
        from avm.api.resembling import Alike, Similar

        limit = values.positive(limit, "limit")
        rel = self._existing(path)
        self.store.refresh()
        model = self._model_of_vectors()
        if least is None:
            least = _LEAST if model else _LEAST_BY_TEXT
        least = values.share(least, "min")
        with self.store.index.snapshot():
            found = self._like(self._indexed(rel), model, limit, least)
        return Similar(
            _by(model),
            tuple(
                Alike(paths.display(one.memory.path), one.line, one.memory.title, one.score)
                for one in found
            ),
        )

    @again_if_damaged
    def similar_pairs(self, limit: int = 10, least: float | None = None) -> SimilarPairs:
        """The pairs of memories with passages that mean nearly the same, likest first; not what is
        superseded. `least`: from which cosine on, 0.9 at least. Raises UsageError."""
        from avm.api.resembling import SimilarPairs
        from avm.index.similar import LEAST

        limit = values.positive(limit, "limit")
        least = LEAST if least is None else values.share(least, "min")
        if least < LEAST:
            raise UsageError(f"min {least}: pairs are known from {LEAST} on; of one memory any are")
        self.store.refresh()
        model = self._model_of_vectors()
        note = "nothing is embedded: only passages that are equal word for word (docs/semantic.md)"
        if model is not None:
            whole = self.store.index.similar.catch_up(model)
            note = "" if whole else self._how_far(model)
        return SimilarPairs(_by(model), tuple(self._pairs(model, limit, least)), note or None)

    def _like(self, row: MemoryRow, model: str | None, limit: int, least: float) -> list[_Found]:
        """What is like one memory; call it in a snapshot."""
        from avm.index.text import NO_WORDS, Condition

        where = self._filter("")
        elsewhere = where.asking((Condition("path", row.path, negated=True),), NO_WORDS)
        found = {one.memory.id: one for one in self._like_in_words(row, elsewhere)}
        for one in self._like_in_meaning(row, model, elsewhere, limit, least) if model else ():
            known = found.get(one.memory.id)
            if known is None or one.score > known.score:
                found[one.memory.id] = one
        gone = self._superseded(found)
        best = [one for one in found.values() if one.score >= least and one.memory.id not in gone]
        return sorted(best, key=lambda one: (-one.score, one.memory.path))[:limit]

    def _like_in_words(self, row: MemoryRow, elsewhere: Filter) -> list[_Found]:
        from avm.api import likeness
        from avm.recall.similarity import resemblance

        text = "".join(likeness.text_of(self.store, row.path))
        near = likeness.nearest(self.store, elsewhere, text, _MOST_BY_TEXT)
        first = self.store.index.openings([memory.id for memory, _ in near], elsewhere)
        passages = self.store.index.passages([hit.chunk_id for hit in first])
        lines = {memory.id: passage.first_line for passage, memory in passages.values()}
        return [
            _Found(round(resemblance(text, there), 4), memory, lines[memory.id])
            for memory, there in near
            if memory.id in lines
        ]

    def _like_in_meaning(
        self, row: MemoryRow, model: str, elsewhere: Filter, limit: int, least: float
    ) -> list[_Found]:
        depth = limit * _EACH
        while True:
            pairs = self.store.index.similar.of_memory(model, row.id, elsewhere, depth)
            near = [pair for pair in pairs if pair.cosine >= least]
            passages = self.store.index.passages({pair.other for pair in near})
            found: dict[int, _Found] = {}
            for pair in near:
                passage, memory = passages[pair.other]
                found.setdefault(
                    memory.id, _Found(round(pair.cosine, 4), memory, passage.first_line)
                )
            superseded = self._superseded(found)
            if len(found) - len(superseded) >= limit or len(near) < depth:
                return list(found.values())
            depth *= _DEEPER

    def _pairs(self, model: str | None, limit: int, least: float) -> list[AlikePair]:
        """The best pairs of memories, each by its likest passages."""
        from avm.api.resembling import AlikePair

        where, depth, index = self._filter(""), limit * _EACH, self.store.index
        while True:
            with index.snapshot():
                pairs = index.similar.pairs(model, where, least, depth)
                ids = {i for pair in pairs for i in (pair.one, pair.other)}
                passages = index.passages(ids)
                superseded = self._superseded({memory.id for _, memory in passages.values()})
            found: dict[tuple[str, str], AlikePair] = {}
            for pair in pairs:
                both = [passages[i] for i in pair[1:]]
                if any(memory.id in superseded for _, memory in both):
                    continue
                ends = sorted((memory.path, passage.first_line) for passage, memory in both)
                (one, line), (other, other_line) = ends
                shown = paths.display(one), line, paths.display(other), other_line
                found.setdefault((one, other), AlikePair(round(pair.cosine, 4), *shown))
            if len(found) >= limit or len(pairs) < depth:
                best = sorted(found.values(), key=lambda pair: (-pair.score, pair.path, pair.other))
                return best[:limit]
            depth *= _DEEPER

    def _superseded(self, memory_ids: Iterable[int]) -> Collection[int]:
        """Those that another memory supersedes."""
        from avm.recall.versions import successors

        return successors(self.store.index, self._filter(""), set(memory_ids))

    def _model_of_vectors(self) -> str | None:
        """The model whose vectors are there; None if there are none, or they are not to be used."""
        import importlib.util

        if self.store.config["semantic"] == "off" or importlib.util.find_spec("numpy") is None:
            return None
        vectors = self.store.index.vectors
        if vectors.most_used() is None:
            self.store.semantic.progress()  # an index that was built anew takes up its file
        return vectors.most_used()

    def _how_far(self, model: str) -> str:
        done, rows = self.store.index.similar.progress(model)
        # How many there are in all is not an agent's to know.
        so_far = f"{done} of {rows}" if self.viewer.agent is None else "not all"
        return f"{so_far} passages compared so far: a keeper does the rest (avm keeper start)"


def _by(model: str | None) -> str:
    return "text+vectors" if model else "text"

"""Why an answer is what it is, as one viewer may know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, NamedTuple

from avm.api import values
from avm.api.reading import Asked, Reading
from avm.api.viewed import again_if_damaged
from avm.base import paths
from avm.base.times import format_instant, instant_of
from avm.recall.scoring import ScoringStrategy

if TYPE_CHECKING:
    from avm.index.index import MemoryRow
    from avm.recall.explain import Explained, ExplainedHit, Judged
    from avm.recall.why import Why


class Explaining(Reading):
    """What a viewer may ask of answers."""

    @again_if_damaged
    def explained(
        self,
        query: str,
        limit: int = 10,
        strategy: ScoringStrategy | str = ScoringStrategy.BALANCED,
        *,
        folder: str = "",
        zone: tzinfo | None = UTC,
    ) -> Explained:
        """Why `search` finds what it does, each memory by its best passage. Raises UsageError."""
        from avm.recall import explain
        from avm.recall.candidates import best_of_each

        limit = values.positive(limit, "limit")
        strategy = ScoringStrategy.of(strategy)
        with self._asked(query, strategy, folder, zone) as asked:
            best = best_of_each(asked.matches(), limit)
            items = explain.ranked(self.store.index, best)
        return self._explained(asked, strategy, items)

    @again_if_damaged
    def explained_recall(
        self,
        query: str = "",
        max_tokens: int | None = None,
        strategy: ScoringStrategy | str = ScoringStrategy.BALANCED,
        *,
        folder: str = "",
        zone: tzinfo | None = UTC,
        format: str = "markdown",
    ) -> Explained:
        """Why `recall` with the same arguments answers what it does: every memory that could have
        been in the answer, and what became of it. Raises UsageError."""
        from avm.recall import explain

        budget, strategy = self._budget(max_tokens), ScoringStrategy.of(strategy)
        with self._asked(query, strategy, folder, zone) as asked:
            found, packed = self._answer(asked, budget, format)
            items = explain.judged(self.store.index, found, asked.trail, packed)
        return self._explained(asked, strategy, items, (budget, packed.tokens))

    @again_if_damaged
    def explain(
        self,
        query: str,
        path: str,
        max_tokens: int | None = None,
        strategy: ScoringStrategy | str = ScoringStrategy.BALANCED,
        *,
        folder: str = "",
        zone: tzinfo | None = UTC,
        format: str = "markdown",
        reader: str | None = None,
    ) -> Why:
        """Why the memory at `path` is in the answer of `recall` with the same arguments, or not.

        `reader`, for the owner alone: in the answer that this agent would get. Raises
        NotFoundError, for what this viewer may not see too, AccessError for a `reader` that an
        agent names, UsageError.
        """
        if reader is not None:
            self._check_owner("explain", "explain for another")
        strategy = ScoringStrategy.of(strategy)
        recall = _Recall(query, self._budget(max_tokens), strategy, folder, zone, format)
        rel, _ = self._there(path)
        if reader is None:
            return self._why(recall, rel)
        other = Explaining(self.store, self.store.viewer(reader))
        return replace(other._why(recall, rel), reader=reader)

    def _why(self, recall: _Recall, rel: str) -> Why:
        """Why a file that is there came or did not."""
        from avm.recall.fates import Kind
        from avm.recall.why import Why

        path = paths.display(rel)
        if not self.viewer.can_read(rel):
            return Why(path, Kind.ACCESS.value)
        with self._asked(recall.query, recall.strategy, recall.folder, recall.zone) as asked:
            row = self.store.index.memory(rel)
            if row is None:
                why = Why(path, Kind.IGNORED.value)
            elif row.ends is not None and row.ends <= asked.where.now:
                why = Why(path, Kind.EXPIRED.value, expired=format_instant(instant_of(row.ends)))
            else:
                why = self._why_of_memory(asked, recall, row)
        return replace(why, ranked_by=asked.ranked_by, semantic=asked.semantic)

    def _why_of_memory(self, asked: Asked, recall: _Recall, row: MemoryRow) -> Why:
        """Why a memory that has not expired came or did not; call it while `_asked`."""
        from avm.recall import explain, why
        from avm.recall.fates import Kind

        index, path = self.store.index, paths.display(row.path)
        failed = why.filters_failed(index, asked.query, asked.where, row)
        if failed:
            return why.Why(path, Kind.FILTERED.value, failed)
        found, packed = self._answer(asked, recall.budget, recall.format)
        items = explain.judged(index, found, asked.trail, packed)
        of = sum(item.rank is not None for item in items)
        mine = next((item for item in items if item.candidate.memory.id == row.id), None)
        if mine is None:
            fate, cosine = why.no_candidate(index, asked.query, asked.where, asked.near, row)
            because_of = tuple(map(paths.display, fate.paths))
            answer = why.Why(path, fate.kind.value, because_of, cosine=cosine)
        else:
            (hit,) = self._hits(asked, [mine])
            answer = why.Why(path, hit.fate or "", hit.because_of, hit.rank, hit=hit)
        return replace(answer, of=of, held=packed.memories, max_tokens=recall.budget)

    def _explained(
        self,
        asked: Asked,
        strategy: ScoringStrategy,
        items: Sequence[Judged],
        tokens: tuple[int | None, int | None] = (None, None),
    ) -> Explained:
        from avm.recall import explain

        return explain.Explained(
            explain.words_of(asked.query),
            explain.filters_of(asked.query),
            asked.ranked_by,
            asked.semantic,
            strategy.value,
            *tokens,
            self._hits(asked, items),
        )

    def _hits(self, asked: Asked, items: Sequence[Judged]) -> tuple[ExplainedHit, ...]:
        from avm.recall import explain

        # BM25 itself depends on all texts of the vault: an agent is told its share of the best.
        owner = self.viewer.agent is None
        scales = explain.Scales.of(asked.weights, asked.found, asked.trail, raw=owner)
        return tuple(explain.hit(item, scales, asked=bool(asked.query.question)) for item in items)


class _Recall(NamedTuple):
    """A recall that is asked about, checked."""

    query: str
    budget: int
    strategy: ScoringStrategy
    folder: str
    zone: tzinfo | None
    format: str

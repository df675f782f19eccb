"""`avm bench recall`: how much of the evidence of known questions recall and search bring back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from avm.api.avm import AVM, open_avm
from avm.api.waiting import Waiting
from avm.base.clock import Clock
from avm.base.config import from_process
from avm.base.errors import ConfigError, ModelError
from avm.bench import conversation_vault, measures
from avm.bench.conversation_vault import Kept
from avm.bench.keeping import without_scans
from avm.bench.locomo import Conversation, Question
from avm.recall.exact_tokens import exact_counter

if TYPE_CHECKING:
    from avm.api.recalled import Recalled
    from avm.bench.one_embedder import OneEmbedder

#: Hits that a search is asked for, and those of which the share of evidence is told.
DEPTH = 10
RANKS = (1, 5, 10)
_WARM = "warm"


class Answer(NamedTuple):
    """One recall: the share of the evidence in it, its tokens, and what it took in ms."""

    budget: int
    covered: float
    tokens: int
    ms: float


class Asked(NamedTuple):
    """What came of one question: a recall a budget; of its search the share of the evidence by
    `RANKS`, the reciprocal rank and nDCG@10."""

    category: int
    answers: tuple[Answer, ...]
    recall_at: tuple[float, ...]
    reciprocal_rank: float
    ndcg: float


class Run(NamedTuple):
    """All questions, asked in one way. `semantic`: with vectors."""

    layout: str
    semantic: bool
    memories: int
    passages: int
    asked: tuple[Asked, ...]


class Measured(NamedTuple):
    """All runs; `embedding` is what each question's vector took in ms, less those that were kept;
    `counted` says how tokens were counted; `notes` are lines on what could not be measured."""

    conversations: int
    budgets: tuple[int, ...]
    runs: tuple[Run, ...]
    embedding: tuple[float, ...]
    counted: str
    notes: tuple[str, ...]


def measure(
    conversations: Sequence[Conversation],
    folder: Path,
    *,
    layouts: Sequence[str],
    semantic: Sequence[bool],
    budgets: Sequence[int],
    tell: Callable[[str], None],
) -> Measured:
    """Ask every answerable question in each layout, with and without vectors as `semantic` says.

    The vaults are made in `folder` where they are not there yet, with their vectors. `tell` is
    handed a line on what is done now. Without a model, raises ModelError where vectors alone are
    asked for, else says so in the notes.
    """
    bench = _Bench(conversations, folder, budgets, tell)
    try:
        runs, notes = [], []
        for layout in layouts:
            for vectors in semantic:
                try:
                    runs.append(bench.run(layout, semantic=vectors))
                except ModelError as err:
                    if len(semantic) == 1:
                        raise
                    notes.append(f"{layout}: no figures with vectors: {err}")
        counted = "o200k" if bench.exact else "AVM's upper bound of o200k"
        return Measured(
            conversations=len(conversations),
            budgets=tuple(budgets),
            runs=tuple(runs),
            embedding=tuple(bench.embedding),
            counted=counted,
            notes=tuple(notes),
        )
    finally:
        bench.end()


def recalled(avm: AVM, question: str, budget: int) -> Recalled:
    """What a recall answers: the only place where one is asked for."""
    return avm.recalled(question, budget)


class _Bench:
    """The vaults and the model that all runs share."""

    def __init__(
        self,
        conversations: Sequence[Conversation],
        folder: Path,
        budgets: Sequence[int],
        tell: Callable[[str], None],
    ) -> None:
        self._conversations, self._folder, self._budgets = conversations, folder, budgets
        self._tell = tell
        self._embedder: OneEmbedder | None = None
        self._encode = _encoder()
        #: What the vector of each question took, in ms.
        self.embedding: list[float] = []

    @property
    def exact(self) -> bool:
        """Whether tokens are counted by the encoder itself."""
        return self._encode is not None

    def end(self) -> None:
        """End the model's program."""
        if self._embedder:
            self._embedder.end()

    def run(self, layout: str, *, semantic: bool) -> Run:
        """Ask everything in one way. Raises ModelError."""
        if semantic and self._embedder is None:
            from avm.bench.one_embedder import OneEmbedder

            self._embedder = OneEmbedder(from_process({}), self._folder)
        asked: list[Asked] = []
        memories = passages = 0
        for conversation in self._conversations:
            name = f"{conversation.id}, {layout}, {'vectors' if semantic else 'text'}"
            self._tell(f"{name}: the vault")
            place = self._folder / f"{layout}-{conversation.id.replace(':', '.')}"
            kept = conversation_vault.keep(conversation, layout, place)
            with self._opened(kept, semantic=semantic) as avm:
                passages += self._indexed(avm, name, semantic=semantic)
                memories += len(set(kept.path_of.values()))
                self._tell(f"{name}: {len(conversation.answerable)} questions")
                with without_scans(avm.store):
                    asked += self._asked(avm, kept, conversation, semantic=semantic)
        return Run(layout, semantic, memories, passages, tuple(asked))

    def _opened(self, kept: Kept, *, semantic: bool) -> AVM:
        # No keeper: its model would be a second one. `wait`: no answer is ranked by text because
        # the machine is slow.
        settings = {"semantic": "wait" if semantic else "off", "keeper.autostart": False}
        avm = open_avm(kept.root, settings, Waiting.LIBRARY)
        avm.store.config.clock = Clock(frozen_at=kept.asked_at.timestamp())
        if semantic and self._embedder:
            avm.store.semantic.use(self._embedder)
        return avm

    def _indexed(self, avm: AVM, name: str, *, semantic: bool) -> int:
        """Bring the index up to date, with its vectors; how many passages it has."""

        def progress(stage: str, done: int, total: int) -> None:
            if stage == "embeddings" and done < total:
                self._tell(f"{name}: {done} of {total} passages embedded")

        return avm.index(wait=semantic, progress=progress)[1]

    def _asked(
        self, avm: AVM, kept: Kept, conversation: Conversation, *, semantic: bool
    ) -> Iterator[Asked]:
        recalled(avm, _WARM, self._budgets[0])
        taken = self._embedder.taken if self._embedder else []
        before = len(taken)
        for question in conversation.answerable:
            ranking = _ranking(avm, kept, question)  # first: the question is embedded here
            evidence = [conversation.texts[one] for one in question.evidence]
            yield Asked(
                question.category,
                tuple(self._answers(avm, question.text, evidence, semantic=semantic)),
                tuple(measures.recall_at(ranking, question.evidence, k) for k in RANKS),
                measures.reciprocal_rank(ranking),
                measures.ndcg_at(ranking, len({kept.path_of[e] for e in question.evidence}), DEPTH),
            )
        self.embedding += taken[before:]

    def _answers(
        self, avm: AVM, question: str, evidence: Sequence[str], *, semantic: bool
    ) -> Iterator[Answer]:
        for budget in self._budgets:
            start = time.perf_counter()
            answer = recalled(avm, question, budget)
            taken = (time.perf_counter() - start) * 1000
            if semantic and answer.ranked_by == "text":
                raise ModelError(f"a question was ranked by text: {avm.store.semantic.why_off}")
            tokens = self._encode(answer.text) if self._encode else answer.tokens
            yield Answer(budget, measures.covered(evidence, answer.text), tokens, taken)


def _ranking(avm: AVM, kept: Kept, question: Question) -> list[frozenset[str]]:
    """What each hit of a search holds of the evidence, best first."""
    evidence = frozenset(question.evidence)
    hits = avm.search(question.text, DEPTH)
    return [kept.held[hit.path, hit.line] & evidence for hit in hits]


def _encoder() -> Callable[[str], int] | None:
    """Who counts o200k tokens exactly; None if there is nobody."""
    try:
        return exact_counter()
    except ConfigError:
        return None

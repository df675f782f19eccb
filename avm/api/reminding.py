"""Telling without being asked: what matters when a session begins, what a prompt brings to mind."""

from __future__ import annotations

from binascii import crc32
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from avm.api.reading import Reading
from avm.api.viewed import again_if_damaged
from avm.recall.scoring import ScoringStrategy

if TYPE_CHECKING:
    from avm.api.reading import Asked
    from avm.recall.packing import Packed
    from avm.recall.pieces import Piece

#: Of a long prompt, its beginning and its end; a log or a file is often in the middle.
_MOST_CHARS = 2_000
#: How long a keeper may take to tell; it takes some 20 ms.
_KEEPER_SECONDS = 0.3
#: A piece with less of the best one's score is not told along with it.
_LEAST_SHARE = 0.8
#: A piece is known by how it begins, wherever it stands: the first of an answer may be cut.
_KEY_CHARS = 60


@dataclass(frozen=True)
class Reminder:
    """What is told, in markdown. `keys` name its pieces, so that they need not be told again;
    `tokens` is an upper bound of its o200k tokens."""

    text: str
    tokens: int
    keys: tuple[int, ...]


class Reminding(Reading):
    """What a viewer may be told without asking."""

    def remind(
        self, prompt: str | None, max_tokens: int, known: Collection[int] = ()
    ) -> Reminder | None:
        """`reminder`, or without a prompt `brief`; by the keeper where one runs, which has at hand
        what this process would have to load. Raises UsageError."""
        rules = self.viewer.rules
        told = self.store.keeper.ask(
            "remind",
            timeout=_KEEPER_SECONDS,
            agent=self.viewer.agent,
            read=rules.read,
            write=rules.write,
            deny=rules.deny,
            prompt=None if prompt is None else _ends_of(prompt),
            max_tokens=max_tokens,
            known=list(known),
        )
        if told is None or "error" in told:
            return self.reminded(prompt, max_tokens, known)
        if "text" not in told:
            return None
        return Reminder(str(told["text"]), int(told["tokens"]), tuple(map(int, told["keys"])))

    def reminded(
        self, prompt: str | None, max_tokens: int, known: Collection[int] = ()
    ) -> Reminder | None:
        """The same, by this process."""
        if prompt is None:
            return self.brief(max_tokens, known)
        return self.reminder(prompt, max_tokens, known)

    @again_if_damaged
    def brief(self, max_tokens: int, known: Collection[int] = ()) -> Reminder | None:
        """What is pinned, important and recent, in at most `max_tokens`; less the pieces whose keys
        are `known`. None if that is nothing. Raises UsageError."""
        budget = self._budget(max_tokens)
        with self._asked("", ScoringStrategy.BALANCED, "", None) as asked:
            _, packed = self._answer(
                asked, budget, "markdown", lambda piece: _key(piece) not in known
            )
        return _reminder(packed)

    @again_if_damaged
    def reminder(
        self, prompt: str, max_tokens: int, known: Collection[int] = ()
    ) -> Reminder | None:
        """What a prompt brings to mind, in at most `max_tokens`; None unless it clearly does.

        Filters and phrases are words here. Pieces whose keys are `known` are left out. Raises
        UsageError.
        """
        budget, text = self._budget(max_tokens), _ends_of(prompt)
        best: list[float] = []

        def wanted(piece: Piece) -> bool:
            if piece.memory.pinned:  # every answer has it; the session began with it
                return False
            best.append(-piece.score_below_zero)  # the first counts, known or not
            return best[-1] >= _LEAST_SHARE * best[0] and _key(piece) not in known

        with self._asked(text, ScoringStrategy.BALANCED, "", None, plain=True) as asked:
            if not self._deserves(asked):
                return None
            _, packed = self._answer(asked, budget, "markdown", wanted)
        return _reminder(packed)

    def _deserves(self, asked: Asked) -> bool:
        from avm.recall.deserving import deserves

        if not asked.query or not asked.found:
            return False
        index = self.store.index
        text = max(item.text or 0.0 for item in asked.found)
        cosines = [item.cosine for item in asked.found if item.cosine is not None]
        telling = sum(index.idf(asked.query.words).values())
        meaning = max(cosines, default=0.0) if asked.semantic == "on" else None
        return deserves(text, telling, index.size(), meaning)


def _reminder(packed: Packed) -> Reminder | None:
    if not packed.pieces:
        return None
    text = packed.text.partition("\n")[2]  # how it was found is for people
    return Reminder(text, packed.tokens, tuple(map(_key, packed.pieces)))


def _key(piece: Piece) -> int:
    return crc32(piece.text[:_KEY_CHARS].casefold().encode("utf-8", "surrogateescape"))


def _ends_of(prompt: str) -> str:
    if len(prompt) <= 2 * _MOST_CHARS:
        return prompt
    beginning, end = prompt[:_MOST_CHARS], prompt[-_MOST_CHARS:]
    # Half a word would be one that no memory has.
    return f"{beginning.rsplit(None, 1)[0]} {end.split(None, 1)[-1]}"

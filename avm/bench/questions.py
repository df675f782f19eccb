"""What is asked of a made vault: rare and common words that it holds, and questions."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import islice

from avm.bench.vault_maker import SEED, memories
from avm.bench.words import Words

#: Ranks: past the words that say nothing, and among those that a vault of thousands holds twice.
_COMMON = (108, 167)
_MIDDLING = (600, 4_000)
_RARE_FROM = 14_000
_WORD = re.compile(r"[a-z]+")


class Questions:
    """Questions to a vault of `size` memories; always the same, no two alike."""

    def __init__(self, size: int, seed: int = SEED) -> None:
        self._chance = random.Random(f"questions {seed}")
        self._words = Words(self._chance)
        rare = set(self._words.vocabulary[_RARE_FROM:])
        texts = (one.data.decode().lower() for one in islice(memories(size, seed), 400))
        found = {word for text in texts for word in _WORD.findall(text) if word in rare}
        self._rare = sorted(found)

    def rare(self, count: int) -> list[str]:
        """One word each, which few memories hold."""
        return self._differing(count, lambda: self._chance.choice(self._rare))

    def common(self, count: int, words: int = 1) -> list[str]:
        """So many words each, which very many memories hold."""
        between = self._words.between
        return self._differing(
            count, lambda: " ".join(dict.fromkeys(between(*_COMMON) for _ in range(words)))
        )

    def mixed(self, count: int) -> list[str]:
        """Six words each, as a person asks: three common, two middling, one rare."""
        between = self._words.between

        def one() -> str:
            words = [between(*_COMMON) for _ in range(3)] + [between(*_MIDDLING) for _ in range(2)]
            return " ".join(dict.fromkeys([*words, self._chance.choice(self._rare)]))

        return self._differing(count, one)

    @staticmethod
    def _differing(count: int, make: Callable[[], str]) -> list[str]:
        """`count` of them, different as far as there are so many."""
        found: dict[str, None] = {}
        for _ in range(count * 20):
            found[make()] = None
            if len(found) == count:
                break
        return list(found)

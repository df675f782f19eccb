"""Makes a vault of varied memories, the same for the same size and seed, with a history in git.

The texts have the word frequencies of real ones, lengths from a line to some pages, titles, tags,
importance, dates and links, here and there an identifier, a piece of code, or Chinese, Japanese or
Korean. No folder holds more than 500 files.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from avm.bench.words import CJK_SENTENCES, IDENTIFIERS, Words
from avm.vault import git, init
from avm.vault.location import Vault
from avm.vault.repository import branch

SEED = 2026
MOST_FILES = 500
#: The newest memory's date, and how far back they go.
_LAST_DAY = datetime(2026, 11, 1, tzinfo=UTC)
_DAYS = 3 * 365
_FOLDERS = (
    "memory/shared/market", "memory/shared/engineering", "memory/shared/people",
    "memory/private/akashi", "memory/private/hermes",
)  # fmt: skip
_TAGS = 200
#: The middle of the lengths in words, and their spread (log-normal): 9 in 10 are below 220 words.
_WORDS, _SPREAD = 60, 1.0
_MOST_WORDS = 4_000
#: One commit for so many memories.
_A_COMMIT = 200
#: What git is handed at once: some 15 MB.
_AN_IMPORT = 20_000


class Made(NamedTuple):
    """A memory: where it goes (a rel), its bytes, and when it was written."""

    rel: str
    data: bytes
    when: datetime


def make_vault(root: Path, size: int, seed: int = SEED) -> Vault:
    """A vault at `root`, absent or empty, of `size` memories, all committed, oldest first."""
    made = memories(size, seed)
    return fill(root, iter(lambda: list(islice(made, _AN_IMPORT)), []))


def fill(root: Path, parts: Iterable[Sequence[Made]]) -> Vault:
    """A vault at `root`, absent or empty, of the memories in `parts`, all committed in that order.

    No commit is of two parts, and each is dated as the first memory in it.
    """
    vault = init.make(root)
    for part in parts:
        _write(root, part)
        _commit(vault, part)
    git.run(root, ("reset", "--quiet"))  # git's index knows the new tree
    return vault


def memories(size: int, seed: int = SEED) -> Iterator[Made]:
    """`size` memories, oldest first; the first of a larger number differ only in their dates."""
    author = Author(seed)
    for number in range(size):
        yield author.write(number, _LAST_DAY - timedelta(days=_DAYS * (1 - number / size)))


class Author:
    """Makes up memories, one after another."""

    def __init__(self, seed: int = SEED) -> None:
        self._chance = random.Random(seed)
        self.words = Words(self._chance)
        self._tags = list(self.words.vocabulary[300 : 300 + _TAGS])
        self._names: list[str] = []

    def write(self, number: int, when: datetime) -> Made:
        """The memory of this number."""
        chance = self._chance
        words = self.title()
        name = f"{'_'.join(words)}_{number}"
        folder = _FOLDERS[number % len(_FOLDERS)]
        shard = number // len(_FOLDERS) // MOST_FILES
        text = self.body()
        if chance.random() < 0.8:
            text = self._front(" ".join(words), when) + text
        self._names.append(name)
        del self._names[:-1000]
        return Made(f"{folder}/{shard:03}/{name}.md", text.encode(), when)

    def title(self) -> list[str]:
        """Two to five words, not the commonest."""
        return [self.words.between(100, 20_000) for _ in range(self._chance.randint(2, 5))]

    def body(self) -> str:
        """The text of a memory."""
        chance = self._chance
        left = min(_MOST_WORDS, max(5, int(chance.lognormvariate(0, _SPREAD) * _WORDS)))
        long, parts = left > 150, []
        while left > 0:
            if long and chance.random() < 0.3:
                parts.append(f"## {' '.join(self.title()).capitalize()}")
            count = min(left, chance.randint(20, 80))
            parts.append(self._paragraph(count))
            left -= count
        return "\n\n".join(parts) + "\n"

    def _paragraph(self, count: int) -> str:
        chance, words = self._chance, self.words.draw(count)
        for _ in range(count // 40 + (chance.random() < 0.2)):
            words[chance.randrange(count)] = self._odd()
        sentences = []
        while words:
            length = chance.randint(6, 18)
            sentence = " ".join(words[:length])
            sentences.append(f"{sentence[0].upper()}{sentence[1:]}.")
            del words[:length]
        return " ".join(sentences)

    def _odd(self) -> str:
        """What is no plain word: an identifier, a link, a number, a tag, another script."""
        chance = self._chance
        kind = chance.random()
        if kind < 0.3:
            return chance.choice(IDENTIFIERS)
        if kind < 0.5 and self._names:
            return f"[[{chance.choice(self._names)}]]"
        if kind < 0.7:
            return f"{chance.uniform(0, 500):.2f}"
        if kind < 0.85:
            return f"#{chance.choice(self._tags)}"
        return chance.choice(CJK_SENTENCES)

    def _front(self, title: str, when: datetime) -> str:
        chance = self._chance
        lines = [f"title: {title}", f"created: {when:%Y-%m-%dT%H:%M:%SZ}"]
        if chance.random() < 0.6:
            lines.append(f"importance: {chance.betavariate(2, 2):.1f}")
        if chance.random() < 0.7:
            tags = dict.fromkeys(chance.choices(self._tags, k=chance.randint(1, 4)))
            lines.append(f"tags: [{', '.join(tags)}]")
        if chance.random() < 0.02:
            lines.append("expires: 2099-01-01T00:00:00Z")
        return "---\n" + "\n".join(lines) + "\n---\n"


def _write(root: Path, made: Sequence[Made]) -> None:
    for folder in {os.path.dirname(one.rel) for one in made}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for rel, data, when in made:
        place = f"{root}/{rel}"
        with open(place, "wb") as file:
            file.write(data)
        os.utime(place, (when.timestamp(), when.timestamp()))


def _commit(vault: Vault, made: Sequence[Made]) -> None:
    ref = branch(vault)[0].encode()
    parts = []
    for number, (rel, data, when) in enumerate(made):
        if number % _A_COMMIT == 0:
            who = b"Pat Person <pat@example.org> %d +0000" % when.timestamp()
            parts.append(b"commit %s\nauthor %s\ncommitter %s\ndata 5\nNotes\n" % (ref, who, who))
            parts.append(b"from %s^0\n" % ref if number == 0 else b"")
        parts.append(b"M 100644 inline %s\ndata %d\n%s\n" % (rel.encode(), len(data), data))
    git.run(vault.root, ("fast-import", "--quiet"), stdin=b"".join(parts))

"""The best pieces into a token budget. The budget is hard, header included."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from avm.base.errors import UsageError
from avm.recall.fates import Fate, Kind
from avm.recall.layout import Count, Markdown, Plain
from avm.recall.pieces import Piece
from avm.recall.similarity import says_the_same
from avm.recall.tokens import count_tokens

FORMATS = ("markdown", "plain")
_TOO_SMALL = "The budget is too small for any passage.\n"
#: A part of a passage shorter than this says nothing.
_LEAST_CHARS = 20
#: No piece costs less.
_LEAST_TOKENS = 5
#: Of the words of the longer of two that say nearly the same (similarity.py), the other has more.
_SHARED_WORDS = 0.85
_WORD = re.compile(r"\w+")
_NO_WORD = {code: " " for code in range(128) if not _WORD.match(chr(code))}
#: Pieces that did not fit, after which no shorter one is looked for.
_MOST_MISSES = 40
_LAST_LOOKS = 4


@dataclass(frozen=True)
class Packed:
    """What `recall` answers. `tokens` is an upper bound of its o200k tokens.

    `pieces` are those that it holds; `fates`: what became of memories, by rel, the budget's victims
    aside.
    """

    text: str
    tokens: int
    passages: int
    memories: int
    pieces: tuple[Piece, ...] = ()
    fates: Mapping[str, Fate] = field(default_factory=dict)


def pack(
    found: Iterable[Piece],
    max_tokens: int,
    ranked_by: str,
    matching: str,
    format: str = "markdown",
    count: Count | None = None,
) -> Packed:
    """Take the best pieces that fit into `max_tokens`; the first is cut if it does not fit.

    What says the same is packed once, the newest. `ranked_by` (`text`, `text+vectors`) and how many
    memories are `matching` go into the header. `count` counts tokens, by default their upper bound.
    Raises UsageError for an unknown format.
    """
    if format not in FORMATS:
        raise UsageError(f"format {format!r}: use one of {', '.join(FORMATS)}")
    return _Packing(max_tokens, ranked_by, matching, format, count or _tokens).of(found)


def first_fitting(lines: Sequence[str], max_tokens: int) -> Packed:
    """The first of `lines` that keeps to the budget, as an answer of no passage; else nothing."""
    for line in lines:
        tokens = count_tokens(line)
        if tokens <= max_tokens:
            return Packed(line, tokens, 0, 0)
    return Packed("", 0, 0, 0)


@lru_cache(2048)
def _tokens(part: str) -> int:
    """`count_tokens` of a part of an answer: the same passages answer many questions."""
    return count_tokens(part)


class _Packing:
    """One answer as it is made."""

    def __init__(
        self, max_tokens: int, ranked_by: str, matching: str, format: str, count: Count
    ) -> None:
        self._most = max_tokens
        self._ranked_by = ranked_by
        self._matching = matching
        self._count = count
        self._plain = format == "plain"
        self._layout = Plain(count) if self._plain else Markdown(count)
        self._chosen: dict[str, Piece] = {}
        #: The words of what each of them says, by their number.
        self._words: dict[int, list[tuple[frozenset[str], str]]] = {}
        self._duplicates = 0
        self._costs: dict[str, int] = {}
        longest = count(self._header(99, 99, max_tokens, "", 99))
        shortest = count(self._header(1, 1, max_tokens, "", 0))
        #: Tokens that are left, and those that the header may still need.
        self._room = max_tokens - shortest - self._layout.frame
        self._reserve = longest - shortest
        #: For explaining: what each memory said that was there already, and which say nothing.
        self._said_twice: dict[str, list[str]] = {}
        self._empty: set[str] = set()

    def of(self, found: Iterable[Piece]) -> Packed:
        """The answer of these pieces, best first."""
        misses = 0
        exact = False
        for piece in found:
            # A few more are looked at where all is full: a newer one may say the same.
            if misses > (_MOST_MISSES if self._room >= _LEAST_TOKENS else _LAST_LOOKS):
                break
            words = " ".join(piece.text.casefold().split())
            if not words:
                self._empty.add(piece.path)
                continue
            own = _words_of(words)
            same = self._said_by(words, own)
            if same in self._chosen:
                self._take_the_newer(same, piece)
                continue
            if not self._chosen:
                # The one that answers best is worth a part of it; any other gives way to a shorter.
                piece = self._cut(piece) or piece
            cost = self._cost(piece)
            if cost > self._room and self._chosen and not exact:
                # What stands together costs less than its parts.
                self._room, exact = self._most - self._finish().tokens, True
                cost = self._cost(piece)  # so far it may only say that there is no room
            if cost > self._room:
                misses += 1
                continue
            self._take(words, piece, cost)
            self._room, self._reserve = self._room - self._reserve, 0
            self._words.setdefault(len(own), []).append((own, words))
            exact = False
        while self._chosen:
            packed = self._finish()
            if packed.tokens <= self._most:
                return replace(packed, fates=self._fates())
            if self._duplicates:  # found when all was full: how many there are gives way
                self._duplicates = 0
            else:
                self._layout.take_out(self._chosen.popitem()[1])
        nothing = "Nothing found.\n" if self._empty and not misses else _TOO_SMALL
        return replace(first_fitting([nothing], self._most), fates=self._fates())

    def _take(self, words: str, piece: Piece, cost: int) -> None:
        self._chosen[words] = piece
        self._costs[words] = cost
        self._layout.add(piece)
        self._room -= cost

    def _take_the_newer(self, words: str, piece: Piece) -> None:
        """A chosen piece says the same as this one: the newer of both stays, if it fits."""
        other = self._chosen[words]
        self._duplicates += piece.path != other.path
        for one in (piece, other):
            self._said_twice.setdefault(one.path, []).append(words)
        if piece.memory.changed <= other.memory.changed:
            return
        self._layout.take_out(other)
        self._room += self._costs[words]
        newer = self._cut(piece)
        stays = newer or other
        self._take(words, stays, self._cost(stays) if newer else self._costs[words])

    def _said_by(self, words: str, own: frozenset[str]) -> str:
        """What a chosen piece says that is nearly the same; `words` if there is none."""
        if words in self._chosen:
            return words
        size = len(own)
        # Most are told apart by how many words they have and share, which costs far less.
        for number in range(math.ceil(size * _SHARED_WORDS), int(size / _SHARED_WORDS) + 1):
            for theirs, other in self._words.get(number, ()):
                shared = len(own & theirs) >= _SHARED_WORDS * max(size, number)
                if shared and other in self._chosen and says_the_same(words, other):
                    return other
        return words

    def _fates(self) -> dict[str, Fate]:
        """What became of each memory that was looked at, unless the budget had no room for it."""
        fates = {path: Fate(Kind.EMPTY) for path in self._empty}
        for path, said in self._said_twice.items():
            stay = {self._chosen[words].path: None for words in said if words in self._chosen}
            if stay:
                fates[path] = Fate(Kind.DUPLICATE, tuple(stay))
        fates.update((piece.path, Fate(Kind.PACKED)) for piece in self._chosen.values())
        return fates

    def _cost(self, piece: Piece) -> int:
        # Each word costs a token, and to count these is slower.
        fits = len(piece.text.split()) <= self._room
        return self._layout.cost(piece) if fits else self._room + 1

    def _cut(self, piece: Piece) -> Piece | None:
        """The piece, or as much of its start as fits; None if that is next to nothing."""
        if self._cost(piece) <= self._room:
            return piece
        low, high = 0, len(piece.text)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self._layout.cost(_shortened(piece, middle)) <= self._room
            low, high = (middle, high) if fits else (low, middle - 1)
        return _shortened(piece, low) if low >= _LEAST_CHARS else None

    def _finish(self) -> Packed:
        body, below, root = self._layout.body()
        chosen = tuple(self._chosen.values())
        passages, memories = len(chosen), len({piece.memory.id for piece in chosen})
        if self._plain:
            return Packed(body, below, passages, memories, chosen)
        tokens = counted = 0
        for _ in range(4):  # the header names the count that it is part of
            header = self._header(passages, memories, tokens, root, self._duplicates)
            counted = self._count(header) + below
            if counted <= tokens:
                break
            tokens = counted
        return Packed(header + body, max(tokens, counted), passages, memories, chosen)

    def _header(self, passages: int, memories: int, tokens: int, root: str, duplicates: int) -> str:
        if self._plain:
            return ""
        matching = f"{self._matching} {'memory' if self._matching == '1' else 'memories'}"
        twice = f", {_plural(duplicates, 'duplicate')} left out" if duplicates else ""
        where = f" in {root}" if root else ""
        return (
            f"{_plural(passages, 'passage')} from {memories} of"
            f" {matching}{where}{twice}, {tokens} tokens, ranked by {self._ranked_by}\n"
        )


def _words_of(text: str) -> frozenset[str]:
    if text.isascii():  # what the expression finds, in a third of the time
        return frozenset(text.translate(_NO_WORD).split())
    return frozenset(_WORD.findall(text))


def _shortened(piece: Piece, length: int) -> Piece:
    text = piece.text[:length]
    blank = max(text.rfind(" "), text.rfind("\n"))
    if length < len(piece.text):
        text = (text[:blank] if blank > 0 else text).rstrip() + " …"
    last = piece.first_line + text.count("\n")
    return piece._replace(text=text, last_line=last, whole=False)


def _plural(count: int, noun: str) -> str:
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count} {noun if count == 1 else many}"

"""A vocabulary with the word frequencies of real text: Zipf's law over words from a fixed seed."""

from __future__ import annotations

import functools
import random
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate

from avm.recall.tokens import known_words

#: What English says most often, in that order, and words of work. Then come other real words, which
#: are stemmed and counted in tokens as real text is, and made-up ones.
_COMMON = """
the of and to in a is that for it was on with as be at by this had not are but from or have an
they which one you were all her she there would their we him been has when who will no more if
out so up said what its about than into them can only other time new some could these two may
first then do any like my now over such our man me even most made after also did many off before
must well back through years much where your way down should because long each just state those
people too how good work market risk price order report system rule day week agent memory note
plan test data value change key file user team meeting decision budget client server release
review index search query build deploy error signal trend volume spread margin position earnings
quarter growth rate bond option hedge limit loss profit trade account threshold average window
model weight feature
"""
_ONSETS = """
b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sl sp st str t th tr v w
"""
_VOWELS = "a a a e e e e i i o o u ai ea ee ie oa ou"
_CODAS = "b ck ct d ft g l ld ll m mp n nd ng nt p r rd rk rm rn rt s sh sk ss st t th x"
_ENDINGS = ("", "", "", "s", "ed", "ing", "er", "ly", "ion", "ment", "able", "ness", "ity", "al")
_VOCABULARY = 30_000
#: Mandelbrot's form of Zipf's law, 1 / (rank + shift) ** exponent, fitted to English.
_SHIFT, _EXPONENT = 2.7, 1.07

CJK_SENTENCES = (
    "记忆是普通的文件,用任何编辑器都可以打开。",
    "市场波动超过阈值时,先减少仓位再等待确认。",
    "メモリはただのファイルなので、どのエディタでも開ける。",
    "決算の前にはポジションを小さくする。",
    "기억은 평범한 파일이라서 어떤 편집기로도 열 수 있다.",
    "변동성이 커지면 주문 크기를 줄인다.",
)
IDENTIFIERS = (
    "getUserName", "parseFrontMatter", "max_open_orders", "RetryPolicy", "flushJournal",
    "v2.14.3", "src/index/scan.py", "HTTPServerError", "onPriceUpdate", "snapshot_interval_ms",
)  # fmt: skip


class Words:
    """Draws words as text has them: the first is in every sentence, most turn up now and then."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.vocabulary = vocabulary()
        ranks = range(1, len(self.vocabulary) + 1)
        self._sums = list(accumulate((rank + _SHIFT) ** -_EXPONENT for rank in ranks))

    def draw(self, count: int) -> list[str]:
        """`count` words by their frequency."""
        return self._chance.choices(self.vocabulary, cum_weights=self._sums, k=count)

    def between(self, first: int, last: int) -> str:
        """A word of a rank in [first, last), by its frequency among them."""
        low, high = self._sums[first], self._sums[min(last, len(self._sums)) - 1]
        at = bisect(self._sums, self._chance.uniform(low, high))
        return self.vocabulary[min(at, len(self.vocabulary) - 1)]


@functools.cache
def vocabulary() -> Sequence[str]:
    """Different words, most frequent first; always the same."""
    chance = random.Random("vocabulary")
    onsets, vowels, codas = _ONSETS.split(), _VOWELS.split(), _CODAS.split()
    real = known_words()
    chance.shuffle(real)
    found = dict.fromkeys([*_COMMON.split(), *real])
    while len(found) < _VOCABULARY:
        # Rare words are longer.
        syllables = (
            1 + (chance.random() < 0.3 + len(found) / _VOCABULARY / 2) + (chance.random() < 0.25)
        )
        stem = "".join(chance.choice(onsets) + chance.choice(vowels) for _ in range(syllables))
        found[stem + chance.choice(codas) + chance.choice(_ENDINGS)] = None
    return list(found)

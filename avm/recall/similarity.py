"""How alike two texts are by their words alone. Pure.

Words are compared and not their order in the whole, so sentences that changed places, another line
break or other emphasis make no difference; a word more, or two that changed places, makes a little.
What turns a text into another one with a single word is looked at apart: numbers, signs, negations.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

from avm.index.words import cjk_runs, normal, pairs, without_cjk

#: From here on two texts say the same, if numbers, signs and negations agree. Of 28 different words
#: or fewer none may be another one; one may be put in between 19, or added to 10.
NEARLY_THE_SAME = 0.9
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
#: What markdown puts before a line: quotes, bullets, headings.
_LINE_START = re.compile(r"^[ \t]*(?:(?:[>*+-]|#{1,6})[ \t]+)+", re.MULTILINE)
_ARROW = re.compile("[-=]+>|[→⇒➜]")
_NUMBER_OR_SIGN = re.compile(r"(?:(?<!\w)[-−+±])?\d+(?:[.,:/-]\d+)*|[!<>=]=|[^\w\s]")
#: Symbols to Unicode that are markdown's.
_MARKUP = frozenset("|~")
_NUMERAL = re.compile("[0-9〇零一二三四五六七八九十百千万亿億]")
_TURNING = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|neither|nor|without|cannot|\w+n['’]t)\b"
    "|[不没沒無无未非勿別别]|ない|ません|않|못|없",
    re.IGNORECASE,
)


def resemblance(a: str, b: str) -> float:
    """How much of their words two texts have in common, from 0.0 to 1.0 for the same words.

    |S(a) ∩ S(b)| / |S(a) ∪ S(b)|, where S(x) are the words of x and the pairs of words that stand
    next to each other (its shingles of one and two words): the resemblance of A. Broder, "On the
    resemblance and containment of documents", Compression and Complexity of Sequences 1997. Words
    are NFKC, case folded, without punctuation and markdown's signs; CJK is its pairs of characters.
    Texts without any word resemble each other only if they are the same.
    """
    ours, theirs = _shingles(a), _shingles(b)
    if not ours and not theirs:
        return float(a.strip() == b.strip())
    return len(ours & theirs) / len(ours | theirs)


def says_the_same(a: str, b: str) -> bool:
    """Whether two texts have nearly all their words in common, and the same numbers, signs and
    negations in the same order: `RSI > 70` and `RSI > 80` do not say the same, however long the
    text around them."""
    if _figures(a) != _figures(b) or _turns(a) != _turns(b):
        return False
    return resemblance(a, b) >= NEARLY_THE_SAME


def adds_nothing(new: str, standing: str) -> bool:
    """Whether a text says the same as one that stands, and has no word that this one lacks."""
    return says_the_same(new, standing) and set(_words(new)) <= set(_words(standing))


def is_version(a: str, b: str) -> bool:
    """Whether two texts differ in numbers, signs and negations at most: one says of the same what
    the other says, at another time. A name that differs makes it another fact."""
    left, right = (_NUMERAL.sub(" ", _TURNING.sub(" ", normal(text))) for text in (a, b))
    return resemblance(left, right) >= NEARLY_THE_SAME


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = list(_words(text))
    return {(word,) for word in words} | set(pairwise(words))


def _words(text: str) -> Iterator[str]:
    text = normal(text).casefold().replace("’", "'")
    yield from _WORD.findall(without_cjk(text))
    for run in cjk_runs(text):
        yield from pairs(run)


def _figures(text: str) -> list[str]:
    """The numbers with their signs, comparisons and other symbols, in order; no arrows."""
    text = _ARROW.sub(" ", normal(_LINE_START.sub("", text)))
    return [found for found in _NUMBER_OR_SIGN.findall(text) if _tells(found)]


def _tells(found: str) -> bool:
    if len(found) > 1 or found.isdigit() or found in "%‰":
        return True
    category = unicodedata.category(found)
    return category[0] == "S" and category != "Sk" and found not in _MARKUP


def _turns(text: str) -> list[str]:
    return [found.casefold().replace("’", "'") for found in _TURNING.findall(normal(text))]

"""Forms of words that the tokenizer `porter unicode61` cannot make; the same for text and query.

unicode61 folds letter case and takes off accents, but a run of CJK characters is one token to it,
`getUserName` is one, and full-width or otherwise compatible letters (`ＡＢＣ`, `ﬁ`, `ß`) are
letters of their own. So beside a passage's text two columns are searched: `cjk` holds overlapping
pairs of characters, `parts` holds the parts of identifiers and the NFKC forms of words. Pure.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator
from functools import cache

#: Han with its iteration marks, kana with the prolonged sound mark (half-width ones are full-width
#: in NFKC; the middle dot separates), Hangul syllables and letters.
_CJK_CHARACTERS = (
    "[\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufad9\U00020000-\U0002fa1d\U00030000-\U0003134a"
    "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb]+"
)
_IDENTIFIER_FORM = (
    # camelCase, or letters and digits in one word
    r"(?:[a-zA-Z]*(?:[a-z0-9][A-Z]|[A-Z][A-Z][a-z]|[0-9][a-zA-Z]|[a-zA-Z][0-9])\w*)"
    # with what is joined to it: v1.2.3
    r"(?:[.:/\\_-]+\w+)*"
)
#: What makes a word an identifier; looked for first, since most text has none and it is cheap.
_MIXED_FORM = r"[a-z0-9][A-Z]|[A-Z][A-Z][a-z]|[0-9][a-zA-Z]|[a-zA-Z][0-9]"
_TELLING = re.compile("[A-Z0-9]")
_JOINING = frozenset(f"{string.ascii_letters}{string.digits}_.:/\\-")
_JOINED_FORM = r"\w+(?:[.:/\\_-]+\w+)*"
_PART_FORM = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+"
_WORD = re.compile(r"[^\W_]+")
#: More parts than this make no name that anybody asks for by its parts: a hash, a key, base64.
_MOST_PARTS = 12


@cache
def _pattern(form: str, flags: int = 0) -> re.Pattern[str]:
    """Compiled at first use, which takes a millisecond each: a question needs few of them."""
    return re.compile(form, flags)


def normal(text: str) -> str:
    """NFKC: full-width letters, half-width kana and ligatures as the common ones."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def cjk_runs(text: str) -> list[str]:
    """The runs of CJK characters in `text`, which is NFKC."""
    return [] if text.isascii() else _pattern(_CJK_CHARACTERS).findall(text)


def without_cjk(text: str) -> str:
    """`text` with a blank for each run of CJK characters."""
    return text if text.isascii() else _pattern(_CJK_CHARACTERS).sub(" ", text)


def pairs(run: str) -> list[str]:
    """The overlapping pairs of a run of CJK characters; a single one is itself."""
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]


def cjk_column(text: str) -> str:
    """What is indexed of the CJK in `text`: each run's pairs, then its last character alone.

    So each character begins a token, and a single one is found as a prefix.
    """
    if text.isascii():
        return ""
    found: list[str] = []
    for run in _pattern(_CJK_CHARACTERS).findall(normal(text)):
        found += pairs(run)
        if len(run) > 1:
            found.append(run[-1])
    return " ".join(found)


def identifier_parts(word: str) -> list[str]:
    """The parts of `HTTPServer2` (HTTP, Server, 2) or `v1.2.3`; [] if it has no more than one."""
    found = _pattern(_PART_FORM).findall(word)
    return found if 1 < len(found) <= _MOST_PARTS else []


def identifiers(text: str) -> list[str]:
    """The parts of all identifiers in `text`, which is NFKC, each identifier once."""
    if text.isalpha() and text[1:].islower():
        return []  # a plain word, as most that are asked for
    found: list[str] = []
    identifier = _pattern(_IDENTIFIER_FORM, re.ASCII)
    names = [name for word in _mixed_words(text) for name in identifier.findall(word)]
    for name in dict.fromkeys(names):
        found += identifier_parts(name)
    return found


def _mixed_words(text: str) -> Iterator[str]:
    """The words, with what is joined to them, that may be identifiers."""
    mixed, end = _pattern(_MIXED_FORM), 0
    # One class of characters is searched for far faster than what they stand beside.
    for found in _TELLING.finditer(text):
        start = found.start()
        if start < end or not (mixed.match(text, start) or mixed.match(text, max(0, start - 1))):
            continue
        while start > end and text[start - 1] in _JOINING:
            start -= 1
        joined = _pattern(_JOINED_FORM, re.ASCII).search(text, start)
        if joined:
            end = joined.end()
            yield joined[0]


def parts_column(text: str) -> str:
    """What is indexed of identifiers in `text`, and of words whose NFKC is another."""
    found = identifiers(normal(text))
    if not text.isascii():
        plain = set(_WORD.findall(text.lower()))
        folded = without_cjk(normal(text).casefold())
        found += dict.fromkeys(word for word in _WORD.findall(folded) if word not in plain)
    return " ".join(found)

"""A question in a person's or an agent's words, made into what the index looks for. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from avm.index.words import cjk_runs
from avm.index.text import Words

_WORD = re.compile(r"[^\W_]+(?:[.'’_-][^\W_]+)*")
#: Words so common that they tell nothing of what is asked: articles, pronouns, auxiliaries,
#: prepositions, question words. A query of nothing else is asked as it is.
_STOP_WORDS = frozenset(
    """a an and any are as at be been but by can could did do does for from had has have he her
    him his how i if in into is it its me my no not of on or our shall she should so some than that
    the their them then there these they this those to was we were what when where which who whom
    whose why will with would you your""".split()  # noqa: SIM905 (a list of 80 lines reads worse)
)
_MOST_WORDS = 64


@dataclass(frozen=True)
class Query:
    """`text` as asked, NFC; `words` is what full text looks for. Falsy if there is nothing."""

    text: str
    words: Words

    def __bool__(self) -> bool:
        return bool(self.words.words or self.words.cjk)


def parse(text: str) -> Query:
    """Read a question. Never raises: whatever is no word is passed over."""
    text = unicodedata.normalize("NFC", text.replace("\0", " ")).strip()
    runs = cjk_runs(text)
    rest = text
    for run in runs:
        rest = rest.replace(run, " ")
    words = list(dict.fromkeys(word.casefold() for word in _WORD.findall(rest)))
    telling = [word for word in words if word not in _STOP_WORDS]
    chosen = telling or ([] if runs else words)
    return Query(text, Words(tuple(chosen[:_MOST_WORDS]), tuple(dict.fromkeys(runs))[:_MOST_WORDS]))

"""A question in a person's or an agent's words, made into what the index looks for. Pure.

The language is in docs/search.md. What does not parse is words: there are no errors.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from datetime import UTC, tzinfo
from typing import NamedTuple

from avm.base.errors import UsageError
from avm.base.paths import is_agent_name
from avm.base.times import parse_duration, parse_moment
from avm.index.text import NO_WORDS, Condition, Filter, Term, Words
from avm.index.words import cjk_runs, normal, without_cjk

_WORD = re.compile(r"[^\W_]+(?:(?:[.'’_-]|::)[^\W_]+)*")
_POSSESSIVE = re.compile(r"['’]s$", re.IGNORECASE)
#: A quoted phrase with what stands before it, or whatever else is between blanks.
_ITEM = re.compile(r'[^\s"]*"[^"]*"(?!\S)|\S+')
KEYS = ("tag", "path", "agent", "since", "before", "importance")
_ASKED = re.compile(
    r"(?P<not>-(?=[\w\"]))?"
    rf"(?:(?P<key>{'|'.join(KEYS)})(?P<how>:|[<>]=?|=))?"
    r'(?:"(?P<phrase>[^"]+)"|(?P<plain>[^\s"]+))'
)
#: Words so common that they tell nothing of what is asked: articles, pronouns, auxiliaries,
#: prepositions, question words. A query of nothing else is asked as it is.
_STOP_WORDS = frozenset(
    """a an and any are as at be been but by can could did do does for from had has have he her
    him his how i if in into is it its me my no not of on or our shall she should so some than that
    the their them then there these they this those to was we were what when where which who whom
    whose why will with would you your""".split()  # noqa: SIM905 (a list of 80 lines reads worse)
)
_MOST_WORDS = 64
#: Words of a name that a question calls something by.
_LONGEST_NAME = 3
_AROUND = "\"'“”‘’.,;:!?()[]{}<>*_`"
_MOST_CONDITIONS = 32


class Query(NamedTuple):
    """A question taken apart. Falsy if there are no words to look for.

    `text` is as asked, NFC; `question` that without filters, for the model. `words` is what full
    text looks for, `without` what a memory must not hold.
    """

    text: str
    question: str
    words: Words
    conditions: tuple[Condition, ...] = ()
    without: Words = NO_WORDS

    def __bool__(self) -> bool:
        return bool(self.words)

    def names(self) -> list[str]:
        """What a value of a field may be called in the question: runs of its words, case folded."""
        words = self._folded()
        runs = (words[i : i + n] for n in range(1, _LONGEST_NAME + 1) for i in range(len(words)))
        return list(dict.fromkeys(" ".join(run) for run in runs if any(run)))

    def without_names(self, names: Collection[str]) -> str:
        """The question less these of its names; all of it if nothing else in it tells anything."""
        words, folded = self.question.split(), self._folded()
        left, i = [], 0
        while i < len(words):
            runs = (folded[i : i + n] for n in range(_LONGEST_NAME, 0, -1))
            named = next((len(run) for run in runs if " ".join(run) in names), 0)
            if not named:
                left.append(words[i])
            i += named or 1
        text = " ".join(left)
        tells = any(term.text.casefold() not in _STOP_WORDS for term in _terms(text))
        return text if tells else self.question

    def _folded(self) -> list[str]:
        words = [_POSSESSIVE.sub("", word) for word in self.question.casefold().split()]
        return [word.strip(_AROUND) for word in words][:_MOST_WORDS]

    @property
    def only_filters(self) -> bool:
        """Whether it says which memories, and not what is looked for in them."""
        return not self.words and any(not condition.negated for condition in self.conditions)

    def narrow(self, where: Filter) -> Filter:
        """`where` and what is asked for besides."""
        return where.asking(self.conditions, self.without)


def parse(text: str, now: float = 0.0, zone: tzinfo | None = UTC) -> Query:
    """Read a question; never raises. `now`: seconds since the epoch, what `since:7d` counts from;
    dates without a zone are in `zone`, None for the process's own."""
    text = _clean(text).strip()
    asked: list[str] = []
    terms: list[Term] = []
    without: list[Term] = []
    conditions: list[Condition] = []
    for item in _ITEM.findall(text):
        found = _ASKED.fullmatch(item)
        phrase = found and found["phrase"]
        if found and found["key"] and len(conditions) < _MOST_CONDITIONS:
            condition = _condition(found, now, zone)
            if condition:
                conditions.append(condition)
                continue
        if found and found["not"] and not found["key"]:
            words = _terms(phrase or found["plain"])
            without += [Term(phrase)] if phrase and words else words
            continue
        asked.append(item)
        if found and phrase and not found["key"] and _WORD.search(phrase):
            terms.append(Term(phrase))
        else:
            terms += _terms(item)
    return Query(
        text,
        " ".join(asked),
        Words(_telling(terms)),
        tuple(dict.fromkeys(conditions)),
        Words(tuple(dict.fromkeys(without))[:_MOST_WORDS]),
    )


def plain(text: str) -> Query:
    """A text that asks for nothing by itself: filters and phrases are words here."""
    text = _clean(text).strip()
    return Query(text, text, Words(_telling(_terms(text))))


def telling_words(text: str, most: int) -> Words:
    """The first words of a text that is no question, without what every text has; filters and
    phrases are words here."""
    return Words(_telling(_terms(_clean(text)))[:most])


def _clean(text: str) -> str:
    """NFC, of characters that SQLite and FTS5 take."""
    text = text.replace("\0", " ").encode("utf-8", "replace").decode()
    return unicodedata.normalize("NFC", text)


def _terms(text: str) -> list[Term]:
    """The words of a text, possessives as what possesses, and its runs of CJK."""
    text = normal(text)
    words = [Term(_POSSESSIVE.sub("", word)) for word in _WORD.findall(without_cjk(text))]
    return words + [Term(run) for run in cjk_runs(text)]


def _telling(terms: list[Term]) -> tuple[Term, ...]:
    """Each term once, without stop words if there is anything else."""
    once: dict[str, Term] = {}
    for term in terms:
        once.setdefault(term.text.casefold(), term)
    telling = [term for word, term in once.items() if word not in _STOP_WORDS]
    return tuple((telling or list(once.values()))[:_MOST_WORDS])


def _condition(found: re.Match[str], now: float, zone: tzinfo | None) -> Condition | None:
    """What `key:value` asks for; None if it is none: a date that is no date, another sign."""
    key, how, negated = found["key"], found["how"], bool(found["not"])
    value = (found["phrase"] or found["plain"]).strip()
    if key == "importance":
        compare = "=" if how == ":" else how
        try:
            number = float(value)
        except ValueError:
            return None
        return Condition(key + compare, number, negated) if 0.0 <= number <= 1.0 else None
    if how != ":" or not value:
        return None
    if key == "tag":
        tag = value.lstrip("#").casefold()
        return Condition(key, tag, negated) if tag else None
    if key == "agent":
        return Condition(key, value.lower(), negated) if is_agent_name(value.lower()) else None
    if key == "path":
        return Condition(key, value.strip("/"), negated)
    moment = _moment(value, now, zone)
    return None if moment is None else Condition(key, moment, negated)


def _moment(text: str, now: float, zone: tzinfo | None) -> float | None:
    """When `7d` (so long ago) or a date is; None for what is neither."""
    try:
        moment = parse_moment(text, now, zone, end_of_day=False)
        return now - parse_duration(text).total_seconds() if moment is None else moment
    except UsageError:
        return None

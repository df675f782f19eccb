"""Passages taken apart into paragraphs, so that a budget holds those that answer and no others.

A passage is what the model reads at once; of its paragraphs often one answers. Each keeps what
meaning and surroundings give its passage, and of what text gives it the share that its own words
have: BM25 among the paragraphs at hand, of which neighbours get a little, as passages do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from avm.index import pieces as full_text
from avm.index.chunks import paragraphs
from avm.index.index import MemoryRow
from avm.recall.candidates import Candidate, Scored
from avm.recall.context import REACH
from avm.recall.query import Query
from avm.recall.scoring import Weights

#: Passages that are taken apart at a time, and compared.
_BATCH = 48

_FARTHEST = max(far for far, _ in REACH)

#: As in minutes and chats, also in bold; the colon stands within so many characters.
_LABEL_CHARS = 50
_LABEL = re.compile(r"\W{0,3}([^\W\d_](?:[\w .'-]{0,38}\w)?)(?:\*\*)?:(?:\*\*)?\s")


class Piece(NamedTuple):
    """A passage, or a paragraph of one, at its lines in the file; `whole` if it is all that the
    file says. They sort as they answer."""

    score_below_zero: float
    path: str
    first_line: int
    last_line: int
    text: str
    memory: MemoryRow
    scored: Scored
    whole: bool = False


class _Part(NamedTuple):
    """What a piece is made of, if it is wanted; `line` counts in its passage, from 0."""

    score_below_zero: float
    path: str
    first_line: int
    line: int
    text: str
    candidate: Candidate
    whole: bool


def pieces(
    candidates: Iterable[Candidate],
    query: Query,
    telling: Callable[[], Mapping[str, float]],
    weights: Weights,
) -> Iterator[Piece]:
    """The pieces of passages that come best first, best first themselves as far as `_BATCH` goes.

    `telling()`: how telling each word of `query` is, by FTS5 expression.
    """
    source = iter(candidates)
    for batch in iter(lambda: list(islice(source, _BATCH)), []):
        whole: list[Candidate] = []
        several: list[tuple[Candidate, list[tuple[int, str]]]] = []
        for candidate in batch:
            spans = paragraphs(candidate.passage.text)
            if len(spans) > 1 and candidate.scored.relevance.total:
                several.append((candidate, spans))
            else:
                whole.append(candidate)
        if several:
            apart = _taken_apart(several, query, telling(), weights)
            yield from map(_piece, sorted([*map(_whole, whole), *apart]))
        else:
            yield from map(_piece, map(_whole, whole))


def _whole(candidate: Candidate) -> _Part:
    memory, passage, scored = candidate
    whole = memory.passages == 1
    text, first = passage.text, passage.first_line
    return _Part(-scored.score, memory.path, first, 0, text, candidate, whole)


def _piece(part: _Part) -> Piece:
    score_below_zero, path, first, line, text, (memory, _, scored), whole = part
    first += line
    text = text.strip("\n")
    last = first + text.count("\n")
    return Piece(score_below_zero, path, first, last, text, memory, scored, whole)


def _taken_apart(
    several: Sequence[tuple[Candidate, list[tuple[int, str]]]],
    query: Query,
    telling: Mapping[str, float],
    weights: Weights,
) -> Iterator[_Part]:
    everything = [(text, bool(one.passage.mixed)) for one, spans in several for _, text in spans]
    found = iter(full_text.ranked(telling, everything))
    texts = [list(islice(found, len(spans))) for _, spans in several]
    best = max(map(max, texts)) or 1.0
    most = max(candidate.scored.relevance.text for candidate, _ in several)
    speaker = _speaker((spans for _, spans in several), query)
    for (candidate, spans), words in zip(several, texts, strict=True):
        scored, path = candidate.scored, candidate.memory.path
        relevance, fixed = scored.relevance, scored.fixed
        own = [relevance.meaning + most * text / best for text in words]
        for mine, near, (line, text) in zip(own, _near(own), spans, strict=True):
            field = weights.field if speaker and _label(text) == speaker else relevance.field
            value = mine + weights.neighbour * near + relevance.document + field
            score = fixed + (scored.score - fixed) * value / relevance.total
            first = candidate.passage.first_line
            yield _Part(-round(score, 6), path, first, line, text, candidate, False)


def _speaker(parts: Iterable[list[tuple[int, str]]], query: Query) -> str | None:
    """Who the question names of those whose words the paragraphs are; None if it names two."""
    labels = {label for spans in parts for _, text in spans if (label := _label(text))}
    named = labels.intersection(query.names())
    return named.pop() if len(named) == 1 else None


def _label(text: str) -> str | None:
    """Who speaks in a paragraph that begins with `Name:`, case folded."""
    if ":" not in text[:_LABEL_CHARS]:
        return None
    found = _LABEL.match(text)
    return found[1].casefold() if found else None


def _near(own: Sequence[float]) -> list[float]:
    """What speaks for the paragraphs beside each."""
    edge = [0.0] * _FARTHEST
    around = [*edge, *own, *edge]
    return [
        sum(share * (around[n - far] + around[n + far]) for far, share in REACH)
        for n in range(_FARTHEST, _FARTHEST + len(own))
    ]

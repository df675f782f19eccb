"""Passages into a token budget, as markdown that an agent can read at once.

The budget is hard, header included. Passages stand between fences longer than any in the text, so
that a memory that says "ignore your instructions" is seen as the quotation it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from avm.base.times import instant_of
from avm.recall.candidates import Candidate
from avm.recall.tokens import count_tokens

#: A piece of a passage shorter than this says nothing.
_LEAST_CHARS = 20
#: No passage costs less: its path, its date and two fences.
_LEAST_TOKENS = 12
#: Passages that did not fit, after which no shorter one is looked for.
_MOST_MISSES = 12
_TICKS = re.compile(r"`{3,}")


@dataclass(frozen=True)
class Packed:
    """What `recall` answers. `tokens` is an upper bound of its o200k tokens."""

    text: str
    tokens: int
    passages: int
    memories: int


def pack(
    candidates: Iterable[Candidate],
    max_tokens: int,
    ranked_by: str,
    counts: tuple[int, int] | None = None,
) -> Packed:
    """Take the best passages that fit into `max_tokens`; the first is cut if it does not fit.

    The same text is packed once. `ranked_by` (`text`, `text+vectors`) goes into the header.
    `counts`: how many passages and memories the candidates are, where they are read as they come.
    """
    if counts is None:
        candidates = list(candidates)
        counts = len(candidates), len({c.memory.id for c in candidates})
    total, matching = counts
    chosen: list[Candidate] = []
    misses = 0
    seen: set[str] = set()
    used = count_tokens(_header(total, matching, matching, max_tokens, ranked_by) + "\n")
    for number, candidate in enumerate(candidates):
        room = max_tokens - used
        if room < _LEAST_TOKENS:
            break
        text = candidate.passage.text.strip()
        if not text or text in seen:
            continue
        if number == 0:
            # The one that answers best is worth a part of it; any other gives way to a shorter one.
            candidate = _cut(candidate, room) or candidate
        # Each word costs a token, and to count these is slower.
        cost = _cost(candidate) if number == 0 or len(text.split()) <= room else room + 1
        if cost > room:
            misses += 1
            if misses == _MOST_MISSES:
                break
        else:
            chosen.append(candidate)
            seen.add(text)
            used += cost
    while chosen:
        packed = _finish(chosen, matching, ranked_by)
        if packed.tokens <= max_tokens:
            return packed
        chosen.pop()
    return first_fitting(["The budget is too small for any passage.\n"], max_tokens)


def first_fitting(lines: Sequence[str], max_tokens: int) -> Packed:
    """The first of `lines` that keeps to the budget, as an answer of no passage; else nothing."""
    for line in lines:
        tokens = count_tokens(line)
        if tokens <= max_tokens:
            return Packed(line, tokens, 0, 0)
    return Packed("", 0, 0, 0)


def _cut(candidate: Candidate, max_tokens: int) -> Candidate | None:
    """The candidate, or as much of its start as fits; None if that is next to nothing."""
    if _cost(candidate) <= max_tokens:
        return candidate
    low, high = 0, len(candidate.passage.text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = _cost(_shortened(candidate, middle)) <= max_tokens
        low, high = (middle, high) if fits else (low, middle - 1)
    return _shortened(candidate, low) if low >= _LEAST_CHARS else None


def _shortened(candidate: Candidate, length: int) -> Candidate:
    passage = candidate.passage
    text = passage.text[:length]
    blank = max(text.rfind(" "), text.rfind("\n"))
    if length < len(passage.text):
        text = (text[:blank] if blank > 0 else text).rstrip() + " …"
    last = passage.first_line + text.count("\n")
    shorter = type(passage)(
        passage.id, passage.memory_id, passage.ordinal, passage.first_line, last, text
    )
    return Candidate(candidate.memory, shorter, candidate.score)


def _cost(candidate: Candidate) -> int:
    """What a passage adds to an answer, in tokens, with the blank line before the next."""
    (part,) = _parts([candidate])
    return _tokens(f"{part}\n")


def _finish(chosen: Sequence[Candidate], matching: int, ranked_by: str) -> Packed:
    parts = _parts(chosen)
    body = "".join(parts)
    memories = len({candidate.memory.id for candidate in chosen})
    # Between parts there is a seam (tokens.py), unless a file's name begins with a blank.
    seams = not any(part[:1].isspace() or part.startswith("/") for part in parts)
    below = sum(map(_tokens, parts)) if seams else 0
    tokens = 0
    for _ in range(4):  # the header names the count that it is part of
        header = _header(len(chosen), memories, matching, tokens, ranked_by) + "\n"
        counted = count_tokens(header) + below if seams else count_tokens(header + body)
        if counted <= tokens:
            break
        tokens = counted
    return Packed(header + body, max(tokens, counted), len(chosen), memories)


def _header(passages: int, memories: int, matching: int, tokens: int, ranked_by: str) -> str:
    return (
        f"{_plural(passages, 'passage')} from {memories} of {_plural(matching, 'memory')},"
        f" {tokens} tokens, ranked by {ranked_by}\n"
    )


def _plural(count: int, noun: str) -> str:
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count} {noun if count == 1 else many}"


def _parts(chosen: Sequence[Candidate]) -> list[str]:
    """The answer below its header, a part a passage, each ending in a line break.

    Grouped by memory in order of the best passage, a blank line between; inside one, by line.
    """
    groups: dict[int, list[Candidate]] = {}
    for candidate in chosen:
        groups.setdefault(candidate.memory.id, []).append(candidate)
    parts: list[str] = []
    for group in groups.values():
        group.sort(key=lambda c: c.passage.ordinal)
        memory = group[0].memory
        date = instant_of(memory.changed).date().isoformat()
        if parts:
            parts[-1] += "\n"
        for number, candidate in enumerate(group):
            passage = candidate.passage
            lines = f"#L{passage.first_line}"
            if passage.last_line > passage.first_line:
                lines += f"-{passage.last_line}"
            place = f"{memory.path}{lines} {date}" if number == 0 else lines
            parts.append(f"{place}\n{_fenced(passage.text)}\n")
    return parts


@lru_cache(1024)
def _tokens(part: str) -> int:
    """`count_tokens` of a part of an answer: the same passages answer many questions."""
    return count_tokens(part)


def _fenced(text: str) -> str:
    text = text.strip("\n")
    longest = max((len(run) for run in _TICKS.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text}\n{fence}"

"""A line of a passage that shows why it matches."""

from __future__ import annotations

from avm.index.text import Words

_WIDTH = 160


def snippet(text: str, words: Words) -> str:
    """The line of `text` that holds the most of `words`, cut to about 160 characters."""
    wanted = [term.text.casefold() for term in words.terms]
    lines = [line for line in text.splitlines() if line.strip("#-*`~>| \t")]
    if not lines:
        return ""
    best = lines[0]
    if len(lines) > 1:
        best = max(lines, key=lambda line: _held(line.casefold(), wanted))
    best = " ".join(best.split())
    if len(best) <= _WIDTH:
        return best
    places = [at for word in wanted if (at := best.casefold().find(word)) >= 0]
    start = max(0, min(places, default=0) - _WIDTH // 3)
    end = start + _WIDTH
    return ("…" if start else "") + best[start:end].strip() + ("…" if end < len(best) else "")


def _held(line: str, wanted: list[str]) -> int:
    return sum([word in line for word in wanted])

"""Hits as text: what `:search`, `avm search`, `:similar` and `avm similar` print."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avm.api import Hit, Similar, SimilarPairs


def as_lines(hits: list[Hit], text: str) -> str:
    """Hits as text; one line that says so when there are none."""
    if not hits:
        return f"Nothing found for {text.strip()!r}.\n"
    return "".join(f"{hit.score:.2f} {hit.path}#L{hit.line}  {hit.snippet}\n" for hit in hits)


def similar_lines(found: Similar) -> str:
    """What is like a memory, a line each, under one that says by what they were compared."""
    if not found.memories:
        return f"Nothing is like it, by {found.by}.\n"
    lines = [f"{_counted(len(found.memories), 'memory', 'memories')} like it, by {found.by}\n"]
    lines += [f"{one.score:.2f} {one.path}#L{one.line}  {one.title}\n" for one in found.memories]
    return "".join(lines)


def pair_lines(found: SimilarPairs) -> str:
    """Pairs of memories that are alike: two lines each, with a blank one before."""
    if not found.pairs:
        return f"No two memories are alike, by {found.by}.\n"
    lines = [f"{_counted(len(found.pairs), 'pair', 'pairs')}, by {found.by}\n"]
    for pair in found.pairs:
        one, other = f"{pair.path}#L{pair.line}", f"{pair.other}#L{pair.other_line}"
        lines.append(f"\n{pair.score:.2f} {one}\n     {other}\n")
    return "".join(lines)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"

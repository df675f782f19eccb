"""Hits as text: what `:search` and `avm search` print."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avm.api import Hit


def as_lines(hits: list[Hit], text: str) -> str:
    """Hits as text; one line that says so when there are none."""
    if not hits:
        return f"Nothing found for {text.strip()!r}.\n"
    return "".join(f"{hit.score:.2f} {hit.path}#L{hit.line}  {hit.snippet}\n" for hit in hits)

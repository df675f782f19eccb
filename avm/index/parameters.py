"""Many values for one SQL statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

#: SQLite takes 999 parameters in a statement before 3.32; filters have some of their own.
_MOST_PARAMETERS = 800


def in_parts(values: Sequence[Any]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """`values` in parts that fit into a statement, each with its `?, ?, …`."""
    for start in range(0, len(values), _MOST_PARAMETERS):
        part = tuple(values[start : start + _MOST_PARAMETERS])
        yield part, ", ".join("?" * len(part))

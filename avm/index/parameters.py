"""Many values for one SQL statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

#: SQLite takes 32,766 parameters in a statement; filters have some of their own.
_MOST_PARAMETERS = 1 << 14


def in_parts(values: Sequence[Any], mark: str = "?") -> Iterator[tuple[tuple[Any, ...], str]]:
    """`values` in parts that fit into a statement, each with its `?, ?, …`, for `IN`.

    The last value is repeated up to a power of two. So there are few statements, which Python keeps
    prepared: to prepare one for some hundred values takes longer than to run it.
    """
    for start in range(0, len(values), _MOST_PARAMETERS):
        part = tuple(values[start : start + _MOST_PARAMETERS])
        count = 1 << (len(part) - 1).bit_length()
        yield part + part[-1:] * (count - len(part)), ", ".join([mark] * count)

"""The figures of `avm bench fuse` as a table, or ready for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avm.bench.file_system import PLACES, Operation
from avm.bench.report import head
from avm.bench.tables import number, table

_COLUMNS = ("operation", "unit", "folder", "plain pass-through", "AVM's mount", "× plain")
_LEFT = (0, 1)


def as_text(
    place: dict[str, Any], operations: Sequence[Operation], *, markdown: bool = False
) -> str:
    """A table of the middle values."""
    lines = [
        _COLUMNS,
        *((one.name, one.unit, *map(number, one.values), number(one.ratio)) for one in operations),
    ]
    return head(place) + "\n" + table(lines, left=_LEFT, markdown=markdown)


def as_json(place: dict[str, Any], operations: Sequence[Operation]) -> dict[str, Any]:
    """All figures, by place."""
    rows = [
        {
            "operation": one.name,
            "unit": one.unit,
            **dict(zip(PLACES, one.values, strict=True)),
            "ratio": one.ratio,
        }
        for one in operations
    ]
    return {"machine": place, "operations": rows}

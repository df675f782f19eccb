"""Figures as a table, as markdown, or ready for JSON."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from avm.bench.figures import Row
from avm.bench.scale import Measured
from avm.bench.tables import number, table

_COLUMNS = ("operation", "n", "p50", "p95", "floor", "× floor", "the floor is", "first AVM")
_LEFT = (0, 6)


def machine() -> dict[str, Any]:
    """Where and when it is measured, and how busy the machine is (load of 1, 5, 15 minutes)."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def head(place: dict[str, Any]) -> str:
    """The same as a line."""
    load = ", ".join(str(load) for load in place["load"])
    return (
        f"{place['date']}, {place['cores']} cores, load {load}, {place['system']},"
        f" Python {place['python']}, SQLite {place['sqlite']}; times in ms\n"
    )


def as_json(place: dict[str, Any], sizes: Sequence[Measured]) -> dict[str, Any]:
    """All figures; times in ms, sizes in MB."""
    return {
        "machine": place,
        "sizes": [
            {
                "memories": size.memories,
                "keeper": size.keeper,
                "rows": [_plain(row) for row in size.rows],
                "notes": list(size.notes),
            }
            for size in sizes
        ],
    }


def _plain(row: Row) -> dict[str, Any]:
    floor = row.floor and {"name": row.floor.name, "p50": row.floor.p50}
    return {**row._asdict(), "floor": floor, "ratio": row.ratio}


def as_text(place: dict[str, Any], sizes: Sequence[Measured], *, markdown: bool) -> str:
    """A table a size, and the notes."""
    parts = [head(place)]
    for size in sizes:
        kept = "with a keeper" if size.keeper else "without a keeper"
        title = f"{size.memories:,} memories, {kept}"
        parts.append(f"\n### {title}\n\n" if markdown else f"\n{title}\n")
        lines = [_COLUMNS, *(_cells(row) for row in size.rows)]
        parts.append(table(lines, left=_LEFT, markdown=markdown))
        mark = "\n- " if markdown else "  "
        parts += [f"{mark}{note}\n" for note in size.notes]
    return "".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    unit = "" if row.unit == "ms" else f" {row.unit}"
    floor = row.floor
    return (
        row.operation,
        str(row.n),
        number(row.p50) + unit,
        number(row.p95) + unit,
        number(floor.p50) + unit if floor else "",
        f"{row.ratio:.1f}" if row.ratio is not None else "",
        floor.name if floor else "",
        row.first,
    )

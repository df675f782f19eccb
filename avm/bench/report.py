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

_COLUMNS = ("operation", "n", "p50", "p95", "floor", "× floor", "the floor is", "first AVM")


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
    load = ", ".join(str(load) for load in place["load"])
    head = (
        f"{place['date']}, {place['cores']} cores, load {load}, {place['system']},"
        f" Python {place['python']}, SQLite {place['sqlite']}; times in ms\n"
    )
    parts = [head]
    for size in sizes:
        kept = "with a keeper" if size.keeper else "without a keeper"
        title = f"{size.memories:,} memories, {kept}"
        parts.append(f"\n### {title}\n\n" if markdown else f"\n{title}\n")
        lines = [_COLUMNS, *(_cells(row) for row in size.rows)]
        parts.append(_markdown(lines) if markdown else _aligned(lines))
        mark = "\n- " if markdown else "  "
        parts += [f"{mark}{note}\n" for note in size.notes]
    return "".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    unit = "" if row.unit == "ms" else f" {row.unit}"
    floor = row.floor
    return (
        row.operation,
        str(row.n),
        _number(row.p50) + unit,
        _number(row.p95) + unit,
        _number(floor.p50) + unit if floor else "",
        f"{row.ratio:.1f}" if row.ratio is not None else "",
        floor.name if floor else "",
        row.first,
    )


def _number(value: float) -> str:
    """Three digits, as far as they matter."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _markdown(lines: Sequence[tuple[str, ...]]) -> str:
    ruler = ("---", *("---:" for _ in range(5)), "---", "---:")
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (lines[0], ruler, *lines[1:]))


def _aligned(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = {0, 6}
    return "".join(
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        + "\n"
        for cells in lines
    )

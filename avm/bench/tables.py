"""Lines of cells as a table, for a terminal or as markdown."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def table(lines: Sequence[Sequence[str]], *, left: Collection[int], markdown: bool) -> str:
    """The table; the first line is its head. The columns in `left`, from 0, are set to the left."""
    return _markdown(lines, left) if markdown else _aligned(lines, left)


def number(value: float) -> str:
    """Three digits, as far as they matter."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _markdown(lines: Sequence[Sequence[str]], left: Collection[int]) -> str:
    ruler = ["---" if column in left else "---:" for column in range(len(lines[0]))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (lines[0], ruler, *lines[1:]))


def _aligned(lines: Sequence[Sequence[str]], left: Collection[int]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        + "\n"
        for cells in lines
    )

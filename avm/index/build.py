"""Filling an empty index: everything in order, the full text at the end.

A row at a time, with triggers and indexes, takes three times as long.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from avm.index.reading import read_all
from avm.index.rows import MEMORY_COLUMNS

_MEMORIES = (
    f"INSERT INTO memory ({', '.join(MEMORY_COLUMNS)}, id)"
    f" VALUES ({', '.join('?' * (len(MEMORY_COLUMNS) + 1))})"
)
#: What FTS5 gathers before it writes: the fewer pieces, the less to merge. Bytes; its own is 1 MB.
_GATHERED = 8 << 20
_GATHERED_LATER = 1 << 20


def fill(
    connection: sqlite3.Connection,
    root: Path,
    names: Sequence[str],
    progress: Callable[[int], None],
) -> None:
    """Put these files, as rels, into empty tables; `progress` hears counts of them."""
    gather = "INSERT INTO chunk_text (chunk_text, rank) VALUES ('hashsize', ?)"
    connection.execute(gather, (_GATHERED,))
    for count, (memories, others) in read_all(root, names):
        connection.executemany(_MEMORIES, memories)
        for insert, rows in others.items():
            connection.executemany(insert, rows)
        progress(count)
    connection.execute("INSERT INTO chunk_text (chunk_text) VALUES ('rebuild')")
    connection.execute(gather, (_GATHERED_LATER,))

"""Filling an empty index: everything in order, the full text at the end.

A row at a time, with triggers and indexes, takes three times as long.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from avm.index.rows import memory_values, parts, read

_BATCH = 1_000
#: What FTS5 gathers before it writes: the fewer pieces, the less to merge. Bytes; its own is 1 MB.
_GATHERED = 8 << 20
_GATHERED_LATER = 1 << 20


def fill(
    connection: sqlite3.Connection,
    root: Path,
    names: Iterable[str],
    progress: Callable[[int], None],
) -> None:
    """Put these files, as rels, into empty tables; `progress` hears counts of them."""
    connection.execute(
        "INSERT INTO chunk_text (chunk_text, rank) VALUES ('hashsize', ?)", (_GATHERED,)
    )
    number = 0
    for batch in _batches(names):
        memories: list[dict[str, object]] = []
        rows: dict[str, list[tuple[object, ...]]] = {}
        for path in batch:
            reading = read(root, path)
            if reading.stamp is None:
                continue  # gone: the catch-up will say
            number += 1
            memories.append(memory_values(reading) | {"id": number})
            for insert, more in parts(number, reading.extracted).items():
                rows.setdefault(insert, []).extend(more)
        if memories:
            names_of = ", ".join(memories[0])
            marks = ", ".join("?" * len(memories[0]))
            connection.executemany(
                f"INSERT INTO memory ({names_of}) VALUES ({marks})",
                [tuple(memory.values()) for memory in memories],
            )
        for insert, of_all in rows.items():
            connection.executemany(insert, of_all)
        progress(len(batch))
    connection.execute("INSERT INTO chunk_text (chunk_text) VALUES ('rebuild')")
    connection.execute(
        "INSERT INTO chunk_text (chunk_text, rank) VALUES ('hashsize', ?)", (_GATHERED_LATER,)
    )


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(names)
    while batch := list(islice(remaining, _BATCH)):
        yield batch

"""What stands around a passage: its episode, the passages beside it, what its memory is said to be.

An episode is a file of several passages; or memories of one passage each that carry `created`, in
the same folder and of the same day (UTC): the turns of a talk, the notes of one piece of work.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterable, Sequence

from avm.base.times import SECONDS_A_DAY
from avm.index.fulltext import TextHit, passages_where
from avm.index.parameters import in_parts
from avm.index.text import Filter

_DIGITS = re.compile(r"([0-9]{1,15})")
#: More memories than this of a day in one folder are an import, and no episode.
MOST_OF_A_DAY = 500
#: Bits of a number for the ordinal: more than a file has passages; 39 are left for the memory.
_ORDINAL_BITS = 24


def episode(connection: sqlite3.Connection, folder: str, day: int) -> list[int]:
    """The ids of the one-passage memories that came into `folder` (a rel with its `/`) on `day`
    (days since the epoch), in the order of `created`, then of their names as people count: 2 before
    10. [] for more than an episode holds."""
    rows = connection.execute(
        "SELECT id, passages, created, path FROM memory"
        " WHERE folder = ? AND created >= ? AND created < ? LIMIT ?",
        (folder, day * SECONDS_A_DAY, (day + 1) * SECONDS_A_DAY, MOST_OF_A_DAY + 1),
    ).fetchall()
    if len(rows) > MOST_OF_A_DAY:
        return []
    order = [(created, _counted(path), i) for i, count, created, path in rows if count == 1]
    return [memory_id for _, _, memory_id in sorted(order)]


def _counted(path: str) -> list[tuple[int, str]]:
    """A name as it sorts: digits by their number."""
    parts = _DIGITS.split(path)
    return [(int(part), "") if n % 2 else (0, part) for n, part in enumerate(parts)]


def at(
    connection: sqlite3.Connection, places: Collection[tuple[int, int]], where: Filter
) -> list[TextHit]:
    """The passages at these places, (memory id, ordinal), that pass the filter, in no order."""
    # One number a place: for `(memory_id, ordinal) IN (…)` SQLite would look at every passage.
    wanted = [memory_id << _ORDINAL_BITS | ordinal for memory_id, ordinal in places]
    ids: list[int] = []
    for part, marks in in_parts(wanted, "(?)"):
        rows = connection.execute(
            f"SELECT c.id FROM (VALUES {marks}) AS wanted CROSS JOIN chunk AS c"
            f" ON c.memory_id = wanted.column1 >> {_ORDINAL_BITS}"
            f" AND c.ordinal = wanted.column1 & {(1 << _ORDINAL_BITS) - 1}",
            part,
        )
        ids += [row[0] for row in rows]
    return passages_where(connection, "c.id IN ({})", ids, where)


def named(connection: sqlite3.Connection, value: str) -> list[str]:
    """The names of the fields that have a value, case folded, in any memory."""
    names: list[str] = []
    while True:
        # A name after the other: thousands of memories may have the same value.
        row = connection.execute(
            "SELECT name FROM field WHERE value = ? AND name > ? ORDER BY name LIMIT 1",
            (value, names[-1] if names else ""),
        ).fetchone()
        if row is None:
            return names
        names.append(row[0])


def is_seen(connection: sqlite3.Connection, name: str, value: str, where: Filter) -> bool:
    """Whether a memory that passes has that value in that field."""
    condition, parameters = where.sql()
    query = (
        "SELECT 1 FROM field AS f CROSS JOIN memory AS m ON m.id = f.memory_id"
        f" WHERE f.value = ? AND f.name = ? AND {condition} LIMIT 1"
    )
    return connection.execute(query, (value, name, *parameters)).fetchone() is not None


def having(
    connection: sqlite3.Connection, fields: Iterable[tuple[str, str]], memory_ids: Sequence[int]
) -> dict[int, int]:
    """How many of `fields` each of these memories has, of those that have any."""
    found: dict[int, int] = {}
    for name, value in fields:
        for part, marks in in_parts(memory_ids):
            rows = connection.execute(
                f"SELECT memory_id FROM field WHERE memory_id IN ({marks})"
                " AND name = ? AND value = ?",
                (*part, name, value),
            )
            for (memory_id,) in rows:
                found[memory_id] = found.get(memory_id, 0) + 1
    return found

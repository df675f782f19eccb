"""Pairs of passages that mean nearly the same: which vectors are alike, compared once each.

A model's file of vectors only grows, so a number says how far it is: the rows before it have been
compared with each other. The tables `similar` and `similar_rows` are explained in schema.sql.
"""

from __future__ import annotations

import heapq
import sqlite3
from itertools import pairwise
from typing import NamedTuple

from avm.index.database import Database
from avm.index.parameters import in_parts
from avm.index.ranking import Ranking, keys_of, rows_of
from avm.index.text import Filter
from avm.index.vectors import Vectors

#: Pairs are kept from this cosine on. Under all-MiniLM-L6-v2 a text and the same with another word
#: or other order have 0.9 to 1.0, two texts on one matter 0.5 to 0.8.
LEAST = 0.9
#: Rows compared in one go: 0.6 s where there are 100,000.
_STEP = 64
#: Of the earlier passages that a passage is like, so many are kept, the likest: a thousand notes of
#: one form would be half a million pairs.
_MOST_EACH = 16
#: Products of rows that a question may wait for: 5,000 rows with each other, a second.
_WORTH_WAITING = 5_000**2
#: Passages of one memory that are looked for.
_MOST_PASSAGES = 32
#: Passages looked at whose text stands elsewhere too.
_MOST_EQUAL = 10_000


class Pair(NamedTuple):
    """Two passages (chunk ids) of different memories, and the cosine of their vectors."""

    cosine: float
    one: int
    other: int


class Similar:
    """What is alike in one index. Thread-safe."""

    def __init__(self, database: Database, vectors: Vectors) -> None:
        self._database = database
        self._vectors = vectors

    def progress(self, model: str) -> tuple[int, int]:
        """(rows of the model's file that have been compared, rows)."""
        with self._database.snapshot() as connection:
            _, rows, done = _state(connection, model)
        return min(done, rows), rows

    def compare(self, model: str) -> int:
        """Compare the next few vectors with all before them; how many, 0 if all have been.

        Raises IndexDamagedError if the pairs cannot be kept.
        """
        with self._database.snapshot() as connection:
            state = _state(connection, model)
            found = self._vectors.mapped(connection, model) if state[2] < state[1] else None
        if found is None:
            return 0
        table, rows = found
        done = state[2]
        last = min(rows, done + _STEP)
        if last <= done:  # the file has fewer rows than it had
            return 0
        nearest: dict[int, list[tuple[float, int]]] = {}
        for row, others, cosines in table.like(done, last, LEAST):
            more = zip(cosines.tolist(), others.tolist(), strict=True)
            nearest[row] = heapq.nlargest(_MOST_EACH, [*nearest.get(row, ()), *more])
        pairs = [
            (model, *sorted(table.keys([row, other])), min(1.0, cosine))
            for row, near in nearest.items()
            for cosine, other in near
        ]
        with self._database.transaction() as connection:
            # Another process may have compared them meanwhile, or put another file in place.
            if _state(connection, model)[::2] == state[::2]:
                kept = [pair for pair in pairs if pair[1] != pair[2]]
                connection.executemany("INSERT OR REPLACE INTO similar VALUES (?, ?, ?, ?)", kept)
                connection.execute(
                    "INSERT OR REPLACE INTO similar_rows VALUES (?, ?)", (model, last)
                )
        return last - done

    def catch_up(self, model: str) -> bool:
        """Compare what has not been, if that takes no longer than a question may; whether all has
        been compared."""
        done, rows = self.progress(model)
        if (rows - done) * rows <= _WORTH_WAITING:
            while self.compare(model):
                pass
            done, rows = self.progress(model)
        return done == rows

    def pairs(self, model: str | None, where: Filter, least: float, limit: int) -> list[Pair]:
        """The `limit` pairs that are most alike, both of which `where` lets through: first passages
        that say the same word for word, which need no `model`."""
        with self._database.snapshot() as connection:
            found = _equal(connection, where)
            if model is not None and len(found) < limit:
                found += _kept(connection, model, where, least, limit)
        return found[:limit]

    def of_memory(self, model: str, memory_id: int, where: Filter, limit: int) -> list[Pair]:
        """The `limit` pairs of each passage of a memory with what is nearest to it of all that
        `where` lets through, best first."""
        found: list[Pair] = []
        with self._database.snapshot() as connection:
            table = self._vectors.mapped(connection, model)
            query = "SELECT id FROM chunk WHERE memory_id = ? ORDER BY ordinal LIMIT ?"
            ids = [row[0] for row in connection.execute(query, (memory_id, _MOST_PASSAGES))]
            keys = keys_of(connection, ids)
            rows = rows_of(connection, model, list(set(keys.values())))
            for chunk_id, key in keys.items():
                row = rows.get(key)
                if table is None or row is None or row >= table[1]:
                    continue
                ranking = Ranking(connection, model, *table, table[0].vector(row))
                best = ranking.best(where, limit)
                found += [Pair(min(1.0, near.cosine), chunk_id, near.chunk_id) for near in best]
        return sorted(found, key=lambda pair: -pair.cosine)


def _state(connection: sqlite3.Connection, model: str) -> tuple[str | None, int, int]:
    """The name of the model's file, its rows, and how many of them have been compared."""
    row = connection.execute(
        "SELECT f.name, f.rows, COALESCE(s.rows, 0) FROM vector_file AS f"
        " LEFT JOIN similar_rows AS s ON s.model = f.model WHERE f.model = ?",
        (model,),
    ).fetchone()
    return (None, 0, 0) if row is None else (row[0], row[1], row[2])


def _kept(
    connection: sqlite3.Connection, model: str, where: Filter, least: float, limit: int
) -> list[Pair]:
    condition, values = where.sql()
    visible = f"EXISTS (SELECT 1 FROM memory AS m WHERE m.id = {{}}.memory_id AND {condition})"
    rows = connection.execute(
        "SELECT s.cosine, a.id, b.id FROM similar AS s CROSS JOIN chunk AS a ON a.hash = s.low"
        " CROSS JOIN chunk AS b ON b.hash = s.high"
        " WHERE s.model = ? AND s.cosine >= ? AND a.memory_id <> b.memory_id"
        f" AND {visible.format('a')} AND {visible.format('b')}"
        " ORDER BY s.cosine DESC LIMIT ?",
        (model, least, *values, *values, limit),
    )
    return [Pair(*row) for row in rows]


def _equal(connection: sqlite3.Connection, where: Filter) -> list[Pair]:
    """The passages that are the same as the one before in the order of paths."""
    hashes = connection.execute(
        "SELECT hash FROM chunk GROUP BY hash HAVING COUNT(*) > 1 LIMIT ?", (_MOST_EQUAL,)
    )
    condition, values = where.sql()
    found: list[sqlite3.Row] = []
    for part, marks in in_parts([row[0] for row in hashes]):
        found += connection.execute(
            "SELECT c.hash, m.path, c.memory_id, c.id FROM chunk AS c CROSS JOIN memory AS m"
            " ON m.id = c.memory_id"
            f" WHERE c.hash IN ({marks}) AND trim(c.text) <> '' AND {condition}",
            (*part, *values),
        ).fetchall()
    found.sort(key=lambda row: (row[0], row[1], row[3]))
    chained = pairwise(found)
    return [
        Pair(1.0, one[3], other[3])
        for one, other in chained
        if one[0] == other[0] and one[2] != other[2]
    ]

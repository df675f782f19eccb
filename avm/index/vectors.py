"""Embeddings: which passages lack one, storing them, and the passages nearest to a query's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from avm.index.apply import count_up
from avm.index.extract import embedded_text
from avm.index.text import Filter


@dataclass(frozen=True, slots=True)
class Missing:
    """A passage without a vector: its content key, and what the model is to read."""

    hash: bytes
    text: str


def missing(connection: sqlite3.Connection, model: str, limit: int) -> list[Missing]:
    """Up to `limit` passages that have no vector of `model`, newest files first."""
    rows = connection.execute(
        "SELECT c.hash, c.context, c.text FROM chunk AS c JOIN memory AS m ON m.id = c.memory_id"
        " LEFT JOIN vector AS v ON v.hash = c.hash AND v.model = ?"
        " WHERE v.hash IS NULL GROUP BY c.hash ORDER BY MAX(m.mtime_ns) DESC, c.hash LIMIT ?",
        (model, limit),
    )
    return [Missing(row["hash"], embedded_text(row["context"], row["text"])) for row in rows]


def count(
    connection: sqlite3.Connection, model: str | None, where: Filter | None
) -> tuple[int, int]:
    """(distinct passages that have a vector of `model` or of any, distinct passages in all)."""
    condition, values = where.sql() if where else ("1", [])
    row = connection.execute(
        "SELECT COUNT(DISTINCT v.hash), COUNT(DISTINCT c.hash)"
        " FROM chunk AS c JOIN memory_at AS m ON m.id = c.memory_id"
        " LEFT JOIN vector AS v ON v.hash = c.hash AND v.model = COALESCE(?, v.model)"
        f" WHERE {condition}",
        (model, *values),
    ).fetchone()
    return row[0], row[1]


def store(
    connection: sqlite3.Connection, model: str, vectors: Iterable[tuple[bytes, bytes]]
) -> None:
    """Keep (content key, float32 bytes) pairs; call in a transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO vector VALUES (?, ?, ?)",
        [(key, model, data) for key, data in vectors],
    )
    count_up(connection, "generation")
    count_up(connection, "vectors")


def forget_unused(connection: sqlite3.Connection) -> int:
    """Drop the vectors of passages that are in no file any more; call in a transaction."""
    cursor = connection.execute("DELETE FROM vector WHERE hash NOT IN (SELECT hash FROM chunk)")
    return cursor.rowcount


class VectorTable:
    """All vectors of one model as a matrix in memory, loaded again when they change."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._version: str | None = None
        self._rows: dict[bytes, int] = {}
        self._matrix: Any = None

    def nearest(
        self,
        connection: sqlite3.Connection,
        query: bytes,
        where: Filter,
        limit: int,
        also: Sequence[int] = (),
    ) -> dict[int, float]:
        """The cosine by chunk id of the `limit` passages nearest to `query` (float32 bytes, length
        1), and of those of `also` that have a vector.

        Only passages that `where` lets through are ranked at all.
        """
        import numpy

        self._load(connection)
        allowed = self._allowed(connection, where)
        if not allowed:
            return {}
        target = numpy.frombuffer(query, dtype="<f4")
        scores = self._matrix[[row for _, row in allowed]] @ target
        order = numpy.argsort(-scores, kind="stable")[:limit]
        wanted = set(also)
        chosen = [*order, *(i for i, (chunk, _) in enumerate(allowed) if chunk in wanted)]
        return {allowed[i][0]: float(scores[i]) for i in chosen}

    def _allowed(self, connection: sqlite3.Connection, where: Filter) -> list[tuple[int, int]]:
        condition, values = where.sql()
        rows = connection.execute(
            "SELECT c.id, c.hash FROM chunk AS c JOIN memory_at AS m ON m.id = c.memory_id"
            f" WHERE {condition} ORDER BY m.path, c.ordinal",
            values,
        )
        known: Sequence[tuple[int, int | None]] = [
            (r["id"], self._rows.get(r["hash"])) for r in rows
        ]
        return [(chunk, row) for chunk, row in known if row is not None]

    def _load(self, connection: sqlite3.Connection) -> None:
        import numpy

        row = connection.execute("SELECT value FROM fact WHERE name = 'vectors'").fetchone()
        version = row["value"] if row else ""
        if version == self._version:
            return
        rows = connection.execute(
            "SELECT hash, data FROM vector WHERE model = ? ORDER BY hash", (self.model,)
        ).fetchall()
        self._rows = {row["hash"]: number for number, row in enumerate(rows)}
        joined = b"".join(row["data"] for row in rows)
        self._matrix = (
            numpy.frombuffer(joined, dtype="<f4").reshape(len(rows), -1) if rows else None
        )
        self._version = version

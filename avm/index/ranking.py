"""The passages nearest to a query's vector that a filter lets through."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from avm.index.parameters import in_parts
from avm.index.text import Filter
from avm.index.vector_file import Map

#: Rows looked at first for each one wanted: nearly every row passes the owner's filter.
_FIRST_SHARE = 1.25
#: Rows looked at next for each that should be needed, judged by those that passed at first.
_MARGIN = 1.5


class Near(NamedTuple):
    """A passage, by this index's id and by content, with its cosine."""

    chunk_id: int
    key: bytes
    cosine: float


class Ranking:
    """One query's scores of the first `rows` rows of a model's file, in one snapshot."""

    def __init__(
        self, connection: sqlite3.Connection, model: str, table: Map, rows: int, query: bytes
    ) -> None:
        self._connection = connection
        self._model = model
        self._table = table
        self._rows = rows
        self._scores = table.scores(query, rows)

    def best(self, where: Filter, limit: int) -> list[Near]:
        """The `limit` passages nearest that `where` lets through, best first.

        The result is that of filtering first and then taking the best: rows are taken from the top
        until enough of them have passed. Where few pass, it begins with what the filter lets
        through instead.
        """
        first = min(self._rows, int(limit * _FIRST_SHARE) + 16)
        found = self._passing(self._top(first), where)
        if len(found) < limit and first < self._rows:
            share = max(len(found), 0.5) / first
            needed = min(self._rows, int(limit / share * _MARGIN))
            # Either way costs a look at that many rows of SQLite.
            if needed < share * self._rows:
                found = self._passing(self._top(needed), where)
            if len(found) < limit:
                found = self._of_allowed(where, limit)
        return found[:limit]

    def of(self, keys: Sequence[bytes]) -> dict[bytes, float]:
        """The cosines of the passages with these content keys, as far as they have a vector."""
        rows = rows_of(self._connection, self._model, keys)
        return self._checked({key: row for key, row in rows.items() if row < self._rows})

    def _top(self, number: int) -> list[int]:
        """The `number` best rows, best first."""
        import numpy

        best: Any = numpy.argpartition(self._scores, self._rows - number)[self._rows - number :]
        ordered: list[int] = best[numpy.argsort(-self._scores[best], kind="stable")].tolist()
        return ordered

    def _passing(self, rows: list[int], where: Filter) -> list[Near]:
        """Of `rows`, best first, the passages that `where` lets through."""
        cosines: dict[bytes, float] = {}
        for key, score in zip(self._table.keys(rows), self._scores[rows].tolist(), strict=True):
            cosines.setdefault(key, score)
        return ranked(self._connection, cosines, where)

    def _of_allowed(self, where: Filter, limit: int) -> list[Near]:
        condition, values = where.sql()
        rows = self._connection.execute(
            "SELECT v.hash, v.row FROM memory_at AS m JOIN chunk AS c"
            " ON c.memory_id = m.id JOIN vector AS v ON v.hash = c.hash AND v.model = ?"
            f" WHERE {condition}",
            (self._model, *values),
        )
        cosines = self._checked({key: row for key, row in rows if row < self._rows})
        best = sorted(cosines, key=cosines.__getitem__, reverse=True)[:limit]
        return ranked(self._connection, {key: cosines[key] for key in best}, where)

    def _checked(self, rows: dict[bytes, int]) -> dict[bytes, float]:
        """The scores of {key: row}, less rows that turn out to be another key's."""
        places = list(rows.values())
        if not places:
            return {}
        read = zip(rows, self._table.keys(places), self._scores[places].tolist(), strict=True)
        return {key: score for key, there, score in read if key == there}


def ranked(
    connection: sqlite3.Connection, cosines: Mapping[bytes, float], where: Filter
) -> list[Near]:
    """The passages with these content keys that `where` lets through, best first; ties by path."""
    condition, values = where.sql()
    found: list[sqlite3.Row] = []
    for part, marks in in_parts(list(cosines)):
        # CROSS: in this order, from the keys on; SQLite may think that the filter is the narrower.
        found += connection.execute(
            "SELECT c.id, c.hash, m.path, c.ordinal FROM chunk AS c CROSS JOIN memory_at AS m"
            f" ON m.id = c.memory_id WHERE c.hash IN ({marks}) AND {condition}",
            (*part, *values),
        ).fetchall()
    found.sort(key=lambda row: (-cosines[row["hash"]], row["path"], row["ordinal"]))
    return [Near(row["id"], row["hash"], cosines[row["hash"]]) for row in found]


def keys_of(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, bytes]:
    """The content keys of chunks by id."""
    found: dict[int, bytes] = {}
    for part, marks in in_parts(list(ids)):
        rows = connection.execute(f"SELECT id, hash FROM chunk WHERE id IN ({marks})", part)
        found.update((row[0], row[1]) for row in rows)
    return found


def rows_of(connection: sqlite3.Connection, model: str, keys: Sequence[bytes]) -> dict[bytes, int]:
    """The rows of the vectors of `model` by content key."""
    found: dict[bytes, int] = {}
    for part, marks in in_parts(keys):
        query = f"SELECT hash, row FROM vector WHERE model = ? AND hash IN ({marks})"
        found.update((row[0], row[1]) for row in connection.execute(query, (model, *part)))
    return found

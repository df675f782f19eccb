"""Embeddings: which passages lack one, storing them, and the passages nearest to a query's.

The numbers are in files (avm.index.vector_file), one a model; the tables `vector` and `vector_file`
say which passage has one. Ranking keeps nothing in memory but the map of that file: it takes the
best rows of all and asks SQLite which of them `where` lets through, so a write by anybody costs the
next question nothing, and no answer is older than the snapshot it is made in.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from avm.base.errors import IndexDamagedError
from avm.index import vector_file
from avm.index.counters import count_up
from avm.index.database import Database, IndexThrownAway
from avm.index.ranking import Ranking, keys_of, ranked, rows_of
from avm.index.text import Filter
from avm.index.vector_file import Map
from avm.vault.locks import locked

#: Rows of passages that are in no file any more are kept (an undo may bring them back) until they
#: are more than this, and more than those in use.
_SPARE_ROWS = 1_000
_COPIED_ROWS = 1_000


class Missing(NamedTuple):
    """A passage without a vector: its content key, and what the model is to read."""

    hash: bytes
    text: str


class Vectors:
    """The vectors of one index, of every model. Thread-safe."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._guard = threading.Lock()
        self._maps: dict[str, tuple[str, Map]] = {}

    def missing(self, model: str, limit: int) -> list[Missing]:
        """Up to `limit` passages that have no vector of `model`, newest files first."""
        from avm.index.extract import embedded_text

        self._make_ready(model)
        with self._database.watched():
            rows = self._database.connection.execute(
                # CROSS: the queue first; nothing tells SQLite that it is short.
                "SELECT c.hash, c.context, c.text FROM to_embed AS q"
                " CROSS JOIN chunk AS c ON c.id = q.chunk_id"
                " CROSS JOIN memory AS m ON m.id = c.memory_id"
                " LEFT JOIN vector AS v ON v.hash = c.hash AND v.model = ?"
                " WHERE v.hash IS NULL"
                " GROUP BY c.hash ORDER BY MAX(m.mtime_ns) DESC, c.hash LIMIT ?",
                (model, limit),
            ).fetchall()
        if len(rows) < limit:
            self._clear_queue(model)
        return [Missing(row["hash"], embedded_text(row["context"], row["text"])) for row in rows]

    def progress(self, model: str) -> tuple[int, int]:
        """(distinct passages that have a vector of `model`, distinct passages in all)."""
        try:
            self._make_ready(model)
        except IndexThrownAway:
            raise
        except IndexDamagedError:
            # Nothing can be written here; what there is can be counted all the same.
            return self.count(model, None)
        with self._database.snapshot() as connection:
            total = connection.execute("SELECT COUNT(DISTINCT hash) FROM chunk").fetchone()[0]
            lacking = connection.execute(
                "SELECT COUNT(DISTINCT c.hash) FROM to_embed AS q"
                " CROSS JOIN chunk AS c ON c.id = q.chunk_id"
                " LEFT JOIN vector AS v ON v.hash = c.hash AND v.model = ?"
                " WHERE v.hash IS NULL",
                (model,),
            ).fetchone()[0]
        return total - lacking, total

    def count(self, model: str | None, where: Filter | None) -> tuple[int, int]:
        """(distinct passages that have a vector of `model` or of any, distinct passages in all)."""
        condition, values = where.sql() if where else ("1", [])
        with self._database.watched():
            row = self._database.connection.execute(
                "SELECT COUNT(DISTINCT v.hash), COUNT(DISTINCT c.hash)"
                " FROM chunk AS c JOIN memory_at AS m ON m.id = c.memory_id"
                " LEFT JOIN vector AS v ON v.hash = c.hash AND v.model = COALESCE(?, v.model)"
                f" WHERE {condition}",
                (model, *values),
            ).fetchone()
        return row[0], row[1]

    def most_used(self) -> str | None:
        """The model that has embedded the most; None if there are no vectors."""
        query = "SELECT model FROM vector_file WHERE rows > 0 ORDER BY rows DESC, model LIMIT 1"
        with self._database.watched():
            row = self._database.connection.execute(query).fetchone()
        return None if row is None else str(row["model"])

    def any_of(self, model: str) -> bool:
        """Whether any passage has been embedded by `model`."""
        query = "SELECT 1 FROM vector_file WHERE model = ? AND rows > 0"
        with self._database.watched():
            return self._database.connection.execute(query, (model,)).fetchone() is not None

    def store(self, model: str, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep (content key, float32 bytes) pairs: first in the file, then in the tables.

        A crash in between leaves rows that the next writer finds. Raises IndexDamagedError if the
        disk does not take them.
        """
        given = dict(pairs)
        if not given:
            return
        dimensions = len(next(iter(given.values()))) // 4
        with self._writing():
            name = self._writable(model, dimensions)
            known = rows_of(self._database.connection, model, list(given))
            new = [(key, data) for key, data in given.items() if key not in known]
            first = vector_file.append(self._folder / name, new)
            with self._database.transaction() as connection:
                _enter(connection, model, [(first + n, key) for n, (key, _) in enumerate(new)])
                _set_file(connection, model, name, first + len(new))
                connection.executemany(
                    "DELETE FROM to_embed WHERE chunk_id IN (SELECT id FROM chunk WHERE hash = ?)",
                    [(key,) for key in given],
                )
                count_up(connection)

    def compact(self, model: str) -> None:
        """Drop the vectors of passages that are in no file any more, if there are many."""
        with self._database.watched():
            row = self._database.connection.execute(
                "SELECT f.rows, (SELECT COUNT(*) FROM vector WHERE model = f.model"
                " AND hash IN (SELECT hash FROM chunk)) FROM vector_file AS f WHERE f.model = ?",
                (model,),
            ).fetchone()
        if row is not None and row[0] - row[1] > max(_SPARE_ROWS, row[1]):
            with self._writing():
                self._rewrite(model)

    def drop_others(self, model: str) -> None:
        """Forget the vectors of every model but `model`."""
        query = "SELECT model, name FROM vector_file WHERE model <> ?"
        with self._database.watched():
            others = self._database.connection.execute(query, (model,)).fetchall()
        if not others:
            return
        with self._writing():
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM vector WHERE model <> ?", (model,))
                connection.execute("DELETE FROM vector_file WHERE model <> ?", (model,))
                count_up(connection)
            for row in others:
                (self._folder / row["name"]).unlink(missing_ok=True)

    # Ranking

    def nearest(
        self, query: bytes, model: str, where: Filter, limit: int, also: Sequence[int] = ()
    ) -> dict[int, float]:
        """Cosine by chunk id of the `limit` passages nearest to `query`, a vector's bytes.

        Only passages that `where` lets through are ranked at all; of the chunk ids `also`, which
        must be such, each that has a vector is in the answer too.
        """
        with self._database.snapshot() as connection:
            ranking = self._ranking(connection, query, model)
            if ranking is None:
                return {}
            found = {near.chunk_id: near.cosine for near in ranking.best(where, limit)}
            keys = keys_of(connection, also)
            cosines = ranking.of(list(set(keys.values())))
            return found | {i: cosines[key] for i, key in keys.items() if key in cosines}

    def cosines(
        self, query: bytes, model: str, where: Filter, limit: int, also: Sequence[bytes] = ()
    ) -> dict[bytes, float]:
        """The same by content key, for another process: its snapshot may know other chunk ids."""
        with self._database.snapshot() as connection:
            ranking = self._ranking(connection, query, model)
            if ranking is None:
                return {}
            found = {near.key: near.cosine for near in ranking.best(where, limit)}
            return found | ranking.of(also)

    def by_content(
        self, cosines: Mapping[bytes, float], where: Filter, limit: int, also: Mapping[int, bytes]
    ) -> dict[int, float]:
        """What `nearest` answers, from another process's `cosines`; `also` is {chunk id: key}."""
        with self._database.snapshot() as connection:
            best = ranked(connection, cosines, where)[:limit]
        found = {near.chunk_id: near.cosine for near in best}
        return found | {i: cosines[key] for i, key in also.items() if key in cosines}

    def keys_of(self, ids: Iterable[int]) -> dict[int, bytes]:
        """The content keys of chunks."""
        with self._database.snapshot() as connection:
            return keys_of(connection, ids)

    def _ranking(self, connection: sqlite3.Connection, query: bytes, model: str) -> Ranking | None:
        found = self.mapped(connection, model)
        if found is None or len(query) != 4 * found[0].dimensions:
            return None
        return Ranking(connection, model, *found, query)

    def mapped(
        self, connection: sqlite3.Connection, model: str
    ) -> tuple[vector_file.Map, int] | None:
        """The map of the model's file, and how many of its rows are whole; None if there is none.

        For who ranks: a row may be of a passage that is gone.
        """
        query = "SELECT name, rows FROM vector_file WHERE model = ?"
        row = connection.execute(query, (model,)).fetchone()
        if row is None:
            return None
        name, rows = row
        with self._guard:
            known, table = self._maps.get(model, (None, None))
            try:
                size = os.stat(self._folder / name).st_size
            except FileNotFoundError:
                # Removed since this snapshot began; what is mapped stays as it was.
                return (table, min(rows, table.rows)) if table and known == name else None
            fits = table is not None and known == name
            if fits and table and size < vector_file.bytes_of(table.rows, table.dimensions):
                fits = False  # somebody cut it: touching what is gone would end the process
            if not fits or (table and table.rows < rows):
                whole = min(rows, vector_file.count(self._folder / name) or 0)
                if not whole:
                    return None
                try:
                    table = Map(self._folder / name, whole)
                except OSError:
                    return None
                self._maps[model] = (name, table)
            assert table is not None
            return table, min(rows, table.rows)

    # Writing

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold while a file is written to: the keeper and an `avm index --wait` may both do so.

        Raises IndexDamagedError if the disk refuses, RepositoryError if another has it too long.
        """
        try:
            with locked(self._folder / "vectors.lock"):
                yield
        except OSError as err:
            raise IndexDamagedError(
                f"{err.filename or self._folder}: {err.strerror}; embeddings are not kept"
            ) from None

    def _make_ready(self, model: str) -> None:
        """Bring tables and file in step where a crash, or somebody, has set them apart, and have
        the queue for this model."""
        with self._database.snapshot() as connection:
            query = "SELECT name, rows FROM vector_file WHERE model = ?"
            row = connection.execute(query, (model,)).fetchone()
            queued = connection.execute("SELECT value FROM fact WHERE name = 'to_embed'").fetchone()
        settled = (
            vector_file.count(self._folder / row["name"]) == row["rows"]
            if row
            else not self._left_files(model)
        )
        if not settled:
            with self._writing():
                self._mend(model)
        if queued is None or queued["value"] != model:
            with self._database.transaction() as connection:
                _fill_queue(connection, model)

    def _mend(self, model: str) -> str | None:
        """The name of the model's file, after what is on the disk and what the tables say have been
        made one; None if there is none. Call while `_writing`."""
        query = "SELECT name, rows FROM vector_file WHERE model = ?"
        row = self._database.connection.execute(query, (model,)).fetchone()
        if row is None:
            left = self._left_files(model)
            if not left:
                return None
            name, rows = left[-1], 0
        else:
            name, rows = row
        whole = vector_file.count(self._folder / name)
        if whole is None or whole < rows:
            return self._rewrite(model)
        if whole > rows:
            entries = [(n, key) for n, key, _ in vector_file.read(self._folder / name, rows)]
            with self._database.transaction() as connection:
                _enter(connection, model, entries)
                _set_file(connection, model, name, whole)
                count_up(connection)
        return str(name)

    def _writable(self, model: str, dimensions: int) -> str:
        """The name of the file to append to; call while `_writing`."""
        name = self._mend(model)
        if name is not None and vector_file.dimensions_of(self._folder / name) == dimensions:
            return name
        if name is not None:
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM vector WHERE model = ?", (model,))
                connection.execute("DELETE FROM vector_file WHERE model = ?", (model,))
                _fill_queue(connection, model)
            (self._folder / name).unlink(missing_ok=True)
        name = _new_name(model)
        vector_file.create(self._folder / name, dimensions)
        return name

    def _rewrite(self, model: str) -> str | None:
        """Copy the rows of passages that are still there to a new file, and drop the old one.

        Who has mapped the old one goes on reading it. Call while `_writing`.
        """
        query = "SELECT name FROM vector_file WHERE model = ?"
        row = self._database.connection.execute(query, (model,)).fetchone()
        old = self._folder / row["name"]
        dimensions = vector_file.dimensions_of(old)
        name = _new_name(model) if dimensions is not None else None
        entries: list[tuple[int, bytes]] = []
        if name is not None and dimensions is not None:
            vector_file.create(self._folder / name, dimensions)
            used = self._used(model)
            kept = ((key, data) for _, key, data in vector_file.read(old) if used.pop(key, None))
            while part := list(itertools.islice(kept, _COPIED_ROWS)):
                first = vector_file.append(self._folder / name, part)
                entries += [(first + n, key) for n, (key, _) in enumerate(part)]
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM vector WHERE model = ?", (model,))
            connection.execute("DELETE FROM vector_file WHERE model = ?", (model,))
            _enter(connection, model, entries)
            if name is not None:
                _set_file(connection, model, name, len(entries))
            _fill_queue(connection, model)
            count_up(connection)
        old.unlink(missing_ok=True)
        return name

    def _used(self, model: str) -> dict[bytes, bool]:
        """The keys of the vectors whose passages are in a file."""
        query = "SELECT hash FROM vector WHERE model = ? AND hash IN (SELECT hash FROM chunk)"
        return {row[0]: True for row in self._database.connection.execute(query, (model,))}

    def _left_files(self, model: str) -> list[str]:
        """The model's files in the folder, the newest last: a new index takes over the last."""
        pattern = re.compile(rf"vectors-{re.escape(_slug(model))}-[0-9a-f]{{8}}\.f32")
        try:
            found = [entry for entry in os.scandir(self._folder) if pattern.fullmatch(entry.name)]
        except FileNotFoundError:
            return []
        return [entry.name for entry in sorted(found, key=lambda entry: entry.stat().st_mtime_ns)]

    def _clear_queue(self, model: str) -> None:
        """Drop what stands in the queue and has a vector: a file was renamed, or is a copy."""
        having = (
            "SELECT q.chunk_id FROM to_embed AS q CROSS JOIN chunk AS c ON c.id = q.chunk_id"
            " CROSS JOIN vector AS v ON v.hash = c.hash AND v.model = ?"
        )
        with self._database.watched():
            found = self._database.connection.execute(f"{having} LIMIT 1", (model,)).fetchone()
        if found:
            with self._database.transaction() as connection:
                connection.execute(f"DELETE FROM to_embed WHERE chunk_id IN ({having})", (model,))


def _fill_queue(connection: sqlite3.Connection, model: str) -> None:
    """Queue every passage that has no vector of `model`; call in a transaction."""
    connection.execute(
        "INSERT OR IGNORE INTO to_embed SELECT c.id FROM chunk AS c"
        " LEFT JOIN vector AS v ON v.hash = c.hash AND v.model = ? WHERE v.hash IS NULL",
        (model,),
    )
    connection.execute("INSERT OR REPLACE INTO fact VALUES ('to_embed', ?)", (model,))


def _enter(
    connection: sqlite3.Connection, model: str, entries: Iterable[tuple[int, bytes]]
) -> None:
    """Note (row, key) of vectors that are in the file; call in a transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO vector VALUES (?, ?, ?)",
        [(key, model, row) for row, key in entries],
    )


def _set_file(connection: sqlite3.Connection, model: str, name: str, rows: int) -> None:
    connection.execute("INSERT OR REPLACE INTO vector_file VALUES (?, ?, ?)", (model, name, rows))


def _slug(model: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", model)


def _new_name(model: str) -> str:
    """A name that was never used: what a reader has mapped must not change under it."""
    return f"vectors-{_slug(model)}-{os.urandom(4).hex()}.f32"

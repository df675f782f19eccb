"""The index as the layers above see it: brought up to date, then asked."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, cast

from avm.base.errors import RepositoryError
from avm.base.paths import is_utf8
from avm.index import comparison, vectors
from avm.index.apply import apply, apply_history, count_up, generation
from avm.index.database import Database, IndexThrownAway
from avm.index.fulltext import FullText, State, TextHit, hits, openings, state
from avm.index.plan import Known, make_plan
from avm.index.text import Filter, Words
from avm.vault import history
from avm.vault.files import Stamp, walk
from avm.vault.location import Vault

_MEMORY_COLUMNS = (
    "m.id, m.path, m.title, m.importance, m.changed, m.ends, m.pinned, m.agent, m.size"
)

_PASSAGE_COLUMNS = "c.id, c.memory_id, c.ordinal, c.first_line, c.last_line, c.text"
_PASSAGE_WIDTH = _PASSAGE_COLUMNS.count(",") + 1
#: SQLite takes 999 parameters in a statement before 3.32.
_MOST_PARAMETERS = 900
#: Answers of `kept`: one a viewer, folder and strategy that was asked for.
_MOST_KEPT = 64

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """A memory as ranking and listing need it. Instants in seconds since the epoch."""

    id: int
    path: str
    title: str
    importance: float | None
    changed: float
    ends: float | None
    pinned: int
    agent: str | None
    size: int


@dataclass(frozen=True, slots=True)
class PassageRow:
    """A passage with its place; lines are counted in the file, from 1."""

    id: int
    memory_id: int
    ordinal: int
    first_line: int
    last_line: int
    text: str


class Facts(NamedTuple):
    """What ranking needs of a memory; `changed` is in seconds since the epoch."""

    path: str
    importance: float | None
    changed: float


@dataclass(frozen=True)
class Counts:
    """How much there is: memories, bytes, and memories by folder of a namespace or agent."""

    memories: int
    bytes: int
    by_folder: tuple[tuple[str, int], ...]


class Index:
    """One vault's index. Reads see every write that returned before `refresh` began."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._database = Database(vault.index_dir / "index.sqlite")
        self._refreshing = threading.Lock()
        self._tables: dict[str, vectors.VectorTable] = {}
        self._full_text = FullText()
        self._kept: tuple[State, dict[Hashable, object]] = ((), {})
        self.undecodable: tuple[str, ...] = ()

    @property
    def notice(self) -> str | None:
        """A line on what befell the index when it was opened, if anything did."""
        return self._database.notice

    def refresh(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Make the index equal to the files: scan, plan, apply; then catch up with git's history.

        `progress(done, total)` counts files to read. Raises IndexDamagedError.
        """
        try:
            self._refresh(progress)
        except IndexThrownAway:
            self._refresh(progress)

    def _refresh(self, progress: Callable[[int, int], None] | None) -> None:
        with self._refreshing:
            found = walk(self._vault)
            self.undecodable = tuple(found.undecodable)
            plan = make_plan(self._known(), found.memories)
            if plan:
                done = 0

                def report(count: int) -> None:
                    nonlocal done
                    done += count
                    if progress:
                        progress(done, len(plan.read))

                apply(self._database, self._vault, plan, report)
            self._refresh_history()

    def check(self) -> list[str]:
        """What differs between the index and the files, a line each; [] if they agree.

        Reads every file again. Raises IndexDamagedError.
        """
        try:
            faults = self._faults()
            if faults:
                # A file that changed while we compared is no fault: look once more.
                again = set(self._faults())
                faults = [fault for fault in faults if fault in again]
        except IndexThrownAway as err:
            return [str(err)]
        return faults

    def _faults(self) -> list[str]:
        self.refresh()
        return list(comparison.faults(self._database, self._vault))

    def rebuild(self) -> None:
        """Throw the index away and build it anew; embeddings are computed again."""
        self._database.discard()
        self.refresh()

    def generation(self) -> int:
        """A number that differs whenever a search could answer differently."""
        with self._database.watched():
            return generation(self._database.connection)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several questions that all see the same state."""
        with self._database.snapshot():
            yield

    def kept(self, key: Hashable, make: Callable[[], _Answer]) -> _Answer:
        """What `make` answers, kept until the index changes. Call it in a snapshot."""
        with self._database.watched():
            now = state(self._database.connection)
        known, answers = self._kept
        if known != now or len(answers) >= _MOST_KEPT:
            answers = {}
            self._kept = (now, answers)
        if key not in answers:
            answers[key] = make()
        return cast(_Answer, answers[key])

    def search(self, words: Words, where: Filter, limit: int) -> list[TextHit]:
        """The passages that best match `words` by BM25."""
        with self._database.watched():
            return self._full_text.search(self._database.connection, words, where, limit)

    def hits(self, ids: Iterable[int], where: Filter) -> list[TextHit]:
        """Passages by id, as `search` gives them, of those that pass the filter."""
        with self._database.watched():
            return hits(self._database.connection, ((id, 0.0) for id in ids), where)

    def openings(self, memory_ids: Iterable[int], where: Filter) -> list[TextHit]:
        """The first passage of each memory that passes the filter."""
        with self._database.watched():
            return openings(self._database.connection, memory_ids, where)

    def nearest(
        self, query: bytes, model: str, where: Filter, limit: int, also: Sequence[int] = ()
    ) -> dict[int, float]:
        """The cosine by chunk id of the `limit` passages nearest to `query`, a vector's bytes, and
        of those of `also` that have a vector."""
        table = self._tables.setdefault(model, vectors.VectorTable(model))
        return table.nearest(self._database.connection, query, where, limit, also)

    def passages(self, ids: Iterable[int]) -> dict[int, tuple[PassageRow, MemoryRow]]:
        """Passages with their memories, by id."""
        query = (
            f"SELECT {_PASSAGE_COLUMNS}, {_MEMORY_COLUMNS} FROM chunk AS c"
            " CROSS JOIN memory_at AS m ON m.id = c.memory_id WHERE c.id IN"
        )
        return {
            row[0]: (PassageRow(*row[:_PASSAGE_WIDTH]), MemoryRow(*row[_PASSAGE_WIDTH:]))
            for row in self._rows_of(query, ids)
        }

    def list_memories(self, where: Filter) -> list[MemoryRow]:
        """Every memory that `where` lets through, by path."""
        condition, values = where.sql()
        query = f"SELECT {_MEMORY_COLUMNS} FROM memory_at AS m WHERE {condition} ORDER BY m.path"
        return [MemoryRow(*row) for row in self._rows(query, values)]

    def memory(self, path: str) -> MemoryRow | None:
        """The memory at the rel `path`, expired or not."""
        if not is_utf8(path):
            return None
        query = f"SELECT {_MEMORY_COLUMNS} FROM memory_at AS m WHERE m.path = ?"
        return next((MemoryRow(*row) for row in self._rows(query, (path,))), None)

    def expired(self, where: Filter) -> list[MemoryRow]:
        """The memories that `where` would let through had they not ended, by path."""
        condition, values = Filter(where.folders, where.scope, float("-inf")).sql()
        query = (
            f"SELECT {_MEMORY_COLUMNS} FROM memory_at AS m"
            f" WHERE {condition} AND m.ends <= ? ORDER BY m.path"
        )
        return [MemoryRow(*row) for row in self._rows(query, (*values, where.now))]

    def next_end(self, now: float) -> float | None:
        """When the next memory expires, None if none will."""
        query = (
            "SELECT MIN(ends) FROM memory_at"
            " WHERE (expires IS NOT NULL OR ttl IS NOT NULL) AND ends > ?"
        )
        value: float | None = next(iter(self._rows(query, (now,))))[0]
        return value

    def tags(self, where: Filter) -> list[tuple[str, int]]:
        """Tags with the number of memories that carry them, most first."""
        condition, values = where.sql()
        rows = self._rows(
            "SELECT t.tag, COUNT(*) AS n FROM tag AS t JOIN memory_at AS m ON m.id = t.memory_id"
            f" WHERE {condition} GROUP BY t.tag ORDER BY n DESC, t.tag",
            values,
        )
        return [(row["tag"], row["n"]) for row in rows]

    def tags_of(self, memory_id: int) -> list[str]:
        """The tags of one memory, by name."""
        rows = self._rows("SELECT tag FROM tag WHERE memory_id = ? ORDER BY tag", (memory_id,))
        return [row["tag"] for row in rows]

    def links_of(self, memory_id: int, kind: str = "link") -> list[str]:
        """What one memory points at, as written, by name."""
        query = "SELECT target FROM link WHERE memory_id = ? AND kind = ? ORDER BY target"
        return [row["target"] for row in self._rows(query, (memory_id, kind))]

    def called(self, name: str, where: Filter) -> list[tuple[str, str, str]]:
        """(path, `name` or `alias`, that as written) of the memories with a name of this
        `link_name`, by path."""
        condition, values = where.sql()
        rows = self._rows(
            "SELECT m.path, l.kind, l.target FROM link AS l CROSS JOIN memory AS m"
            " ON m.id = l.memory_id WHERE l.name = ? AND l.kind IN ('alias', 'name')"
            f" AND {condition} ORDER BY m.path",
            (name, *values),
        )
        return [tuple(row) for row in rows]

    def supersedes(self, memory_ids: Sequence[int], where: Filter) -> list[tuple[str, str]]:
        """(path, target as written) of the memories that may supersede one of these: what the
        target means is still to be resolved."""
        if not self.kept("supersedes", self._supersedes_any):
            return []
        condition, values = where.sql()
        found: set[tuple[str, str]] = set()
        for part in _parts(memory_ids):
            rows = self._rows(
                "SELECT m.path, l.target FROM link AS own"
                " CROSS JOIN link AS l ON l.name = own.name AND l.kind = 'supersedes'"
                " CROSS JOIN memory AS m ON m.id = l.memory_id"
                f" WHERE own.memory_id IN ({_marks(part)}) AND own.kind IN ('alias', 'name')"
                f" AND {condition}",
                (*part, *values),
            )
            found.update((row[0], row[1]) for row in rows)
        return sorted(found)

    def _supersedes_any(self) -> bool:
        return bool(self._rows("SELECT 1 FROM link WHERE kind = 'supersedes' LIMIT 1"))

    def facts(self, memory_ids: Iterable[int]) -> dict[int, Facts]:
        """What ranking needs of these memories."""
        query = "SELECT m.id, m.path, m.importance, m.changed FROM memory_at AS m WHERE m.id IN"
        return {row[0]: Facts(row[1], row[2], row[3]) for row in self._rows_of(query, memory_ids)}

    def standing(self, where: Filter) -> list[tuple[int, str, int, float | None, float]]:
        """(id, path, pinned, importance, changed) of every memory that `where` lets through."""
        condition, values = where.sql()
        query = (
            "SELECT m.id, m.path, m.pinned, m.importance, m.changed"
            f" FROM memory_at AS m WHERE {condition}"
        )
        return [tuple(row) for row in self._rows(query, values)]

    def newest(self, where: Filter, limit: int) -> list[int]:
        """The ids of the memories that changed last."""
        condition, values = where.sql()
        query = (
            f"SELECT m.id FROM memory_at AS m WHERE {condition}"
            " ORDER BY m.changed DESC, m.path LIMIT ?"
        )
        return [row[0] for row in self._rows(query, (*values, limit))]

    def counts(self, where: Filter) -> Counts:
        """How much `where` lets through."""
        rows = self.list_memories(where)
        folders: dict[str, int] = {}
        for row in rows:
            folder = "/".join(row.path.split("/")[:-1][:3])
            folders[folder] = folders.get(folder, 0) + 1
        return Counts(len(rows), sum(row.size for row in rows), tuple(sorted(folders.items())))

    def problems(self) -> list[tuple[str, str]]:
        """(path, problem) of every memory with front matter that could not be read."""
        rows = self._rows("SELECT path, problems FROM memory WHERE problems <> '' ORDER BY path")
        return [(row["path"], line) for row in rows for line in row["problems"].splitlines()]

    def vector_counts(
        self, model: str | None = None, where: Filter | None = None
    ) -> tuple[int, int]:
        """(distinct passages with a vector of `model`, None: of any; distinct passages)."""
        with self._database.watched():
            return vectors.count(self._database.connection, model, where)

    def has_vectors(self, model: str) -> bool:
        """Whether any passage has been embedded by `model`."""
        return bool(self._rows("SELECT 1 FROM vector WHERE model = ? LIMIT 1", (model,)))

    def without_vector(self, model: str, limit: int) -> list[vectors.Missing]:
        """Up to `limit` passages that `model` has not embedded yet, newest first."""
        with self._database.watched():
            return vectors.missing(self._database.connection, model, limit)

    def store_vectors(self, model: str, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep (content key, float32 bytes) pairs."""
        with self._database.transaction() as connection:
            vectors.store(connection, model, pairs)

    def forget_unused_vectors(self) -> None:
        """Drop the vectors of passages that no file holds any more."""
        with self._database.transaction() as connection:
            if vectors.forget_unused(connection):
                count_up(connection, "vectors")

    def close(self) -> None:
        """Close the database file."""
        self._database.close()

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        with self._database.watched():
            return self._database.connection.execute(query, values).fetchall()

    def _rows_of(self, query: str, ids: Iterable[int]) -> Iterator[sqlite3.Row]:
        """The rows of a query that ends in `IN`, for any number of ids."""
        for part in _parts(list(ids)):
            yield from self._rows(f"{query} ({_marks(part)})", part)

    def _known(self) -> dict[str, Known]:
        rows = self._rows(
            "SELECT path, mtime_ns, ctime_ns, size, inode, hash, checked_ns FROM memory"
        )
        return {row[0]: Known(Stamp(*row[1:5]), row[5], row[6]) for row in rows}

    def _refresh_history(self) -> None:
        head = history.head(self._vault)
        row = next(iter(self._rows("SELECT value FROM fact WHERE name = 'head'")), None)
        known = row["value"] if row else None
        if head is None or head == known:
            return
        grown = known is not None and history.is_ancestor(self._vault, known, head)
        # A repository too odd to log still has files; they rank by their stamps.
        with contextlib.suppress(RepositoryError):
            found = history.path_histories(self._vault, head, known if grown else None)
            apply_history(self._database, head, found, whole=not grown)


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _MOST_PARAMETERS):
        yield ids[start : start + _MOST_PARAMETERS]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))

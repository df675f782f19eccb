"""The index as the layers above see it: brought up to date, then asked."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from avm.base.errors import IndexDamagedError
from avm.base.importance import DEFAULT_IMPORTANCE
from avm.base.lazy import lazy
from avm.base.paths import is_utf8, link_name
from avm.index import surroundings
from avm.index.counters import generation
from avm.index.database import Database, IndexThrownAway
from avm.index.fulltext import FullText, State, TextHit, hits, openings, state
from avm.index.parameters import in_parts
from avm.index.text import Filter, Words
from avm.index.vectors import Vectors
from avm.vault.location import Vault

if TYPE_CHECKING:
    from avm.index.filler import Filler, Progress
    from avm.index.similar import Similar
    from avm.vault.survey import Walk

_MEMORY_COLUMNS = (
    "m.id, m.path, m.title, m.importance, m.changed, m.ends, m.pinned, m.agent, m.size, m.passages"
)

_PASSAGE_COLUMNS = "c.id, c.memory_id, c.ordinal, c.first_line, c.last_line, c.text, c.parts <> ''"
_PASSAGE_WIDTH = _PASSAGE_COLUMNS.count(",") + 1
#: More pinned memories than this fit into no budget.
_MOST_PINNED = 200
#: How often a refresh begins again because another process replaced the index.
_MOST_TRIES = 5
#: Answers of `kept`: one a viewer, folder and strategy that was asked for.
_MOST_KEPT = 64

#: How memories are listed, by name; as SQL.
SORTS = {
    "path": "m.path",
    "changed": "m.changed DESC, m.path",
    "importance": f"COALESCE(m.importance, {DEFAULT_IMPORTANCE}) DESC, m.path",
}

_Answer = TypeVar("_Answer")


class MemoryRow(NamedTuple):
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
    passages: int = 1


class VersionRow(NamedTuple):
    """A memory with git's blob id (hex) of its bytes on disk."""

    path: str
    hash: str
    title: str


class PassageRow(NamedTuple):
    """A passage with its place; lines are counted in the file, from 1. `mixed`, 0 or 1: whether any
    word in it is found by parts of it too (words.py)."""

    id: int
    memory_id: int
    ordinal: int
    first_line: int
    last_line: int
    text: str
    mixed: int


class Facts(NamedTuple):
    """What ranking needs of a memory; `changed` is in seconds since the epoch."""

    path: str
    importance: float | None
    changed: float
    created: float | None
    passages: int


class Claim(NamedTuple):
    """A memory points at `target`, which may mean the old one: it links to it, or supersedes it."""

    id: int
    path: str
    target: str
    old_id: int
    old_path: str


class Counts(NamedTuple):
    """How much there is: memories, bytes, and memories by folder of a namespace or agent."""

    memories: int
    bytes: int
    by_folder: tuple[tuple[str, int], ...]


class Index:
    """One vault's index. Reads see every write that returned before `refresh` began.

    What looks at files and fills tables is loaded when that is done: a process whose keeper does it
    only asks, and that is a third of a command's start.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._loading = threading.RLock()
        self._database = Database(vault.index_dir, lambda: self._filler)
        self._refreshing = threading.Lock()
        #: The generation that a refresh made equal to the files: another may be older, or a copy.
        self._equal: int | None = None
        self.vectors = Vectors(self._database, vault.index_dir)
        self._full_text = FullText()
        self._kept: tuple[State, dict[Hashable, object]] = ((), {})
        #: The mark, memories and undecodable names of the last scan that found nothing to do.
        self._settled: tuple[object, ...] = ()

    @lazy
    def _filler(self) -> Filler:
        from avm.index.filler import Filler

        return Filler(self._vault)

    @property
    def similar(self) -> Similar:
        """Which passages are alike."""
        from avm.index.similar import Similar

        return Similar(self._database, self.vectors)

    @property
    def notice(self) -> str | None:
        """A line on what befell the index when it was opened, if anything did."""
        return self._database.notice

    def refresh(self, progress: Progress | None = None) -> Walk:
        """Make the index equal to the files: scan, plan, apply; then catch up with git's history.

        `progress(stage, done, total)`; stages are `files` and `history`. Returns what the scan
        found. Raises IndexDamagedError.
        """
        with self._refreshing, self._filler.reporting(progress):
            self._database.retry()
            found = self._until_it_stays()
            self._equal = self._database.version
            return found

    def refresh_paths(self, rels: Iterable[str]) -> Walk | None:
        """Do the same for these files and what is below these folders, and for nothing else.

        A move between two of them keeps its row. None if that is not enough and a `refresh` is
        needed: rules changed, or the index is another one. Raises IndexDamagedError.
        """
        with self._refreshing:
            wanted = set(rels)
            try:
                before = self._database.version
                found = self._filler.survey.look(wanted)
                if found is None or before is None or before != self._equal:
                    return None
                self._filler.equalise(self._database, found)
            except IndexThrownAway:
                return None
            return found if self._database.version == before else None

    def is_current(self) -> bool:
        """Whether nothing but a change of the vault's own files, or of HEAD, would make a refresh
        find anything; starts no program. Raises IndexDamagedError."""
        version = self._database.version
        whole = version is not None and version == self._equal and not self._database.private
        return whole and not self._filler.survey.stale()

    @property
    def private(self) -> bool:
        """Whether this process has an index of its own in memory, for the file cannot be used.

        No other process brings that one up to date: it takes a `refresh` here.
        """
        return self._database.private

    def _until_it_stays(self) -> Walk:
        """Look and equalise until no other process put another index in place meanwhile."""
        for _ in range(_MOST_TRIES):
            with contextlib.suppress(IndexThrownAway):
                self._filler.caught_up.walk = None
                _ = self._database.connection  # built now, if there is none
                before = self._database.version
                found: Walk | None = self._filler.caught_up.walk
                if found is None:
                    found = self._scan()
                if self._database.version == before:
                    return found
        raise IndexDamagedError(f"{self._vault.index_dir}: the index does not stay; try again")

    def _scan(self) -> Walk:
        """Look at everything and equalise. What was equal the last time, and what nobody wrote to
        since, needs no look into the index: half of what a scan costs beside the walk."""
        mark = self._database.mark
        found = self._filler.survey.walk()
        settled = mark is not None and self._settled[:1] == (mark,)
        if settled and self._settled[1:] == (found.memories, found.undecodable):
            self._filler.equalise_history(self._database)
        else:
            self._settled = ()
            if self._filler.equalise(self._database, found):
                self._settled = (mark, found.memories, found.undecodable)
        return found

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
        from avm.index import comparison

        self.refresh()
        return list(comparison.faults(self._database, self._vault))

    def rebuild(self, progress: Progress | None = None) -> None:
        """Build the index anew and put it in the old one's place when it is complete.

        Embeddings are found again by content. Raises IndexDamagedError.
        """
        with self._refreshing, self._filler.reporting(progress):
            self._database.rebuild()

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
        now = self._state()
        known, answers = self._kept
        if known != now or len(answers) >= _MOST_KEPT:
            answers = {}
            self._kept = (now, answers)
        if key not in answers:
            answers[key] = make()
        return cast(_Answer, answers[key])

    def _state(self) -> State:
        noted = self._database.noted
        known = noted.get("state") if noted is not None else None
        if known is None:
            with self._database.watched():
                known = state(self._database.connection)
            if noted is not None:
                noted["state"] = known
        return cast(State, known)

    def search(self, words: Words, where: Filter, limit: int) -> list[TextHit]:
        """The passages that best match `words` by BM25."""
        with self._database.watched():
            return self._full_text.search(self._database.connection, words, where, limit)

    def idf(self, words: Words) -> dict[str, float]:
        """How telling each of the words is, by FTS5 expression."""
        with self._database.watched():
            return self._full_text.idf(self._database.connection, words)

    def size(self) -> int:
        """How many passages there are, whoever may see them."""
        with self._database.watched():
            return self._full_text.size(self._database.connection)

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
        """Cosine by chunk id of the passages nearest to `query` (float32 bytes), and of `also`."""
        return self.vectors.nearest(query, model, where, limit, also)

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

    def list_memories(
        self, where: Filter, sort: str = "path", limit: int = -1, offset: int = 0
    ) -> list[MemoryRow]:
        """The memories that `where` lets through, by one of `SORTS`: `limit` of them, -1 for all,
        after `offset`."""
        condition, values = where.sql()
        query = (
            f"SELECT {_MEMORY_COLUMNS} FROM memory_at AS m WHERE {condition}"
            f" ORDER BY {SORTS[sort]} LIMIT ? OFFSET ?"
        )
        return [MemoryRow(*row) for row in self._rows(query, (*values, limit, offset))]

    def versions(self, where: Filter) -> list[VersionRow]:
        """Which bytes each memory that `where` lets through has now, by path."""
        condition, values = where.sql()
        query = (
            "SELECT m.path, f.hash, m.title FROM memory_at AS m CROSS JOIN memory AS f"
            f" ON f.id = m.id WHERE {condition} ORDER BY m.path"
        )
        return [VersionRow(*row) for row in self._rows(query, values)]

    def conflict_copies(self, where: Filter) -> list[str]:
        """The rels of texts that were kept beside others' when two sides were merged."""
        condition, values = where.sql()
        query = (
            f"SELECT m.path FROM memory_at AS m WHERE {condition}"
            " AND m.path GLOB '*.conflict-????????.md' ORDER BY m.path"
        )
        return [path for (path,) in self._rows(query, values)]

    def memory(self, path: str) -> MemoryRow | None:
        """The memory at the rel `path`, expired or not."""
        if not is_utf8(path):
            return None
        query = f"SELECT {_MEMORY_COLUMNS} FROM memory_at AS m WHERE m.path = ?"
        return next((MemoryRow(*row) for row in self._rows(query, (path,))), None)

    def numbered(self, stem: str, where: Filter, limit: int) -> list[MemoryRow]:
        """The memories whose files are `stem.md`, `stem-2.md`, … in any letter case, newest first;
        a few others whose names begin so may be among them."""
        name = link_name(stem)
        condition, values = where.sql()
        rows = self._rows(
            f"SELECT {_MEMORY_COLUMNS} FROM link AS l CROSS JOIN memory_at AS m"
            " ON m.id = l.memory_id WHERE l.kind = 'name'"
            # ':' follows '9'.
            f" AND (l.name = ? OR (l.name > ? AND l.name < ?)) AND {condition}"
            " ORDER BY m.changed DESC, m.path DESC LIMIT ?",
            (name, f"{name}-", f"{name}-:", *values, limit),
        )
        return [MemoryRow(*row) for row in rows]

    def expired(self, where: Filter) -> list[MemoryRow]:
        """The memories that `where` would let through had they not ended, by path."""
        condition, values = where.access()._replace(scope=where.scope, now=float("-inf")).sql()
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

    def supersedes(self, memory_ids: Sequence[int], where: Filter) -> list[Claim]:
        """What may supersede one of these memories: what `target` means is still to be resolved."""
        if not memory_ids or not self.kept("supersedes", self._supersedes_any):
            return []
        return self.pointing_at(memory_ids, where, "supersedes")

    def pointing_at(self, memory_ids: Sequence[int], where: Filter, kind: str) -> list[Claim]:
        """What may point at one of these memories by links of this kind, in order: what `target`
        means is still to be resolved."""
        condition, values = where.sql()
        found: set[Claim] = set()
        for part, marks in in_parts(memory_ids):
            rows = self._rows(
                "SELECT m.id, m.path, l.target, old.id, old.path FROM link AS own"
                " CROSS JOIN link AS l ON l.name = own.name AND l.kind = ?"
                " CROSS JOIN memory AS m ON m.id = l.memory_id"
                " CROSS JOIN memory AS old ON old.id = own.memory_id"
                f" WHERE own.memory_id IN ({marks}) AND own.kind IN ('alias', 'name')"
                f" AND {condition}",
                (kind, *part, *values),
            )
            found.update(Claim(*row) for row in rows)
        return sorted(found)

    def _supersedes_any(self) -> bool:
        return bool(self._rows("SELECT 1 FROM link WHERE kind = 'supersedes' LIMIT 1"))

    def facts(self, memory_ids: Iterable[int]) -> dict[int, Facts]:
        """What ranking needs of these memories."""
        query = (
            "SELECT m.id, m.path, m.importance, m.changed, m.created, m.passages"
            " FROM memory_at AS m WHERE m.id IN"
        )
        return {row[0]: Facts(*row[1:]) for row in self._rows_of(query, memory_ids)}

    def episode(self, folder: str, day: int) -> list[int]:
        """The memories of one passage that came into a folder on a day, in order."""
        with self._database.watched():
            return surroundings.episode(self._database.connection, folder, day)

    def at(self, places: Collection[tuple[int, int]], where: Filter) -> list[TextHit]:
        """The passages at these (memory id, ordinal) that pass the filter."""
        with self._database.watched():
            return surroundings.at(self._database.connection, places, where)

    def fields_named(self, values: Iterable[str], where: Filter) -> list[tuple[str, str]]:
        """(name, value) of the fields with one of `values` in any memory that passes."""
        if not self.kept("fields", self._fields_any):
            return []
        known: dict[str, list[str]] = self.kept(("fields", where.who), dict)
        with self._database.watched():
            connection = self._database.connection
            for value in values:
                if value not in known:
                    names = surroundings.named(connection, value)
                    known[value] = [
                        name
                        for name in names
                        if surroundings.is_seen(connection, name, value, where)
                    ]
        return [(name, value) for value in values for name in known[value]]

    def _fields_any(self) -> bool:
        return bool(self._rows("SELECT 1 FROM field LIMIT 1"))

    def having(
        self, fields: Iterable[tuple[str, str]], memory_ids: Sequence[int]
    ) -> dict[int, int]:
        """How many of `fields` each of these memories has, of those that have any."""
        with self._database.watched():
            return surroundings.having(self._database.connection, fields, memory_ids)

    def standing(self, where: Filter) -> list[tuple[int, str, int, float | None, float]]:
        """(id, path, pinned, importance, changed) of every memory that `where` lets through."""
        condition, values = where.sql()
        query = (
            "SELECT m.id, m.path, m.pinned, m.importance, m.changed"
            f" FROM memory_at AS m WHERE {condition}"
        )
        return [tuple(row) for row in self._rows(query, values)]

    def pinned(self, where: Filter) -> list[int]:
        """The ids of the pinned memories, `_MOST_PINNED` at most, the most important first."""
        condition, values = where.sql()
        query = (
            f"SELECT m.id FROM memory AS m WHERE m.pinned = 1 AND {condition}"
            f" ORDER BY COALESCE(m.importance, {DEFAULT_IMPORTANCE}) DESC, m.path"
            f" LIMIT {_MOST_PINNED}"
        )
        return [row[0] for row in self._rows(query, values)]

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
        return self.vectors.count(model, where)

    def close(self) -> None:
        """Close the database file."""
        self._database.close()

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        with self._database.watched():
            return self._database.connection.execute(query, values).fetchall()

    def _rows_of(self, query: str, ids: Iterable[int]) -> Iterator[sqlite3.Row]:
        """The rows of a query that ends in `IN`, for any number of ids."""
        for part, marks in in_parts(list(ids)):
            yield from self._rows(f"{query} ({marks})", part)

    @property
    def undecodable(self) -> tuple[str, ...]:
        """Files that would be memories if their names were UTF-8, as rels."""
        rows = self._rows("SELECT path FROM undecodable ORDER BY path")
        return tuple(os.fsdecode(row["path"]) for row in rows)

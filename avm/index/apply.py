"""Carrying a plan out: read the files, then write rows, in transactions that check again."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from avm.base import paths
from avm.index.database import Database
from avm.index.extract import Extracted, extract
from avm.index.plan import Plan, is_racy
from avm.vault.files import Stamp, walk
from avm.vault.history import PathHistory
from avm.vault.location import Vault

#: Files a transaction: bounds the memory of a cold build and the wait of another writer.
_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class _Reading:
    """One file as it was read. `extracted` is None if it is no regular file any more."""

    path: str
    stamp: Stamp | None
    checked_ns: int
    extracted: Extracted | None


def apply(
    database: Database, vault: Vault, plan: Plan, progress: Callable[[int], None] | None = None
) -> None:
    """Make the rows of the planned paths equal to the files. `progress` hears counts of files."""
    gone = list(plan.gone)
    for batch in _batches(plan.read):
        before = generation(database.connection)
        readings = [_read(vault, path) for path in batch]
        with database.transaction() as connection:
            moved_on = generation(connection) != before
            checked = [_recheck(vault, reading, moved_on) for reading in readings]
            if _write(connection, checked, gone):
                count_up(connection)
        if progress:
            progress(len(batch))
    if gone:
        with database.transaction() as connection:
            still = _still_gone(vault, gone)
            connection.executemany("DELETE FROM memory WHERE path = ?", [(p,) for p in still])
            count_up(connection)


def _still_gone(vault: Vault, names: list[str]) -> list[str]:
    """Those of `names` that are no memories now.

    A name that is on disk may have come back meanwhile, or it is ignored, a link or a folder: a
    walk tells.
    """
    if all(_lstat(vault, path) is None for path in names):
        return names
    found = walk(vault).memories
    return [path for path in names if path not in found]


def apply_history(
    database: Database, head: str, found: dict[str, PathHistory | None], *, whole: bool
) -> None:
    """Store what a walk of git's history found, up to the commit `head`.

    `whole`: the walk began at the first commit, so older rows are dropped.
    """
    with database.transaction() as connection:
        rows: list[tuple[str, str, float, float]] = []
        for path, entry in found.items():
            if entry is None or not paths.is_utf8(path):
                continue
            changed, added = float(entry.changed), float(entry.added)
            if not added:
                row = connection.execute(
                    "SELECT changed, added FROM history WHERE path = ?", (entry.origin,)
                ).fetchone()
                added = row["added"] if row else changed
                changed = changed or (row["changed"] if row else added)
            rows.append((path, entry.blob, changed or added, added))
        if whole:
            connection.execute("DELETE FROM history")
        stale = [(path,) for path in found if paths.is_utf8(path)]
        connection.executemany("DELETE FROM history WHERE path = ?", stale)
        connection.executemany("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?)", rows)
        connection.execute("INSERT OR REPLACE INTO fact VALUES ('head', ?)", (head,))
        count_up(connection)


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    remaining = iter(names)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def generation(connection: sqlite3.Connection) -> int:
    """A number that differs whenever a search could answer differently."""
    row = connection.execute("SELECT value FROM fact WHERE name = 'generation'").fetchone()
    return int(row["value"]) if row else 0


def count_up(connection: sqlite3.Connection, name: str = "generation") -> None:
    """Raise a counter in `fact`; call in a transaction."""
    connection.execute(
        "INSERT INTO fact VALUES (?, '1') ON CONFLICT (name) DO UPDATE SET value = value + 1",
        (name,),
    )


def _lstat(vault: Vault, path: str) -> Stamp | None:
    try:
        return Stamp.of(os.lstat(vault.path(path)))
    except OSError:
        return None


def _read(vault: Vault, path: str) -> _Reading:
    checked_ns = time.time_ns()
    try:
        fd = os.open(vault.path(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return _Reading(path, None, checked_ns, None)
    with open(fd, "rb") as file:
        stamp = Stamp.of(os.fstat(fd))
        return _Reading(path, stamp, checked_ns, extract(path, file.read()))


def _recheck(vault: Vault, reading: _Reading, moved_on: bool) -> _Reading:
    """Read again what changed between its reading and this transaction.

    Another process may have indexed a newer version meanwhile; ours must not go over it.
    """
    doubtful = moved_on and reading.stamp and is_racy(reading.stamp, reading.checked_ns)
    if doubtful or _lstat(vault, reading.path) != reading.stamp:
        return _read(vault, reading.path)
    return reading


def _write(connection: sqlite3.Connection, readings: Iterable[_Reading], gone: list[str]) -> bool:
    """Write rows; a file with the content of a `gone` one takes over its row. True if any changed.

    Paths taken over are removed from `gone`.
    """
    changed = False
    leaving = dict(_hashes(connection, gone))
    for reading in readings:
        if reading.stamp is None or reading.extracted is None:
            removed = connection.execute("DELETE FROM memory WHERE path = ?", (reading.path,))
            changed |= removed.rowcount > 0
            continue
        row = connection.execute(
            "SELECT id, hash FROM memory WHERE path = ?", (reading.path,)
        ).fetchone()
        if row is not None and row["hash"] == reading.extracted.hash:
            _touch(connection, row["id"], reading)
            continue
        changed = True
        if row is None:
            source = next((p for p, h in leaving.items() if h == reading.extracted.hash), None)
            if source is not None:
                connection.execute(
                    "UPDATE memory SET path = ? WHERE path = ?", (reading.path, source)
                )
                del leaving[source]
                gone.remove(source)
        _upsert(connection, reading.path, reading.stamp, reading.checked_ns, reading.extracted)
    return changed


def _hashes(connection: sqlite3.Connection, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in names:
        row = connection.execute("SELECT hash FROM memory WHERE path = ?", (path,)).fetchone()
        if row:
            yield path, row["hash"]


def _touch(connection: sqlite3.Connection, memory_id: int, reading: _Reading) -> None:
    """The same content under a new stamp, or seen again late enough to be sure of it."""
    stamp = reading.stamp
    assert stamp is not None
    connection.execute(
        "UPDATE memory SET mtime_ns = ?, ctime_ns = ?, size = ?, inode = ?, checked_ns = ?"
        " WHERE id = ?",
        (stamp.mtime_ns, stamp.ctime_ns, stamp.size, stamp.inode, reading.checked_ns, memory_id),
    )


def _upsert(
    connection: sqlite3.Connection, path: str, stamp: Stamp, checked_ns: int, found: Extracted
) -> None:
    front = found.front
    values = {
        "path": path,
        "hash": found.hash,
        "mtime_ns": stamp.mtime_ns,
        "ctime_ns": stamp.ctime_ns,
        "size": stamp.size,
        "inode": stamp.inode,
        "checked_ns": checked_ns,
        "title": found.title,
        "importance": front.importance,
        "created": front.created.timestamp() if front.created else None,
        "expires": front.expires.timestamp() if front.expires else None,
        "ttl": front.ttl.total_seconds() if front.ttl else None,
        "seen": stamp.mtime_ns / 1e9,
        "agent": front.agent,
        "pinned": int(front.pinned),
        "problems": "\n".join(found.problems),
    }
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    updates = ", ".join(f"{n} = excluded.{n}" for n in values if n not in ("path", "seen"))
    memory_id = connection.execute(
        f"INSERT INTO memory ({names}) VALUES ({marks})"
        f" ON CONFLICT (path) DO UPDATE SET {updates} RETURNING id",
        values,
    ).fetchone()[0]
    _replace_parts(connection, memory_id, found)


def _replace_parts(connection: sqlite3.Connection, memory_id: int, found: Extracted) -> None:
    for table in ("tag", "link", "chunk"):
        connection.execute(f"DELETE FROM {table} WHERE memory_id = ?", (memory_id,))
    connection.executemany(
        "INSERT OR IGNORE INTO tag VALUES (?, ?)", [(memory_id, tag) for tag in found.tags]
    )
    connection.executemany(
        "INSERT OR IGNORE INTO link VALUES (?, ?, ?, ?)",
        [(memory_id, *link) for link in found.links],
    )
    connection.executemany(
        "INSERT INTO chunk (memory_id, ordinal, first_line, last_line, start_byte, end_byte,"
        " head, text, context, cjk, parts, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(memory_id, n, *passage) for n, passage in enumerate(found.passages)],
    )

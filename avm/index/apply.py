"""Carrying a plan out: read the files, then write rows, in transactions that check again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

from avm.base import paths
from avm.index.counters import count_up, generation
from avm.index.database import Target
from avm.index.plan import Plan, is_racy
from avm.index.rows import Reading, memory_values, parts, read
from avm.vault.files import Stamp
from avm.vault.history import PathHistory
from avm.vault.location import Vault

#: Files a transaction: bounds the memory of a cold build and the wait of another writer.
_BATCH = 2_000


def apply(
    database: Target,
    vault: Vault,
    plan: Plan,
    memories_of: Callable[[list[str]], Collection[str]],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Make the rows of the planned paths equal to the files.

    `memories_of` says which of some paths are memories now; `progress` hears counts of files.
    """
    gone = list(plan.gone)
    for batch in _batches(plan.read):
        before = generation(database.connection)
        known = dict(_hashes(database.connection, batch))
        readings = [read(vault.root, path, known.get(path)) for path in batch]
        with database.transaction() as connection:
            moved_on = generation(connection) != before
            checked = [_recheck(vault, reading, moved_on) for reading in readings]
            if _write(connection, vault, checked, gone):
                count_up(connection)
        if progress:
            progress(len(batch))
    if gone:
        with database.transaction() as connection:
            still = _still_gone(vault, gone, memories_of)
            connection.executemany("DELETE FROM memory WHERE path = ?", [(p,) for p in still])
            count_up(connection)


def _still_gone(
    vault: Vault, names: list[str], memories_of: Callable[[list[str]], Collection[str]]
) -> list[str]:
    """Those of `names` that are no memories now.

    A name that is on disk may have come back meanwhile, or it is ignored, a link or a folder.
    """
    there = [path for path in names if _lstat(vault, path) is not None]
    if not there:
        return names
    found = memories_of(there)
    return [path for path in names if path not in found]


def note_undecodable(
    connection: sqlite3.Connection, scope: Collection[str], names: Iterable[str]
) -> None:
    """Keep `names` as those at and below `scope` that are not UTF-8; call in a transaction."""
    for rel in scope:
        raw = os.fsencode(rel)
        if raw:
            below = (raw, raw + b"/", raw + b"0")
            connection.execute(
                "DELETE FROM undecodable WHERE path = ? OR (path > ? AND path < ?)", below
            )
        else:
            connection.execute("DELETE FROM undecodable")
    connection.executemany(
        "INSERT OR IGNORE INTO undecodable VALUES (?)", [(os.fsencode(name),) for name in names]
    )


def apply_history(
    connection: sqlite3.Connection, head: str, found: dict[str, PathHistory | None], *, whole: bool
) -> None:
    """Store what a walk of git's history found, up to the commit `head`; call in a transaction.

    `whole`: the walk began at the first commit, so older rows are dropped.
    """
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
    else:
        stale = ((path,) for path in found if paths.is_utf8(path))
        connection.executemany("DELETE FROM history WHERE path = ?", stale)
    connection.executemany("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?)", rows)
    connection.execute("INSERT OR REPLACE INTO fact VALUES ('head', ?)", (head,))
    count_up(connection)


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    remaining = iter(names)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def _lstat(vault: Vault, path: str) -> Stamp | None:
    try:
        return Stamp.of(os.lstat(vault.path(path)))
    except OSError:
        return None


def _recheck(vault: Vault, reading: Reading, moved_on: bool) -> Reading:
    """Read again what changed between its reading and this transaction.

    Another process may have indexed a newer version meanwhile; ours must not go over it.
    """
    doubtful = moved_on and reading.stamp and is_racy(reading.stamp, reading.checked_ns)
    if doubtful or _lstat(vault, reading.path) != reading.stamp:
        return read(vault.root, reading.path)
    return reading


def _write(
    connection: sqlite3.Connection, vault: Vault, readings: Iterable[Reading], gone: list[str]
) -> bool:
    """Write rows; a file with the content of a `gone` one takes over its row. True if any changed.

    Paths taken over are removed from `gone`.
    """
    changed = False
    leaving = dict(_hashes(connection, gone))
    for reading in readings:
        row = connection.execute(
            "SELECT id, hash, mtime_ns FROM memory WHERE path = ?", (reading.path,)
        ).fetchone()
        if reading.stamp and row is not None and row["hash"] == reading.hash:
            _touch(connection, row["id"], reading)
            # What is not committed ranks by its stamp.
            changed |= row["mtime_ns"] != reading.stamp.mtime_ns
            continue
        if reading.stamp and reading.extracted is None:
            reading = read(vault.root, reading.path)  # another process wrote the row meanwhile
        if reading.extracted is None:
            removed = connection.execute("DELETE FROM memory WHERE path = ?", (reading.path,))
            changed |= removed.rowcount > 0
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
        _upsert(connection, reading)
    return changed


def _hashes(connection: sqlite3.Connection, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in names:
        row = connection.execute("SELECT hash FROM memory WHERE path = ?", (path,)).fetchone()
        if row:
            yield path, row["hash"]


def _touch(connection: sqlite3.Connection, memory_id: int, reading: Reading) -> None:
    """The same content under a new stamp, or seen again late enough to be sure of it."""
    stamp = reading.stamp
    assert stamp is not None
    connection.execute(
        "UPDATE memory SET mtime_ns = ?, ctime_ns = ?, size = ?, inode = ?, checked_ns = ?"
        " WHERE id = ?",
        (stamp.mtime_ns, stamp.ctime_ns, stamp.size, stamp.inode, reading.checked_ns, memory_id),
    )


def _upsert(connection: sqlite3.Connection, reading: Reading) -> None:
    values = memory_values(reading)
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    updates = ", ".join(f"{n} = excluded.{n}" for n in values if n not in ("path", "seen"))
    memory_id = connection.execute(
        f"INSERT INTO memory ({names}) VALUES ({marks})"
        f" ON CONFLICT (path) DO UPDATE SET {updates} RETURNING id",
        values,
    ).fetchone()[0]
    for table in ("tag", "field", "link", "chunk"):
        connection.execute(f"DELETE FROM {table} WHERE memory_id = ?", (memory_id,))
    for insert, rows in parts(memory_id, reading.extracted).items():
        connection.executemany(insert, rows)

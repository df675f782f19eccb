"""Comparing what the index holds with what it would hold if it were built now."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from avm.base import paths
from avm.base.errors import NotFoundError
from avm.index.database import Database, is_damage
from avm.index.extract import Extracted, extract
from avm.vault import files
from avm.vault.location import Vault

_COLUMNS = (
    "id, path, hash, title, importance, created, expires, ttl, agent, pinned, passages, problems"
)
_CHUNK = "first_line, last_line, start_byte, end_byte, head, text, context, cjk, parts, hash"


def faults(database: Database, vault: Vault) -> Iterator[str]:
    """A line on each difference. Raises IndexDamagedError."""
    on_disk = files.walk(vault).memories
    with database.snapshot() as connection:
        rows = {row["path"]: row for row in connection.execute(f"SELECT {_COLUMNS} FROM memory")}
        for path in sorted(on_disk.keys() - rows.keys()):
            yield f"{paths.display(path)} is not in the index"
        for path in sorted(rows.keys() - on_disk.keys()):
            yield f"{paths.display(path)} is in the index and not on disk"
        for path in sorted(rows.keys() & on_disk.keys()):
            try:
                raw = files.read(vault, path)
            except NotFoundError:
                continue  # gone or unreadable since the walk
            if what := _difference(connection, rows[path], extract(path, raw)):
                yield f"{paths.display(path)}: {what}"
    if what := _unsound(database):
        yield what


def _difference(connection: sqlite3.Connection, row: sqlite3.Row, file: Extracted) -> str | None:
    """What the index says otherwise than the file; None if they agree."""
    if row["hash"] != file.hash:
        return "the index holds another content"
    front = file.front
    expected = (
        file.title,
        front.importance,
        front.created.timestamp() if front.created else None,
        front.expires.timestamp() if front.expires else None,
        front.ttl.total_seconds() if front.ttl else None,
        front.agent,
        int(front.pinned),
        len(file.passages),
        "\n".join(file.problems),
    )
    if tuple(row)[3:] != expected:
        return "the index holds other front matter"
    chunks = connection.execute(
        f"SELECT {_CHUNK} FROM chunk WHERE memory_id = ? ORDER BY ordinal", (row["id"],)
    )
    if [tuple(chunk) for chunk in chunks] != list(file.passages):
        return "the index holds other passages"
    tags = connection.execute("SELECT tag FROM tag WHERE memory_id = ?", (row["id"],))
    if {tag[0] for tag in tags} != set(file.tags):
        return "the index holds other tags"
    fields = connection.execute("SELECT name, value FROM field WHERE memory_id = ?", (row["id"],))
    if {tuple(field) for field in fields} != set(file.fields):
        return "the index holds other fields"
    links = connection.execute(
        "SELECT kind, target, name FROM link WHERE memory_id = ?", (row["id"],)
    )
    if {tuple(link) for link in links} != set(file.links):
        return "the index holds other links"
    return None


def _unsound(database: Database) -> str | None:
    """What SQLite finds wrong: the file itself, or a full text that is not that of the chunks."""
    # Not watched: what is found is to be told, not thrown away.
    connection = database.connection
    try:
        answer: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            return f"the index's file is damaged: {answer}"
        # 1: compare with the chunks, not only with itself.
        connection.execute(
            "INSERT INTO chunk_text (chunk_text, rank) VALUES ('integrity-check', 1)"
        )
    except sqlite3.DatabaseError as err:
        if not is_damage(err):
            raise
        return "the full text is not that of the passages"
    return None

"""What the parts cost bare: a file written, a row in SQLite, a walk, a full-text query, `rg`.

The SQLite here is not the index: a file of its own, with a full-text table of the same kind.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path

from avm.base import atomic
from avm.bench.figures import Floor, again, each, median

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE doc (id INTEGER PRIMARY KEY, path TEXT UNIQUE, mtime INTEGER, text TEXT);
CREATE VIRTUAL TABLE doc_text USING fts5 (
    text, content = 'doc', content_rowid = 'id', tokenize = 'porter unicode61'
);
CREATE TRIGGER doc_added AFTER INSERT ON doc BEGIN
    INSERT INTO doc_text (rowid, text) VALUES (new.id, new.text);
END;
"""
_UPSERT = (
    "INSERT INTO doc (path, mtime, text) VALUES (?, ?, ?)"
    " ON CONFLICT (path) DO UPDATE SET mtime = excluded.mtime"
)
_QUERY = "SELECT rowid FROM doc_text WHERE doc_text MATCH ? ORDER BY rank LIMIT 10"


class BareTable:
    """Whole files in SQLite with full text, and nothing else."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None)
        self._connection.executescript(_SCHEMA)

    def fill(self, root: Path) -> float:
        """Read every memory below `root` and insert it, in one transaction; ms."""

        def fill() -> None:
            self._connection.execute("BEGIN")
            for folder, _, names in os.walk(root / "memory"):
                for name in names:
                    if name.endswith(".md"):
                        self._add(f"{folder}/{name}")
            self._connection.execute("COMMIT")

        return again(fill, 1)[0]

    def _add(self, place: str) -> None:
        with open(place, "rb") as file:
            text = file.read().decode("utf-8", "replace")
            stamp = os.fstat(file.fileno()).st_mtime_ns
        self._connection.execute(_UPSERT, (place, stamp, text))

    def upsert(self, path: str, text: str) -> None:
        """One row in a transaction of its own."""
        self._connection.execute(_UPSERT, (path, 0, text))

    def query(self, words: str) -> list[int]:
        """The ids of the ten best for any of the words."""
        expression = " OR ".join(f'"{word}"' for word in words.split())
        return [row[0] for row in self._connection.execute(_QUERY, (expression,))]

    def query_floor(self, questions: Sequence[str]) -> Floor:
        """The bare query of the same words."""
        return Floor("FTS5", median(each(self.query, questions)))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def write_and_upsert(folder: Path, table: BareTable, texts: Sequence[str]) -> Floor:
    """A file written whole and a row for it, one after another."""
    folder.mkdir(parents=True, exist_ok=True)

    def once(numbered: tuple[int, str]) -> None:
        number, text = numbered
        place = folder / f"bare-{number}.md"
        atomic.write_new(place, text.encode())
        table.upsert(str(place), text)

    return Floor("write + upsert", median(each(once, enumerate(texts))))


def walk(root: Path, times: int) -> Floor:
    """`os.scandir` and a stat of each file."""

    def visit(folder: str) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name[0] != ".":
                        visit(entry.path)
                else:
                    entry.stat(follow_symlinks=False)

    return Floor("scandir + stat", median(again(lambda: visit(str(root)), times)))


def ripgrep(root: Path, words: Sequence[str]) -> list[float] | None:
    """`rg -il WORD` over the vault as a whole process, ms; None if it is not installed."""
    program = shutil.which("rg")
    if program is None:
        return None

    def search(word: str) -> None:
        subprocess.run(
            [program, "-il", "--", word, str(root)], stdout=subprocess.DEVNULL, check=False
        )

    return each(search, words)


def process(command: Sequence[str], times: int) -> Floor:
    """A whole process, by the name of its last word."""

    def run() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return Floor(command[-1], median(again(run, times)))

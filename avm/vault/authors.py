"""Who wrote what is not committed yet: a journal of lines in the vault's own state.

A path without an entry was written by the person. An entry is appended after the file is in place,
so a process killed between the two leaves a memory that the person commits: kept, never lost.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from avm.base import atomic
from avm.vault.journal import Journal, Mark
from avm.vault.location import Vault


class Entry(NamedTuple):
    """One write: the path as a rel, the agent (None: the owner), the operation, and when.

    `op` is `remember`, `edit`, `forget` or the command that wrote; `at` is in seconds since the
    epoch. With `blob` (hex) it is no write: it says that what `agent` wrote up to here is in git
    under that id, since another version takes its place before it was committed.
    """

    path: str
    agent: str | None
    op: str
    at: float
    blob: str | None = None


class Authors:
    """The journal of one vault. Any number of processes may append to it."""

    def __init__(self, vault: Vault) -> None:
        self._file: Path = vault.own_state / "authors.jsonl"
        self._journal = Journal(self._file)
        self._guard = threading.Lock()
        self._seen = 0  # the size of what `_open` was read from, and the last line of that
        self._last = b""
        self._open: dict[str, Entry] = {}

    def record(self, entry: Entry, *, fsync: bool = False) -> Mark:
        """Append one entry."""
        record = {name: value for name, value in entry._asdict().items() if name != "blob" or value}
        return self._journal.append(record, fsync=fsync)

    def is_at(self, mark: Mark) -> bool:
        """Whether no entry was appended or settled since the one that gave `mark`."""
        return self._journal.is_at(mark)

    def read(self) -> tuple[list[Entry], int]:
        """All entries, oldest first, and the size in bytes of what was read."""
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            return [], 0
        size = data.rfind(b"\n") + 1
        return list(_entries(data[:size])), size

    def after(self, read_size: int) -> list[Entry]:
        """The entries that were appended after the first `read_size` bytes, oldest first."""
        if self.size() <= read_size:
            return []
        return list(_entries(self._file.read_bytes()[read_size:]))

    def open_version(self, path: str) -> Entry | None:
        """The newest write to `path` that is in no commit and no earlier version, if there is one.

        Reads only what was appended since the last call.
        """
        with self._guard:
            try:
                with self._file.open("rb") as file:
                    data = self._appended(file.fileno())
            except FileNotFoundError:
                self._seen, self._last, self._open = 0, b"", {}
                return None
            whole = data[: data.rfind(b"\n") + 1]
            for entry in _entries(whole):
                if entry.blob is None:
                    self._open[entry.path] = entry
                else:
                    self._open.pop(entry.path, None)
            if whole:
                self._seen += len(whole)
                self._last = whole.splitlines(keepends=True)[-1]
            return self._open.get(path)

    def _appended(self, fd: int) -> bytes:
        """What the journal holds beyond what was seen; all of it if it was settled since.

        Inode and size do not tell: the file system gives a number again that has become free.
        """
        size, before = os.fstat(fd).st_size, len(self._last)
        if size >= self._seen:
            data = os.pread(fd, size - self._seen + before, self._seen - before)
            if data.startswith(self._last):
                return data[before:]
        self._seen, self._last, self._open = 0, b"", {}
        return os.pread(fd, size, 0)

    def size(self) -> int:
        """The journal's size in bytes: 0 when nothing waits, else it tells whether it moved."""
        try:
            return self._file.stat().st_size
        except FileNotFoundError:
            return 0

    def settle(self, done: Collection[str], read_size: int, begun: Collection[str] = ()) -> None:
        """Drop the entries of `done` paths among the first `read_size` bytes; later ones stay.

        Of `begun` paths those go that stand for earlier versions, up to the last `blob`.
        """
        if not done and not begun:
            return
        with self._journal.locked():
            try:
                data = self._file.read_bytes()
            except FileNotFoundError:
                return
            kept: list[bytes] = []
            seen = set(done)
            for line in reversed(data[:read_size].splitlines(keepends=True)):
                entry = _parse(line)
                if entry is None or entry.path in seen:
                    continue
                if entry.blob is not None and entry.path in begun:
                    seen.add(entry.path)
                else:
                    kept.append(line)
            atomic.replace(self._file, b"".join(reversed(kept)) + data[read_size:])


def _entries(data: bytes) -> Iterator[Entry]:
    return (entry for entry in map(_parse, data.splitlines()) if entry)


def _parse(line: bytes) -> Entry | None:
    try:
        return Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None  # a line cut short by a kill: its path counts as the person's

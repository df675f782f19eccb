"""The index's one file: opening it, throwing a damaged or foreign one away, transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from avm.base.errors import IndexDamagedError

#: The number of schema.sql and of what the extractors put in it. Another number: build again.
SCHEMA = 2
_BUSY_SECONDS = 30.0


_WRITABLE_HINT = "set AVM_STATE_DIR to a folder that can be written"


class IndexThrownAway(IndexDamagedError):
    """The index turned out to be damaged and was removed: the same question builds a new one."""


class Database:
    """Connections to one index file: one a thread, kept open.

    A connection an operation would checkpoint the WAL on each last close: 1.87 ms against 0.04.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._local = threading.local()
        self._all: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._guard = threading.Lock()
        self.notice: str | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection, opened at first use and again when the file was removed.

        Raises IndexDamagedError.
        """
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.in_transaction:
            return connection
        if connection is None or self._local.inode != self._inode():
            connection = self._open()
            self._local.connection, self._local.inode = connection, self._inode()
            with self._guard:
                self._close_left()
                self._all.append((threading.current_thread(), connection))
        return connection

    def _close_left(self) -> None:
        """Close the connections of threads that have ended; call with the guard held."""
        for thread, connection in self._all:
            if not thread.is_alive():
                connection.close()
        self._all = [pair for pair in self._all if pair[0].is_alive()]

    def _inode(self) -> int | None:
        try:
            return self.file.stat().st_ino
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction, on this thread's connection. Not to be nested."""
        with self.watched():
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                _end(connection, "ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Reads that all see the same state. May be nested."""
        connection = self.connection
        if connection.in_transaction:
            yield connection
            return
        with self.watched():
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                _end(connection, "COMMIT")

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Throw the file away if it turns out to be damaged: the next connection builds it anew.

        Raises IndexThrownAway in that case, IndexDamagedError if a sound one cannot be used.
        """
        try:
            yield
        except sqlite3.DatabaseError as err:
            if _is_hindrance(err):
                raise IndexDamagedError(f"{self.file}: {err}; {_WRITABLE_HINT}") from None
            if not is_damage(err):
                raise
            # Another thread may have done so already: the file is then another.
            if getattr(self._local, "inode", None) == self._inode():
                self.notice = f"index rebuilt: {err}"
                _move_aside(self.file)
            raise IndexThrownAway(f"{self.file} is damaged ({err}): ask again") from None

    def discard(self) -> None:
        """Move the file aside: the next connection begins with an empty one."""
        _move_aside(self.file)

    def close(self) -> None:
        """Close every thread's connection."""
        with self._guard:
            for _, connection in self._all:
                connection.close()
            self._all.clear()
        self._local = threading.local()

    def _open(self) -> sqlite3.Connection:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            return self._connect()
        except OSError as err:
            where = self.file.parent
            raise IndexDamagedError(f"{where}: {err.strerror}; {_WRITABLE_HINT}") from None
        except (sqlite3.DatabaseError, _ForeignSchema) as err:
            if isinstance(err, sqlite3.OperationalError) and "locked" in str(err):
                raise IndexDamagedError(f"{self.file}: {err}; try again") from None
            self.notice = f"index rebuilt: {err}"
            _move_aside(self.file)
        try:
            return self._connect()
        except sqlite3.Error as err:
            raise IndexDamagedError(
                f"{self.file}: {err}; remove its folder and try again"
            ) from None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.executescript(
                "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
            )
            number = connection.execute("PRAGMA user_version").fetchone()[0]
            if number == 0:
                _create(connection)
            elif number != SCHEMA:
                raise _ForeignSchema(f"it has schema {number}, this AVM writes {SCHEMA}")
        except BaseException:
            connection.close()
            raise
        connection.row_factory = sqlite3.Row
        return connection


class _ForeignSchema(Exception):
    pass


def _end(connection: sqlite3.Connection, how: str) -> None:
    """End a transaction that a damaged file may have ended already."""
    if connection.in_transaction:
        connection.execute(how)


def _is_hindrance(err: sqlite3.Error) -> bool:
    """Whether the file is sound as far as is known, but cannot be used: no room, no right, busy."""
    return (getattr(err, "sqlite_errorcode", 0) or 0) & 0xFF in (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_BUSY,
    )


def is_damage(err: sqlite3.Error) -> bool:
    """Whether SQLite says that the file is not what it wrote."""
    code = getattr(err, "sqlite_errorcode", None)
    return code is not None and (
        code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        or code == sqlite3.SQLITE_IOERR_SHORT_READ
    )


def _create(connection: sqlite3.Connection) -> None:
    """Lay out an empty database; of two processes that try, the second finds it done."""
    connection.execute("PRAGMA journal_mode = WAL")
    schema = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        for statement in _statements(schema):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script: `executescript` would commit the transaction around them."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def _move_aside(file: Path) -> None:
    """Keep the last unusable index for whoever wants to look at it, out of the way."""
    aside = file.with_name(f"{file.name}.damaged-{time.time_ns()}")
    for old in file.parent.glob(f"{file.name}.damaged-*"):
        old.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.replace(file, aside)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)

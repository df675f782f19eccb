"""The index's file: its generations, its connections, and what is done when it cannot be used.

`index-<SCHEMA>.sqlite` is a link to the generation in use, `index-<SCHEMA>-<when>.sqlite`. A new
one is filled beside it under a name of its own and complete before the link moves: a `-wal` of one
file is never applied to another, and whoever reads goes on with the old one until then.
docs/index.md tells what happens on damage.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from avm.base import access
from avm.base.errors import IndexDamagedError, RepositoryError
from avm.base.threads import Runner
from avm.vault.locks import locked

#: The number of schema.sql and of what the extractors put in it. Another number: another file.
SCHEMA = 3
FILE = f"index-{SCHEMA}.sqlite"
#: How long another process may keep the file locked before this one goes on without it.
_BUSY_SECONDS = 10.0
#: How long to wait for another process that builds the index.
_BUILD_SECONDS = 600.0
#: An index in memory gives way to the file again after this time at first, later after longer.
_RETRY_SECONDS = 60.0
#: What the write-ahead log keeps of the disk after a large change; SQLite's own is all of it.
_LOG_BYTES = 16 << 20
_DAY = 86_400.0
#: The files of an AVM of another schema are removed when none has used them for so long.
_UNUSED_SECONDS = 30 * _DAY

_DAMAGED = f"index-{SCHEMA}-damaged-"
_WRITABLE_HINT = "set AVM_STATE_DIR to a folder that can be written"
#: Made when the rows are there: a build in order is three times as fast as one row by row.
_LATE = ("CREATE INDEX", "CREATE TRIGGER")


class IndexThrownAway(IndexDamagedError):
    """The index turned out to be unusable and another takes its place: ask the same once more."""


class Target(Protocol):
    """What rows are written to."""

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection for this thread."""

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """One write transaction. Not to be nested."""

    def watched(self) -> AbstractContextManager[None]:
        """Around everything that is asked of the connection."""


class Builder(Protocol):
    """Who knows what belongs into a new index."""

    def fill(self, connection: sqlite3.Connection) -> None:
        """Put everything into empty tables that have no triggers yet."""

    def catch_up(self, target: Target) -> None:
        """Make what was filled equal to the files as they are now."""


class Single:
    """One connection that all threads share, one transaction at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._turn = threading.RLock()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction. Not to be nested."""
        with self._turn, _transaction(self.connection):
            yield self.connection

    def watched(self) -> AbstractContextManager[None]:
        """Nothing is done about errors."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Reads that all see the same state."""
        with self._turn:
            yield self.connection


class Database:
    """Connections to the generation in use: one a thread, kept open.

    A connection an operation would checkpoint the WAL on each last close: 1.87 ms against 0.04.
    """

    def __init__(self, folder: Path, builder: Callable[[], Builder]) -> None:
        """`builder` gives the one to build with: asked for when there is something to build."""
        self.file = folder / FILE
        self.notice: str | None = None
        self._builder = builder
        self._local = threading.local()
        self._all: list[tuple[Runner, sqlite3.Connection]] = []
        self._guard = threading.Lock()
        self._memory: Single | None = None
        self._building = threading.RLock()
        self._retry_at = 0.0
        self._retry_seconds = _RETRY_SECONDS
        self._marked = False
        self._serials = itertools.count()
        #: Transactions of this process: `PRAGMA data_version` does not count a connection's own.
        self._written = 0

    @property
    def private(self) -> bool:
        """Whether the index is in this process's memory, since the file cannot be used."""
        return self._memory is not None

    @property
    def version(self) -> int | None:
        """Which generation is in use; it differs when another took its place."""
        return None if self._memory else self._inode()

    @property
    def mark(self) -> tuple[object, ...] | None:
        """What stays the same for this thread as long as nobody writes to the index; None: who
        knows."""
        connection = self.connection
        if self._memory is not None:
            return None
        with self.watched():
            seen = connection.execute("PRAGMA data_version").fetchone()[0]
        return self._local.serial, self._local.inode, seen, self._written

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection, opened at first use and again when the generation is another.

        Raises IndexDamagedError.
        """
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.in_transaction:
            return connection
        if self._memory is not None:
            return self._memory.connection
        if connection is None or self._local.inode != self._inode():
            return self._open()
        return connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction, on this thread's connection. Not to be nested."""
        with self.watched():
            connection, memory = self.connection, self._memory
            within = memory.transaction() if memory else _transaction(connection)
            self._written += 1
            with within:
                yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Reads that all see the same state. May be nested."""
        connection, memory = self.connection, self._memory
        if memory is not None and connection is memory.connection:
            with memory.snapshot():
                yield connection
            return
        if connection.in_transaction:
            yield connection
            return
        with self.watched():
            connection.execute("BEGIN")
            self._local.noted = {}
            try:
                yield connection
            finally:
                self._local.noted = None
                _end(connection, "COMMIT")

    @property
    def noted(self) -> dict[str, object] | None:
        """What to note in that stays true to the end of this thread's snapshot; None outside."""
        noted: dict[str, object] | None = getattr(self._local, "noted", None)
        return noted

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Do without the file if it turns out to be damaged, or cannot be used.

        Raises IndexThrownAway in these cases: the next connection is to another one.
        """
        try:
            yield
        except sqlite3.DatabaseError as err:
            inode = getattr(self._local, "inode", None)
            if not _is_of_file(err):
                raise
            # Another thread or process may have put another in its place already.
            if inode is not None and inode == self._inode():
                if is_damage(err):
                    self._throw_away(str(err), inode)
                else:
                    self._do_without(str(err))
            raise IndexThrownAway(f"{self.file}: {err}: ask again") from None

    def rebuild(self) -> None:
        """Build a new generation beside the one in use, then put it in its place."""
        before = self.version
        self._build(lambda: self.version == before)

    def retry(self) -> None:
        """Where the index is in memory: after a while, see whether the file can be used again."""
        if self._memory is None or time.monotonic() < self._retry_at:
            return
        self._retry_seconds *= 2
        self._retry_at = time.monotonic() + self._retry_seconds
        if os.access(self.file.parent, os.W_OK):
            with contextlib.suppress(sqlite3.Error), contextlib.closing(self._connect()) as tried:
                tried.execute("BEGIN IMMEDIATE")
                tried.execute("ROLLBACK")
                self._memory = self.notice = None

    def close(self) -> None:
        """Close every thread's connection."""
        with self._guard:
            for _, connection in self._all:
                connection.close()
            self._all.clear()
        self._memory = None
        self._local = threading.local()

    def _inode(self) -> int | None:
        try:
            return os.stat(self.file).st_ino
        except OSError:
            return None

    def _open(self) -> sqlite3.Connection:
        for _ in range(3):
            inode = self._inode()
            if inode is None:
                self._build(lambda: self._inode() is None)
                if self._memory is not None:
                    return self._memory.connection
                continue
            try:
                connection = self._connect()
            except (sqlite3.DatabaseError, _ForeignSchema) as err:
                if self._inode() != inode:
                    continue
                if isinstance(err, sqlite3.DatabaseError) and not is_damage(err):
                    return self._do_without(str(err))
                self._throw_away(str(err), inode)
                continue
            self._keep(connection)
            self._local.connection, self._local.inode = connection, inode
            self._local.serial = next(self._serials)
            return connection
        return self._do_without("it does not stay where it is put")

    def _keep(self, connection: sqlite3.Connection) -> None:
        """Note it for `close`; close this thread's last one and those of threads that ended."""
        before, self._local.connection = getattr(self._local, "connection", None), None
        with self._guard:
            left = []
            for runner, other in self._all:
                if other is before or not runner.runs():
                    other.close()
                else:
                    left.append((runner, other))
            self._all = [*left, (Runner.current(), connection)]

    def _connect(self) -> sqlite3.Connection:
        """A connection to the generation in use, which must be there."""
        # `rw` creates nothing: the link may have moved on, and its old target be gone.
        connection = _connected(f"file:{quote(os.path.realpath(self.file))}?mode=rw")
        try:
            number = connection.execute("PRAGMA user_version").fetchone()[0]
            if number != SCHEMA:
                raise _ForeignSchema(f"it has schema {number}, this AVM writes {SCHEMA}")
        except BaseException:
            connection.close()
            raise
        self._mark_used()
        return connection

    def _mark_used(self) -> None:
        """Note, once a day, that this schema's files are in use, and remove other schemas'."""
        if self._marked:
            return
        self._marked = True
        with contextlib.suppress(OSError):
            if time.time() - self.file.lstat().st_mtime > _DAY:
                os.utime(self.file, follow_symlinks=False)
                self._remove_unused()

    def _remove_unused(self) -> None:
        oldest = time.time() - _UNUSED_SECONDS
        for other in self.file.parent.iterdir():
            ours = other.name == FILE or not re.fullmatch(r"index(-\d+)?\.sqlite", other.name)
            if not ours and other.lstat().st_mtime < oldest:
                _remove(other.resolve())
                other.unlink(missing_ok=True)

    # What is done when there is none

    def _build(self, wanted: Callable[[], bool]) -> None:
        """Put a new generation in place if, when it is our turn, it is `wanted`."""
        with self._building:
            try:
                try:
                    self._build_in_turn(wanted)
                except FileNotFoundError:  # somebody removed the folder meanwhile
                    self._build_in_turn(wanted)
            except (OSError, sqlite3.DatabaseError, RepositoryError) as err:
                if isinstance(err, sqlite3.DatabaseError) and not _is_of_file(err):
                    raise
                if self._inode() is None:
                    self._do_without(getattr(err, "strerror", None) or str(err))
                else:
                    raise IndexDamagedError(f"{self.file.parent}: {err}") from None

    def _build_in_turn(self, wanted: Callable[[], bool]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.file.with_suffix(".lock"), timeout=_BUILD_SECONDS):
            if wanted():
                self._build_next()
                self._memory = None

    def _build_next(self) -> None:
        old = self.file.resolve()
        for left in self.file.parent.glob(f"index-{SCHEMA}-*.sqlite*"):
            if not left.name.startswith(old.name):
                left.unlink(missing_ok=True)  # of a build that was killed
        place = self.file.with_name(f"index-{SCHEMA}-{time.time_ns():x}.sqlite")
        try:
            with contextlib.closing(_connected(f"file:{quote(str(place))}")) as connection:
                # Nobody else knows of it yet, and one that is not completed is removed.
                connection.execute("PRAGMA journal_mode = OFF")
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("PRAGMA cache_size = -32000")
                _fill(connection, self._builder())
                connection.execute("PRAGMA journal_mode = WAL")
                with self._held_still():
                    self._builder().catch_up(Single(connection))
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    _sync(place)
                    self._point_to(place)
        except BaseException:
            _remove(place)
            raise
        if old != self.file:
            _remove(old)

    @contextlib.contextmanager
    def _held_still(self) -> Iterator[None]:
        """Let nobody complete a change of the generation in use: it would be missing in the next.

        Whoever waits sees the link moved afterwards and does its work again (`Index.refresh`).
        """
        old = None
        try:
            with contextlib.suppress(sqlite3.DatabaseError, _ForeignSchema):
                old = self._connect()
                old.execute("BEGIN IMMEDIATE")
            yield
        finally:
            if old is not None:
                old.close()

    def _point_to(self, place: Path) -> None:
        link = self.file.with_name(f"{place.stem}.link")
        link.unlink(missing_ok=True)
        link.symlink_to(place.name)
        if self.file.is_dir():
            raise IsADirectoryError(f"{self.file} is a folder")
        os.replace(link, self.file)

    def _throw_away(self, reason: str, inode: int) -> None:
        """Move what is damaged aside, for whoever wants to look at it; the next use builds anew."""
        self.notice = f"index rebuilt: {reason}"
        place = self.file.resolve()
        try:
            if self._inode() != inode:
                return
            for old in self.file.parent.glob(f"{_DAMAGED}*"):
                old.unlink(missing_ok=True)
            # The link last: without it the file would be taken for a killed build's.
            os.replace(place, self.file.with_name(f"{_DAMAGED}{time.time_ns():x}"))
            _remove(place)
            if self.file.is_symlink():
                self.file.unlink(missing_ok=True)
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as err:
            self._do_without(err.strerror or str(err))

    def _do_without(self, reason: str) -> sqlite3.Connection:
        """Go on with an index in memory, filled now."""
        with self._building:
            if self._memory is None:
                connection = _connected(":memory:")
                self._keep(connection)
                memory = Single(connection)
                _fill(connection, self._builder())
                self._builder().catch_up(memory)
                self.notice = f"index in memory: {self.file.parent}: {reason}; {_WRITABLE_HINT}"
                self._retry_at = time.monotonic() + self._retry_seconds
                self._memory = memory
            return self._memory.connection


class _ForeignSchema(Exception):
    pass


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        _end(connection, "ROLLBACK")
        raise
    connection.execute("COMMIT")


def _end(connection: sqlite3.Connection, how: str) -> None:
    """End a transaction that a damaged file may have ended already."""
    if connection.in_transaction:
        connection.execute(how)


def _connected(where: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        where, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.executescript(
        "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
        f"PRAGMA journal_size_limit = {_LOG_BYTES};"
    )
    connection.row_factory = sqlite3.Row
    # For what an agent is denied (text.Filter).
    connection.create_function("compared", 1, access.compared, deterministic=True)
    return connection


def _fill(connection: sqlite3.Connection, builder: Builder) -> None:
    """Lay out an empty database and fill it."""
    from importlib import resources

    script = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
    late = []
    connection.execute("BEGIN")
    for statement in _statements(script):
        code = "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
        if code.strip().startswith(_LATE):
            late.append(statement)
        else:
            connection.execute(statement)
    builder.fill(connection)
    for statement in late:
        connection.execute(statement)
    # Nothing that was read from an older generation may pass for what this one says.
    connection.execute(
        "INSERT OR REPLACE INTO fact VALUES ('generation', ?)", (str(time.time_ns()),)
    )
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


def _is_of_file(err: sqlite3.Error) -> bool:
    """Whether the file is to blame: damaged, or not to be used (no room, no right, busy)."""
    code = getattr(err, "sqlite_errorcode", 0) or 0
    return is_damage(err) or code & 0xFF in (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
    )


def is_damage(err: sqlite3.Error) -> bool:
    """Whether SQLite says that the file is not what it wrote."""
    code = getattr(err, "sqlite_errorcode", None)
    return code is not None and (
        code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        or code == sqlite3.SQLITE_IOERR_SHORT_READ
    )


def _sync(place: Path) -> None:
    with place.open("rb+") as file:
        os.fsync(file.fileno())


def _remove(place: Path) -> None:
    """Remove a database file with what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(OSError):
            place.with_name(place.name + suffix).unlink()

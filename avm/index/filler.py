"""Making an index equal to the vault: filling a new one, catching up with files and history."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator

from avm.base.errors import RepositoryError
from avm.base.paths import is_below, is_utf8
from avm.index.apply import apply, apply_history, note_undecodable
from avm.index.build import fill
from avm.index.database import Target
from avm.index.plan import Known, make_plan
from avm.vault import history
from avm.vault.history import PathHistory
from avm.vault.location import Vault
from avm.vault.survey import Survey, Walk

#: `progress(stage, done, total)`
Progress = Callable[[str, int, int], None]


class Filler:
    """Writes what the vault holds into an index: the `Builder` of a `Database`."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self.survey = Survey(vault)
        self._progress: Progress | None = None
        #: `walk`: what the last `catch_up` of this thread found.
        self.caught_up = threading.local()

    @contextlib.contextmanager
    def reporting(self, progress: Progress | None) -> Iterator[None]:
        """Tell `progress` meanwhile."""
        self._progress = progress
        try:
            yield
        finally:
            self._progress = None

    def fill(self, connection: sqlite3.Connection) -> None:
        """Put everything into empty tables that have no triggers yet."""
        found = self.survey.walk()
        # In the order of the walk: the next one's comparison then goes through memory in order.
        names = list(found.memories)
        note_undecodable(connection, ("",), found.undecodable)
        fill(connection, self._vault.root, names, self._counting("files", len(names)))
        head = history.head_if_told(self._vault)
        if head is not None and (entries := self._histories(head, None)) is not None:
            apply_history(connection, head, entries, whole=True)

    def catch_up(self, target: Target) -> None:
        """Make what was filled equal to the files as they are now."""
        found = self.survey.walk()
        self.equalise(target, found)
        self.caught_up.walk = found

    def equalise(self, target: Target, found: Walk) -> bool:
        """Make the index equal to what was found in its scope, and to git's history.

        Returns whether the files were as the index had them.
        """
        plan = make_plan(_known(target, found.scope), found.memories)
        if plan:
            counting = self._counting("files", len(plan.read))
            apply(target, self._vault, plan, self._memories_of, counting)
        odd = sorted(found.undecodable) != _undecodable(target, found.scope)
        if odd:
            with target.transaction() as connection:
                note_undecodable(connection, found.scope, found.undecodable)
        self.equalise_history(target)
        return not plan and not odd

    def _counting(self, stage: str, total: int) -> Callable[[int], None]:
        done = 0

        def report(count: int) -> None:
            nonlocal done
            done += count
            if self._progress:
                self._progress(stage, done, total)

        return report

    def _memories_of(self, rels: list[str]) -> Collection[str]:
        found = self.survey.look(rels)
        if found is None or found.scope - set(rels):
            # Rules changed, and only for these paths is that seen to here.
            memories = (found or self.survey.walk()).memories
            self.survey.doubt()
            return memories
        return found.memories

    def equalise_history(self, target: Target) -> None:
        """Catch up with git's history."""
        head = history.head_if_told(self._vault)
        with target.watched():
            row = target.connection.execute("SELECT value FROM fact WHERE name = 'head'").fetchone()
        known = row["value"] if row else None
        if head is None or head == known:
            return
        grown = known is not None and history.is_ancestor(self._vault, known, head)
        entries = self._histories(head, known if grown else None)
        if entries is not None:
            with target.transaction() as connection:
                apply_history(connection, head, entries, whole=not grown)

    def _histories(self, head: str, known: str | None) -> dict[str, PathHistory | None] | None:
        """What the commits `known..head` did; None where the repository is too odd to log.

        Its files rank by their stamps then.
        """
        try:
            passed = (lambda: None) if self._progress is None else self._passed(head, known)
            return history.path_histories(self._vault, head, known, passed)
        except RepositoryError:
            return None

    def _passed(self, head: str, known: str | None) -> Callable[[], None]:
        counting = self._counting("history", history.count(self._vault, head, known))
        return lambda: counting(1)


def _known(target: Target, scope: Collection[str]) -> Iterator[Known]:
    """What the index says of the files at and below `scope`."""
    query = "SELECT path, checked_ns, mtime_ns, ctime_ns, size, inode FROM memory"
    with target.watched():
        cursor = target.connection.cursor()
        cursor.row_factory = None  # plain tuples: there may be 100,000
        if "" in scope:
            yield from cursor.execute(query)
            return
        for rel in scope:
            if is_utf8(rel):
                below = f"{query} WHERE path = ? OR (path > ? AND path < ?)"
                # '0' follows '/' in UTF-8 and in SQLite's binary collation.
                yield from cursor.execute(below, (rel, rel + "/", rel + "0"))


def _undecodable(target: Target, scope: Collection[str]) -> list[str]:
    with target.watched():
        rows = target.connection.execute("SELECT path FROM undecodable").fetchall()
    names = [os.fsdecode(row["path"]) for row in rows]
    return sorted(name for name in names if any(is_below(name, rel) for rel in scope))

"""What an agent's files come to, against its quota.

Counted are the files in its private folder, and those elsewhere that it wrote in this clone. A
write notes the size of its file in a journal, `state/usage/AGENT.jsonl`. Files are looked at only
where there is no such count, once an hour, and before a write is refused: others may have removed
some.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from avm.base import paths
from avm.base.access import Quota
from avm.base.errors import QuotaError
from avm.vault.journal import Journal, Mark
from avm.vault.location import Vault

#: Lines of the journal, beyond two a file, that are too many.
_MOST_LINES = 1_000
#: As old as a count may get, and as soon as a refused write has files looked at again.
_OLDEST_SECONDS, _AGAIN_SECONDS = 3600.0, 1.0


class Used(NamedTuple):
    """What an agent has: files, and bytes in them."""

    files: int
    bytes: int


class Made(NamedTuple):
    """A file that is to be there: its rel, its size, and the file that it is made from and that
    goes, if any."""

    rel: str
    size: int
    source: str | None = None


class Usage:
    """One agent's. `may` says which rels it may read: what it may not does not count, as its size
    is not the agent's to know. Threads and processes may note at once; those that write at the very
    same moment may together exceed the quota by what they write then."""

    def __init__(self, vault: Vault, agent: str, quota: Quota, may: Callable[[str], bool]) -> None:
        self._vault = vault
        self._agent = agent
        self._quota = quota
        self._may = may
        self._own = paths.agent_folder(agent)
        self._journal = Journal(vault.own_state / "usage" / f"{agent}.jsonl")
        self._guard = threading.RLock()
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self._held: dict[str, int] = {}
        self._mark: Mark | None = None
        #: When files were last looked at, and how many lines the journal has since.
        self._counted = 0.0
        self._lines = 0

    def used(self) -> Used:
        """What the agent has now, as far as is known."""
        with self._guard:
            self._catch_up()
            return Used(len(self._sizes), self._bytes)

    def told(self) -> str:
        """What the agent has and may have, for people."""
        used = self.used()
        pairs = zip(used._fields, used, self._quota, strict=True)
        return ", ".join(
            f"{has:,} of {most:,} {what}" for what, has, most in pairs if most is not None
        )

    def check(self, made: Collection[Made], *, hold: bool = False) -> None:
        """Raise QuotaError if these may not be, all of them. With `hold` they are open, and count
        as that large until they are noted as closed."""
        with self._guard:
            self._catch_up()
            why = self._exceeded(made)
            if why and abs(time.time() - self._counted) > _AGAIN_SECONDS:
                self._count()
                why = self._exceeded(made)
            if why:
                shown = paths.display(next(iter(made)).rel)
                raise QuotaError(f"{shown}: agent {self._agent} has {why}: forget some first")
            for rel, size, _ in made if hold else ():
                self._held[rel] = size
                self._set(rel, size)

    def note(self, rel: str, *, closed: bool = False) -> None:
        """After a write: take in what is at `rel` now. Raises OSError, RepositoryError."""
        with self._guard:
            self._catch_up()
            size, links = self._look(rel)
            if closed or size is None:
                self._held.pop(rel, None)
            if size is None and rel not in self._sizes:
                return
            # Its other names grew with it: they are to be looked at.
            again = {"counted": 0} if links > 1 else {}
            self._mark = self._journal.append({"path": rel, "size": size, **again})
            self._lines += 1
            self._set(rel, self._held.get(rel, size))
            if links > 1:
                self._counted = 0.0

    def _exceeded(self, made: Collection[Made]) -> str:
        """What of the quota these files would exceed; "" for nothing."""
        most, files, more = self._quota, 0, 0
        for rel, size, source in made:
            there = [self._sizes[one] for one in (rel, source) if one in self._sizes]
            files += not there
            more += size - sum(there)
        if most.files is not None and files and len(self._sizes) + files > most.files:
            return f"{len(self._sizes):,} of {most.files:,} files"
        if most.bytes is not None and more > 0 and self._bytes + more > most.bytes:
            return f"{self._bytes:,} of {most.bytes:,} bytes, and this takes {more:,} more"
        return ""

    def _set(self, rel: str, size: int | None) -> None:
        self._bytes -= self._sizes.pop(rel, 0)
        if size is not None and self._may(rel):
            self._sizes[rel] = size
            self._bytes += size

    def _catch_up(self) -> None:
        """Read what other processes noted; count where that is not known, or too old."""
        if self._mark is None or not self._journal.is_at(self._mark):
            with self._journal.locked():
                self._read()
        if not 0 <= time.time() - self._counted <= _OLDEST_SECONDS:
            self._count()
        elif self._lines > _MOST_LINES + 2 * len(self._sizes):
            with self._journal.locked():
                self._read()
                self._write()

    def _read(self) -> None:
        """Take in what is new in the journal, all of it if that was written anew; call it while it
        is locked."""
        mark, known = self._journal.mark(), self._mark
        start = 0
        if known and mark and mark.inode == known.inode and mark.size >= known.size:
            start = known.size
        else:
            self._sizes, self._bytes, self._counted, self._lines = {}, 0, 0.0, 0
        for record in self._journal.records(start):
            self._lines += 1
            counted, rel, size = map(record.get, ("counted", "path", "size"))
            if isinstance(counted, int | float):
                self._counted = counted
            if isinstance(rel, str) and isinstance(size, int | None):
                self._set(rel, size)
        self._hold()

    def _hold(self) -> None:
        """The journal is known as it is now; beyond it count what is open."""
        self._mark = self._journal.mark()
        for rel, size in self._held.items():
            self._set(rel, size)

    def _count(self) -> None:
        """Look at the files."""
        with self._journal.locked():
            self._read()
            elsewhere = [rel for rel in self._sizes if not paths.is_below(rel, self._own)]
            self._sizes, self._bytes = {}, 0
            for rel in (*elsewhere, *self._files()):
                self._set(rel, self._look(rel)[0])
            self._counted = time.time()
            self._write()

    def _write(self) -> None:
        """Put what is known in the place of the journal; call it while that is locked."""
        sizes = ({"path": rel, "size": size} for rel, size in self._sizes.items())
        self._journal.rewrite([{"counted": self._counted}, *sizes])
        self._lines = len(self._sizes)
        self._hold()

    def _files(self) -> Iterator[str]:
        """What is in the agent's private folder, as rels; AVM's own temporary files aside, which no
        agent can make."""
        root = str(self._vault.root)
        for folder, folders, names in os.walk(f"{root}/{self._own}"):
            below = folder[len(root) + 1 :]
            # A link to a folder is among the folders; `_look` knows it from one.
            for name in (*names, *folders):
                if not name.startswith(paths.TEMP_PREFIX):
                    yield f"{below}/{name}"

    def _look(self, rel: str) -> tuple[int | None, int]:
        """The size of the file or link at `rel`, None if there is none, and how many names it
        has."""
        try:
            status = os.lstat(f"{self._vault.root}/{rel}")
        except OSError:
            return None, 0
        if stat.S_ISDIR(status.st_mode):
            return None, 0
        return status.st_size, status.st_nlink

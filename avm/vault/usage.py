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
from collections.abc import Iterator
from typing import NamedTuple

from avm.base import paths
from avm.base.access import Quota
from avm.base.errors import QuotaError
from avm.vault.journal import Journal, Mark
from avm.vault.location import Vault

#: As old as a count may get, and as soon as a refused write has files looked at again.
_OLDEST_SECONDS, _AGAIN_SECONDS = 3600.0, 1.0


class Used(NamedTuple):
    """What an agent has: files, and bytes in them."""

    files: int
    bytes: int


class Usage:
    """One agent's. Threads and processes may note at once; those that write at the very same moment
    may together exceed the quota by what they write then."""

    def __init__(self, vault: Vault, agent: str, quota: Quota) -> None:
        self._vault = vault
        self._agent = agent
        self._quota = quota
        self._own = paths.agent_folder(agent)
        self._journal = Journal(vault.own_state / "usage" / f"{agent}.jsonl")
        self._guard = threading.RLock()
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self._held: dict[str, int] = {}
        self._mark: Mark | None = None
        self._counted = 0.0

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

    def check(self, rel: str, size: int, *, source: str | None = None, hold: bool = False) -> None:
        """Raise QuotaError if the file `rel` may not become `size` bytes; `source` is the file that
        it is made from and that goes. With `hold` it is open, and counts as that large until it is
        noted as closed."""
        with self._guard:
            self._catch_up()
            there = [self._sizes[one] for one in (rel, source) if one in self._sizes]
            why = self._exceeded(there, size)
            if why and time.time() - self._counted > _AGAIN_SECONDS:
                self._count()
                there = [self._sizes[one] for one in (rel, source) if one in self._sizes]
                why = self._exceeded(there, size)
            if why:
                shown = paths.display(rel)
                raise QuotaError(f"{shown}: agent {self._agent} has {why}: forget some first")
            if hold:
                self._held[rel] = size
                self._set(rel, size)

    def note(self, rel: str, *, closed: bool = False) -> None:
        """After a write: take in what is at `rel` now."""
        with self._guard:
            self._catch_up()
            size = self._size(rel)
            if closed or size is None:
                self._held.pop(rel, None)
            if size is None and rel not in self._sizes:
                return
            self._mark = self._journal.append({"path": rel, "size": size})
            self._set(rel, self._held.get(rel, size))

    def _exceeded(self, there: list[int], size: int) -> str:
        """What of the quota a file of `size` bytes would exceed that takes the place of files of
        the sizes `there`; "" for nothing."""
        most = self._quota
        if most.files is not None and not there and len(self._sizes) >= most.files:
            return f"{len(self._sizes):,} of {most.files:,} files"
        more = size - sum(there)
        if most.bytes is not None and more > 0 and self._bytes + more > most.bytes:
            return f"{self._bytes:,} of {most.bytes:,} bytes, and this takes {more:,} more"
        return ""

    def _set(self, rel: str, size: int | None) -> None:
        self._bytes += (size or 0) - self._sizes.pop(rel, 0)
        if size is not None:
            self._sizes[rel] = size

    def _catch_up(self) -> None:
        """Read what other processes noted; count where that is not known, or too old."""
        if self._mark is None or not self._journal.is_at(self._mark):
            with self._journal.locked():
                self._read()
        if time.time() - self._counted > _OLDEST_SECONDS:
            self._count()

    def _read(self) -> None:
        """Take in the whole journal; call it while that is locked."""
        self._sizes, self._bytes, self._counted = {}, 0, 0.0
        for record in self._journal.records():
            if "counted" in record:
                self._counted = float(record["counted"])
            elif isinstance(record.get("path"), str):
                self._set(record["path"], record.get("size"))
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
                self._set(rel, self._size(rel))
            self._counted = time.time()
            sizes = ({"path": rel, "size": size} for rel, size in self._sizes.items())
            self._journal.rewrite([{"counted": self._counted}, *sizes])
            self._hold()

    def _files(self) -> Iterator[str]:
        """What is in the agent's private folder, as rels; AVM's own temporary files aside."""
        root = str(self._vault.root)
        for folder, folders, names in os.walk(f"{root}/{self._own}"):
            below = folder[len(root) + 1 :]
            # A link to a folder is among the folders; `_size` knows it from one.
            for name in (*names, *folders):
                if not name.startswith(paths.TEMP_PREFIX):
                    yield f"{below}/{name}"

    def _size(self, rel: str) -> int | None:
        """The size of the file or link at `rel`; None if there is none."""
        try:
            status = os.lstat(f"{self._vault.root}/{rel}")
        except OSError:
            return None
        return None if stat.S_ISDIR(status.st_mode) else status.st_size

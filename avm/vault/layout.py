"""Where new memories go, so that no folder grows without end: a full one gets shards by month.

A folder of 100,000 files costs 144 ms and 2.4 MB a commit, because git writes its whole tree anew;
a hundred folders of 1,000 cost 2.4 ms and 40 kB. So what does not fit into `market/` goes to
`market/2026-11/`, then to `market/2026-11/2/`, `market/2026-11/3/`. Nothing that is there is moved.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

#: What AVM never exceeds in a folder where it picks the place.
MOST_FILES = 2_000
_MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])")
_NUMBER = re.compile(r"[2-9]|[1-9]\d+")
_SHARD_CHARS = len("2026-11")
#: As long as a folder's mtime may stand still while names come and go: the kernel's clock ticks
#: every 1 to 10 ms.
_TICK_NS = 20_000_000
#: A write that took longer, from the look at the folder on, may have had others beside it.
_LONG_SECONDS = 0.005
#: So many processes may write to one folder as fast as this one before it counts too late.
_WRITERS = 8


class Place(NamedTuple):
    """Where a new file goes (`folder`, a rel), and the other folders where its like may be."""

    folder: str
    others: tuple[str, ...] = ()


@dataclass
class _Known:
    """What was seen in a folder. `entries` counts our own files since; `mtime_ns` is None if it is
    not there; `trusted` is for how many more files of ours the count holds; `seen` is when that was
    last so (monotonic seconds)."""

    mtime_ns: int | None = None
    entries: int = 0
    trusted: int = 0
    settled: bool = True
    months: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    seen: float = 0.0


class Layout:
    """Places in one vault. Any number of threads may ask.

    A folder is listed when its mtime says that somebody else wrote in it, and now and then besides:
    within a tick of the kernel's clock the mtime says nothing.
    """

    def __init__(self, root: Path, most: int = MOST_FILES) -> None:
        self._root = str(root)
        # A hundredth is spare: several processes may count at the same moment and each add one.
        self._full = most - most // 100
        self._known: dict[str, _Known] = {}
        #: The shard that was last found to have room, by the folder it is a shard of.
        self._last: dict[str, str] = {}
        self._guard = threading.Lock()

    def place(self, folder: str, now: datetime) -> Place:
        """Where a file that belongs in `folder` (a rel) goes at `now`, an aware time."""
        with self._guard:
            base = self._look(folder)
            shards = tuple(self._shards(folder, base)) if base.months else ()
            if base.entries < self._full:
                return Place(folder, shards)
            month = f"{folder}/{now.astimezone(UTC):%Y-%m}"
            target = self._last.get(folder, "")
            if not target.startswith(month) or not self._has_room(target):
                numbered = (f"{month}/{number}" for number in count(2))
                target = next(p for p in chain((month,), numbered) if self._has_room(p))
                self._last[folder] = target
        return Place(target, tuple(p for p in (folder, *shards) if p != target))

    def wrote(self, folder: str) -> None:
        """Note that a new file of ours is in `folder`."""
        with self._guard:
            known = self._known.get(folder)
            if known is not None and time.monotonic() - known.seen > _LONG_SECONDS:
                del self._known[folder]
            elif known is not None:
                known.mtime_ns = self._mtime(folder)
                known.entries += 1
                known.trusted -= 1

    def standing(self, place: Place, name: str) -> list[str]:
        """The files `name` in the other folders of `place`, as rels."""
        rels = (f"{folder}/{name}" for folder in place.others)
        return [rel for rel in rels if os.path.lexists(f"{self._root}/{rel}")]

    def _has_room(self, folder: str) -> bool:
        return self._look(folder).entries < self._full

    def _shards(self, folder: str, base: _Known) -> Iterator[str]:
        for name in base.months:
            month = f"{folder}/{name}"
            yield month
            for number in self._look(month).numbers:
                yield f"{month}/{number}"

    def _look(self, folder: str) -> _Known:
        known, mtime_ns = self._known.get(folder), self._mtime(folder)
        now = time.monotonic()
        if known is not None and known.mtime_ns == mtime_ns:
            known.seen = now
            if mtime_ns is None:
                return known
            if known.settled if known.entries >= self._full else known.trusted > 0:
                return known
        known = self._known[folder] = self._listed(folder, mtime_ns)
        known.seen = now
        return known

    def _listed(self, folder: str, mtime_ns: int | None) -> _Known:
        if mtime_ns is None:
            return _Known()
        settled = time.time_ns() - mtime_ns > _TICK_NS
        try:
            names = os.listdir(f"{self._root}/{folder}")
        except OSError:
            return _Known(mtime_ns)  # the write will say why
        shards = sorted(name for name in names if name[0] <= "9" and len(name) <= _SHARD_CHARS)
        return _Known(
            mtime_ns,
            len(names),
            max(0, self._full - len(names)) // _WRITERS,
            settled,
            tuple(filter(_MONTH.fullmatch, shards)),
            tuple(filter(_NUMBER.fullmatch, shards)),
        )

    def _mtime(self, folder: str) -> int | None:
        try:
            status = os.lstat(f"{self._root}/{folder}")
        except OSError:
            return None
        return status.st_mtime_ns if stat.S_ISDIR(status.st_mode) else None

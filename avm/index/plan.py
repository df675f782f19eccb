"""Comparing the disk with the index: which files to read, which rows to drop. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from avm.vault.files import RACY_NS, Stamp

#: What the index says of a file: its path, when it was read, then its stamp's four numbers. A plain
#: tuple, for there are as many as files and each scan compares them all.
Known = tuple[str, int, int, int, int, int]


class Plan(NamedTuple):
    """`read`: new, changed or in doubt; `gone`: in the index, no longer on disk."""

    read: tuple[str, ...]
    gone: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.read or self.gone)


def make_plan(known: Iterable[Known], found: Mapping[str, Stamp]) -> Plan:
    """The plan that makes the index equal to `found`."""
    same: set[str] = set()
    gone: list[str] = []
    for row in known:
        path = row[0]
        stamp = found.get(path)
        if stamp is None:
            gone.append(path)
        # As `is_racy`, spelled out: this is the inner loop of every scan.
        elif row[2:] == stamp and stamp[0] <= (sure := row[1] - RACY_NS) and stamp[1] <= sure:
            same.add(path)
    if len(same) == len(found):
        return Plan((), tuple(gone))
    return Plan(tuple(path for path in found if path not in same), tuple(gone))


def is_racy(stamp: Stamp, checked_ns: int) -> bool:
    """Whether a read at `checked_ns` may have missed a write with this same stamp."""
    return stamp.is_racy(checked_ns)

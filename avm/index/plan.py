"""Comparing the disk with the index: which files to read, which rows to drop. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from avm.vault.files import RACY_NS, Stamp


@dataclass(frozen=True, slots=True)
class Known:
    """What the index says of a file: its stamp, content and when it was read."""

    stamp: Stamp
    hash: str
    checked_ns: int


@dataclass(frozen=True)
class Plan:
    """`read`: new, changed or in doubt; `gone`: in the index, no longer on disk."""

    read: tuple[str, ...]
    gone: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.read or self.gone)


def make_plan(known: Mapping[str, Known], found: Mapping[str, Stamp]) -> Plan:
    """The plan that makes the index equal to `found`."""
    read = tuple(
        path
        for path, stamp in found.items()
        if (row := known.get(path)) is None or row.stamp != stamp or is_racy(stamp, row.checked_ns)
    )
    gone = tuple(path for path in known if path not in found)
    return Plan(read, gone)


def is_racy(stamp: Stamp, checked_ns: int) -> bool:
    """Whether a read at `checked_ns` may have missed a write with this same stamp."""
    return max(stamp.mtime_ns, stamp.ctime_ns) > checked_ns - RACY_NS

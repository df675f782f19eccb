"""Attributes and directory entries, as any door (FUSE, a shell command) can use them."""

from __future__ import annotations

import hashlib
import os
import stat
from operator import attrgetter
from typing import NamedTuple

_VIRTUAL_BIT = 1 << 63


class Attributes(NamedTuple):
    """What `stat` says of a path. Times in nanoseconds since the epoch, size in bytes."""

    st_mode: int
    st_ino: int
    st_dev: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_rdev: int
    st_size: int
    st_blksize: int
    st_blocks: int
    st_atime_ns: int
    st_mtime_ns: int
    st_ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Attributes:
        """The attributes of a real file."""
        return cls._make(_fields_of(status))

    def uncounted(self) -> Attributes:
        """The same of a folder, but for what tells how many are in it. One link means that nobody
        knows how many folders there are; programs that walk trees know of that."""
        return self._replace(st_nlink=1, st_size=4096, st_blocks=8)

    @classmethod
    def virtual(cls, *, inode: int, mode: int, size: int, time_ns: int) -> Attributes:
        """The attributes of something that is on no disk, owned by this process's user."""
        links = 2 if stat.S_ISDIR(mode) else 1
        owner, group = os.getuid(), os.getgid()
        return cls(
            mode, inode, 0, links, owner, group, 0, size, 4096, -(-size // 512),
            time_ns, time_ns, time_ns,
        )  # fmt: skip


_fields_of = attrgetter(*Attributes._fields)


class Entry(NamedTuple):
    """One name in a folder: `mode` holds the type bits only."""

    name: str
    inode: int
    mode: int


def virtual_inode(rel: str) -> int:
    """A number no real file has: the top bit set, the rest from the name."""
    digest = hashlib.blake2b(rel.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest) | _VIRTUAL_BIT

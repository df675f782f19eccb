"""What a mount needs of the overlay, so that an adapter's test can bring a tree of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from avm.overlay.attributes import Attributes, Entry
from avm.overlay.handle import Handle
from avm.overlay.root import Owner


class Tree(Protocol):
    """What a mount shows. Paths are str, absolute, utf-8 + surrogateescape; `/` is the root.

    Any method raises OSError with an errno, or AVMError, whose class has one.
    """

    def attributes(self, path: str, /) -> Attributes:
        """What `lstat` says of it."""
        ...

    def list(self, path: str, /) -> list[Entry]:
        """The names in a folder, without `.` and `..`."""
        ...

    def fsync_folder(self, path: str, /) -> None:
        """Put the names in a folder on disk."""
        ...

    def readlink(self, path: str, /) -> str:
        """What a symbolic link says."""
        ...

    def open(self, path: str, flags: int, /) -> Handle:
        """Open what is there; `flags` within operations.OPEN_FLAGS."""
        ...

    def create(self, path: str, mode: int, flags: int, owner: Owner | None, /) -> Handle:
        """Create and open; `flags` within operations.CREATE_FLAGS, `mode` less the caller's umask;
        for `owner` if the mount is for others too."""
        ...

    def truncate(self, path: str, size: int, /) -> None:
        """Cut or extend a file, by name, to `size` bytes."""
        ...

    def mkdir(self, path: str, mode: int, owner: Owner | None, /) -> None:
        """Make a folder."""
        ...

    def rmdir(self, path: str, /) -> None:
        """Remove an empty folder."""
        ...

    def unlink(self, path: str, /) -> None:
        """Remove a name."""
        ...

    def rename(self, old: str, new: str, /) -> None:
        """Move `old` to `new`, in place of what is there."""
        ...

    def symlink(self, target: str, path: str, owner: Owner | None, /) -> None:
        """Make `path` a symbolic link that says `target`."""
        ...

    def link(self, old: str, new: str, /) -> None:
        """Make `new` a second name of `old`."""
        ...

    def mknod(self, path: str, mode: int, dev: int, owner: Owner | None, /) -> None:
        """Make a special file, or an empty one."""
        ...

    def chmod(self, path: str, mode: int, /) -> None:
        """Set the permission bits."""
        ...

    def chown(self, path: str, uid: int, gid: int, /) -> None:
        """Set owner and group; -1 leaves one."""
        ...

    def utimens(self, path: str, atime_ns: int, mtime_ns: int, /) -> None:
        """Set the times: nanoseconds since the epoch, or avm.overlay.times' two constants."""
        ...

    def statvfs(self) -> os.statvfs_result:
        """The room on the disk."""
        ...

    def begun(self, ended: Callable[[], bool], aside: Callable[[], None], /) -> None:
        """The mount is there. `ended` says whether it is to end: it waits for every call. Who waits
        for something calls `aside` before, so that other calls are answered meanwhile."""
        ...

    def close(self) -> None:
        """End; called once."""
        ...

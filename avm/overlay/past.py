"""Folders of the past, `/:at:REV/…`: the whole tree as it was at a revision, read-only.

No listing shows them. What is below is that commit's tree as far as the viewer may see it now;
names that would be virtual nodes do not exist in it. Each lookup asks again which commit REV is, so
that `:at:~1` and `:at:yesterday` follow HEAD.
"""

from __future__ import annotations

import errno
import os
import stat

from avm.api import View
from avm.api.past import PastView
from avm.base import paths
from avm.base.errors import NotFoundError
from avm.overlay.attributes import Attributes, Entry, virtual_inode
from avm.overlay.handle import Handle, TextHandle
from avm.overlay.names import parse, parse_past
from avm.overlay.nodes import BY_NAME
from avm.vault.past import PastEntry

_BILLION = 1_000_000_000


class PastFolders:
    """What one viewer sees below `:at:REV`. Rels are those of the overlay, `:at:REV` first."""

    def __init__(self, view: View) -> None:
        self._view = view

    def holds(self, rel: str) -> bool:
        """Whether `rel` is a folder of the past or in one."""
        return parse_past(rel) is not None

    def refuse(self, rel: str) -> None:
        """Before a change: raises EROFS if it would be in the past."""
        if self.holds(rel):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), rel)

    def attributes(self, rel: str) -> Attributes:
        """What `lstat` says: the commit's time, the exact size. Raises NotFoundError."""
        tree, inner = _within(self._view, rel)
        return _attributes(tree, rel, tree.entry(inner))

    def list(self, rel: str) -> list[Entry]:
        """What is in a folder. Raises NotFoundError, ENOTDIR."""
        tree, inner = _within(self._view, rel)
        if not tree.entry(inner).is_folder:
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), rel)
        return [
            Entry(name, virtual_inode(f"{rel}/{name}"), stat.S_IFMT(_mode(entry)))
            for name, entry in tree.list(inner).items()
            if _is_plain(f"{inner}/{name}".lstrip("/"))
        ]

    def readlink(self, rel: str) -> str:
        """What a symbolic link says. Raises NotFoundError, EINVAL."""
        tree, inner = _within(self._view, rel)
        entry = tree.entry(inner)
        if not entry.is_link:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), rel)
        return os.fsdecode(tree.read(entry))

    def open(self, rel: str) -> Handle:
        """Open a file for reading. Raises NotFoundError, EISDIR, ELOOP."""
        tree, inner = _within(self._view, rel)
        entry = tree.entry(inner)
        if not entry.is_file:
            number = errno.EISDIR if entry.is_folder else errno.ELOOP
            raise OSError(number, os.strerror(number), rel)
        return TextHandle(tree.read(entry), _attributes(tree, rel, entry))


def read_past(view: View, rev: str, inner: str) -> bytes:
    """The bytes of a file in a past tree, with no mount. Raises NotFoundError."""
    tree = view.tree_at(rev)
    entry = tree.entry(inner) if _is_plain(inner) else None
    if entry is None or not entry.is_file:
        raise NotFoundError(f"no file at {paths.display(inner)} then")
    return tree.read(entry)


def _within(view: View, rel: str) -> tuple[PastView, str]:
    then = parse_past(rel)
    if then is None or not _is_plain(then[1]):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), rel)
    return view.tree_at(then[0]), then[1]


def _is_plain(inner: str) -> bool:
    """Whether no name in it is one of a virtual node, which a file could pose as."""
    return not parse_past(inner) and not any(parse(n, BY_NAME) for n in inner.split("/"))


def _mode(entry: PastEntry) -> int:
    if entry.is_folder:
        return stat.S_IFDIR | 0o755
    if entry.is_link:
        return stat.S_IFLNK | 0o777
    return stat.S_IFREG | (0o755 if entry.mode & 0o100 else 0o644)


def _attributes(tree: PastView, rel: str, entry: PastEntry) -> Attributes:
    return Attributes.virtual(
        inode=virtual_inode(rel),
        mode=_mode(entry),
        size=0 if entry.is_folder else tree.size(entry),
        time_ns=tree.time * _BILLION,
    )

"""The adapter: what libfuse asks, asked of a tree and of its open files.

It holds no rule of its own. Both bindings call these methods (avm.fuse.binding): with `raw_fi` an
open file arrives as libfuse's `fuse_file_info`, of which only `fh`, `flags` and `direct_io` are
used, so a test can pass any object that has them.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

from avm.base import log
from avm.base.errors import AVMError
from avm.fuse.platform import here
from avm.fuse.tree import Tree
from avm.overlay.attributes import Attributes, Entry
from avm.overlay.handle import Handle
from avm.overlay.root import Owner
from avm.overlay.times import UTIME_NOW

_log = log.logger(__name__)
_T = TypeVar("_T")

# The kernel also hands down bits that are its own business or harm: O_DIRECT makes pread fail on
# an unaligned buffer, O_NONBLOCK and FMODE_EXEC mean nothing to a regular file.
OPEN_FLAGS: Final = os.O_ACCMODE | os.O_APPEND | os.O_TRUNC | os.O_SYNC | os.O_DSYNC
CREATE_FLAGS: Final = OPEN_FLAGS | os.O_CREAT | os.O_EXCL

# libfuse refuses anything beyond and answers ERANGE in its place.
_LARGEST_ERRNO = 999


class FileInfo(Protocol):
    """The part of libfuse's `fuse_file_info` that is used."""

    fh: int
    flags: int
    direct_io: int


def answer_errno(operation: str, error: BaseException) -> int:
    """The errno (1 to 999) that the kernel is told for `error`.

    What is no plain answer (an error without an errno, a bug) becomes EIO and is logged with its
    trace: the caller sees only a number.
    """
    if isinstance(error, AVMError):
        if error.errno == errno.EIO:
            _log.error("%s: %s", operation, error, exc_info=error)
        return error.errno
    if isinstance(error, OSError):
        number: object = error.errno  # None, whatever typeshed says
        if isinstance(number, int) and 0 < number <= _LARGEST_ERRNO:
            return number
    _log.error("%s failed", operation, exc_info=error)
    return errno.ENOMEM if isinstance(error, MemoryError) else errno.EIO


class _Table(Generic[_T]):
    """What is open, by number. Each step is one dict operation, which the interpreter makes whole.

    Numbers are never used twice: one that is gone means EBADF, never another's file.
    """

    def __init__(self) -> None:
        self._items: dict[int, _T] = {}
        self._numbers = itertools.count(1)

    def add(self, item: _T) -> int:
        number = next(self._numbers)
        self._items[number] = item
        return number

    def __getitem__(self, number: int) -> _T:
        try:
            return self._items[number]
        except KeyError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None

    def remove(self, number: int) -> _T | None:
        return self._items.pop(number, None)

    def drain(self) -> Iterator[_T]:
        while self._items:
            yield self._items.popitem()[1]


class Operations:
    """The callbacks of one mount of `tree`.

    `ready` is called once when the kernel has accepted the mount, before anything can be read.
    `close` (or libfuse's `destroy`) releases what is still open and closes the tree, once.
    """

    use_ns = True
    flag_nullpath_ok = True
    flag_nopath = True
    flag_utime_omit_ok = True

    # None means that the kernel is told ENOSYS once and does not ask again: without it, it would
    # ask for security.capability on every write, and for flush on every close.
    flush = None
    access = None
    ioctl = None
    lock = None
    bmap = None
    getxattr = None
    setxattr = None
    listxattr = None
    removexattr = None

    def __init__(self, tree: Tree, ready: Callable[[], None]) -> None:
        self._tree = tree
        self._ready = ready
        self._files: _Table[Handle] = _Table()
        self._folders: _Table[str] = _Table()
        self._closed = False
        #: Who asks, where others than this process's user may: whose new files are.
        self.caller: Callable[[], Owner | None] = lambda: None
        #: Asked when the mount is there: what says whether it is to end, and what is to be called
        #: before a wait, so that other requests are answered meanwhile.
        self.watch: Callable[[], tuple[Callable[[], bool], Callable[[], None]]] = lambda: (
            lambda: False,
            lambda: None,
        )

    def init(self, path: str) -> None:
        """The mount is there."""
        self._tree.begun(*self.watch())
        self._ready()

    def destroy(self, path: str) -> None:
        """The mount has gone."""
        self.close()

    def close(self) -> None:
        """Release every open file and close the tree. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            for handle in self._files.drain():
                _release(handle)
        finally:
            self._tree.close()

    # Names

    def getattr(self, path: str, fi: FileInfo | None = None) -> dict[str, int]:
        """`stat`, or `fstat` where libfuse knows the open file (`path` is None then)."""
        return _stat(self.attributes_of(fi) if fi else self.attributes(path))

    def attributes(self, path: str) -> Attributes:
        """`lstat`."""
        return self._tree.attributes(path)

    def attributes_of(self, fi: FileInfo) -> Attributes:
        """`fstat`."""
        return self._files[fi.fh].attributes()

    def readlink(self, path: str) -> str:
        """Read a symbolic link."""
        return self._tree.readlink(path)

    def mknod(self, path: str, mode: int, dev: int) -> None:
        """Make a special file."""
        self._tree.mknod(path, mode, dev, self.caller())

    def mkdir(self, path: str, mode: int) -> None:
        """Make a folder."""
        self._tree.mkdir(path, mode, self.caller())

    def unlink(self, path: str) -> None:
        """Remove a name."""
        self._tree.unlink(path)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        self._tree.rmdir(path)

    def symlink(self, path: str, target: str) -> None:
        """Make `path` say `target`: the bindings put the new name first."""
        self._tree.symlink(target, path, self.caller())

    def rename(self, old: str, new: str) -> None:
        """Move."""
        self._tree.rename(old, new)

    def link(self, new: str, old: str) -> None:
        """Make `new` a second name of `old`: the bindings put the new name first."""
        self._tree.link(old, new)

    def chmod(self, path: str, mode: int) -> None:
        """Set permission bits."""
        self._tree.chmod(path, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Set owner and group."""
        self._tree.chown(path, uid, gid)

    def truncate(self, path: str, length: int, fi: FileInfo | None = None) -> None:
        """`truncate`, or `ftruncate` where libfuse knows the open file."""
        if fi:
            self._files[fi.fh].truncate(length)
        else:
            self._tree.truncate(path, length)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        """Set times."""
        self._tree.utimens(path, *(times or (UTIME_NOW, UTIME_NOW)))

    def statfs(self, path: str) -> dict[str, int]:
        """The room on the disk."""
        room = self._tree.statvfs()
        return {name: getattr(room, name) for name in _STATVFS}

    # Open files

    def open(self, path: str, fi: FileInfo) -> int:
        """Open."""
        try:
            handle = self._tree.open(path, fi.flags & OPEN_FLAGS)
        except (OSError, AVMError) as error:
            if error.errno != errno.ENOENT:
                raise
            raise OSError(here.gone_errno, os.strerror(here.gone_errno)) from error
        self._opened(handle, fi)
        return 0

    def create(self, path: str, mode: int, fi: FileInfo) -> int:
        """Create and open."""
        flags = fi.flags & CREATE_FLAGS
        self._opened(self._tree.create(path, mode, flags, self.caller()), fi)
        return 0

    def _opened(self, handle: Handle, fi: FileInfo) -> None:
        fi.fh = self._files.add(handle)
        # The page cache is one per file: two readers of a virtual node would share a text. And it
        # takes an appended line apart where the kernel thinks that a page ends: another mount's
        # could come in between. Who reads as well may want to map the file, which needs the cache.
        appends = fi.flags & (os.O_ACCMODE | os.O_APPEND) == os.O_WRONLY | os.O_APPEND
        fi.direct_io = 1 if handle.virtual or appends else 0

    def read(self, path: str | None, size: int, offset: int, fi: FileInfo) -> bytes:
        """Read."""
        return self._files[fi.fh].read(size, offset)

    def read_into(self, memory: memoryview, offset: int, fi: FileInfo) -> int:
        """Read into `memory`, as much as there is; the number of bytes."""
        return self._files[fi.fh].read_into(memory, offset)

    def write(self, path: str | None, data: bytes | memoryview, offset: int, fi: FileInfo) -> int:
        """Write."""
        return self._files[fi.fh].write(data, offset)

    def fsync(self, path: str | None, datasync: int, fi: FileInfo) -> None:
        """Put on disk."""
        self._files[fi.fh].fsync(bool(datasync))

    def release(self, path: str | None, fi: FileInfo) -> None:
        """The last descriptor of an open file has gone; nobody hears an error."""
        handle = self._files.remove(fi.fh)
        if handle is not None:
            _release(handle)

    # Folders. macFUSE answers ENOSYS to the caller where one of these is missing.

    def opendir(self, path: str) -> int:
        """Remember which folder; `readdir` gets no path."""
        return self._folders.add(path)

    def readdir(self, path: str | None, fh: int) -> list[tuple[str, dict[str, int] | None, int]]:
        """The names as they are now; libfuse keeps them for one pass and asks anew on a rewind."""
        names: list[tuple[str, dict[str, int] | None, int]] = [(".", None, 0), ("..", None, 0)]
        # With plain names mfusepy reports inode 0, which the C library skips.
        names += [
            (name, {"st_mode": mode, "st_ino": inode}, 0) for name, inode, mode in self.entries(fh)
        ]
        return names

    def entries(self, fh: int) -> list[Entry]:
        """The names without `.` and `..`, with their types and inodes."""
        return self._tree.list(self._folders[fh])

    def releasedir(self, path: str | None, fh: int) -> None:
        """Forget the folder."""
        self._folders.remove(fh)

    def fsyncdir(self, path: str | None, datasync: int, fh: int) -> None:
        """Put the names in a folder on disk."""
        self._tree.fsync_folder(self._folders[fh])


def _release(handle: Handle) -> None:
    try:
        handle.release()
    except (OSError, AVMError):  # the kernel asks for no answer
        _log.exception("closing a file failed")


_STATVFS = (
    "f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail",
    "f_files", "f_ffree", "f_favail", "f_flag", "f_namemax",
)  # fmt: skip


def _stat(attributes: Attributes) -> dict[str, Any]:
    return {
        "st_mode": attributes.st_mode,
        "st_ino": attributes.st_ino,
        "st_dev": attributes.st_dev,
        "st_nlink": attributes.st_nlink,
        "st_uid": attributes.st_uid,
        "st_gid": attributes.st_gid,
        "st_rdev": attributes.st_rdev,
        "st_size": attributes.st_size,
        "st_blksize": attributes.st_blksize,
        "st_blocks": attributes.st_blocks,
        "st_atime": attributes.st_atime_ns,
        "st_mtime": attributes.st_mtime_ns,
        "st_ctime": attributes.st_ctime_ns,
    }

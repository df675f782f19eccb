"""The vault's folder, reached by a descriptor that was opened before any mount.

No path of ours goes through the mount itself, and a name may be longer than a system call takes.
Rels are those of the vault, or absolute paths. Every method raises OSError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from avm.base.beneath import open_without_links
from avm.overlay.times import set_times

#: A longer name may be too long for one system call, which takes 4,095 bytes; a character is four
#: bytes at most.
_LONG_CHARS = 1000
_MOST_BYTES = 4000
_O_PATH = getattr(os, "O_PATH", 0)
_WALKING = (_O_PATH or os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


class Owner(NamedTuple):
    """Whose a new file is to be."""

    uid: int
    gid: int


class Root:
    """A folder and what is below it. No symbolic link is followed: the kernel has done so before it
    asks. One that stands where it remembers a folder is ESTALE: it looks the whole path up again.

    What is made gets exactly the mode asked for, whatever the umask of this process, and belongs to
    `owner` if one is given; in a folder with the setgid bit the group is the folder's.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._umask = _umask()

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def statvfs(self) -> os.statvfs_result:
        """The file system that holds it."""
        return os.fstatvfs(self._fd)

    def lstat(self, rel: str) -> os.stat_result:
        """The status of what is at `rel`."""
        if _O_PATH and "/" in rel and len(rel) < _LONG_CHARS and rel[0] != "/":
            found = _opened(rel, _O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, self._fd)
            try:
                return os.fstat(found)
            finally:
                os.close(found)
        with self._near(rel or ".") as (fd, name):
            return os.stat(name, dir_fd=fd, follow_symlinks=False)

    def open(self, rel: str, flags: int) -> int:
        """Open what is there; the descriptor."""
        flags = (flags | os.O_NOFOLLOW | os.O_CLOEXEC) & ~os.O_CREAT
        if len(rel) < _LONG_CHARS and rel[0] != "/":
            try:
                return _opened(rel, flags, self._fd)
            except OSError as err:
                if err.errno == errno.ESTALE and self.lstat(rel):  # the last name is the link
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), rel) from None
                raise
        with self._near(rel) as (fd, name):
            return os.open(name, flags, dir_fd=fd)

    def create(self, rel: str, flags: int, mode: int, owner: Owner | None) -> int:
        """Open a new file; the descriptor."""
        with self._near(rel) as (fd, name):
            flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            made = os.open(name, flags, mode, dir_fd=fd)
            try:
                if owner and (group := self._group(rel, owner)) is not None:
                    os.fchown(made, owner.uid, group)
                if owner or mode & self._umask:
                    os.fchmod(made, mode)
            except BaseException:
                os.close(made)
                raise
            return made

    def open_folder(self, rel: str) -> int:
        """A descriptor of the folder, to list it."""
        with self._near(rel or ".") as (fd, name):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(name, flags, dir_fd=fd)

    def files_below(self, rel: str) -> list[str]:
        """The files and links in the folder and below it, from the folder on."""
        with self._near(rel) as (fd, name):
            found = []
            for folder, folders, names, at in os.fwalk(name, dir_fd=fd):
                below = folder[len(name) + 1 :]
                names += [one for one in folders if _is_link(one, at)]
                found += [f"{below}/{one}" if below else one for one in names]
            return found

    def readlink(self, rel: str) -> str:
        """Where a symbolic link points, as written."""
        with self._near(rel) as (fd, name):
            return os.readlink(name, dir_fd=fd)

    def mknod(self, rel: str, mode: int, device: int, owner: Owner | None) -> None:
        """Make a special file."""
        with self._near(rel) as (fd, name):
            os.mknod(name, mode, device, dir_fd=fd)
            self._settle(rel, fd, name, stat.S_IMODE(mode), owner)

    def mkdir(self, rel: str, mode: int, owner: Owner | None) -> None:
        """Make a folder."""
        with self._near(rel) as (fd, name):
            os.mkdir(name, mode, dir_fd=fd)
            self._settle(rel, fd, name, mode, owner)

    def symlink(self, target: str, rel: str, owner: Owner | None) -> None:
        """Make a symbolic link that says `target`."""
        with self._near(rel) as (fd, name):
            os.symlink(target, name, dir_fd=fd)
            self._settle(rel, fd, name, None, owner)

    def link(self, source: str, target: str) -> None:
        """Give a file a second name."""
        with self._near(source) as (fd, name), self._near(target) as (to, new):
            os.link(name, new, src_dir_fd=fd, dst_dir_fd=to, follow_symlinks=False)

    def rename(self, source: str, target: str) -> None:
        """Move."""
        with self._near(source) as (fd, name), self._near(target) as (to, new):
            os.rename(name, new, src_dir_fd=fd, dst_dir_fd=to)

    def unlink(self, rel: str) -> None:
        """Remove a name."""
        with self._near(rel) as (fd, name):
            os.unlink(name, dir_fd=fd)

    def rmdir(self, rel: str) -> None:
        """Remove an empty folder."""
        with self._near(rel) as (fd, name):
            os.rmdir(name, dir_fd=fd)

    def truncate(self, rel: str, size: int) -> None:
        """Cut or extend a file."""
        fd = self.open(rel, os.O_WRONLY)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def chmod(self, rel: str, mode: int) -> None:
        """Set permission bits."""
        with self._near(rel) as (fd, name):
            _chmod(fd, name, mode)

    def chown(self, rel: str, uid: int, gid: int) -> None:
        """Set owner and group, -1 leaves one as it is."""
        with self._near(rel) as (fd, name):
            os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)

    def utime(self, rel: str, atime_ns: int, mtime_ns: int) -> None:
        """Set times; UTIME_NOW and UTIME_OMIT as in utimensat(2)."""
        with self._near(rel or ".") as (fd, name):
            set_times(name, atime_ns, mtime_ns, dir_fd=fd)

    @contextlib.contextmanager
    def _near(self, rel: str) -> Iterator[tuple[int, str]]:
        """A descriptor of a folder and the name from there, short enough for a system call."""
        if "/" not in rel or rel[0] == "/":
            yield self._fd, rel
            return
        raw, fd = rel.encode("utf-8", "surrogateescape"), self._fd
        with contextlib.ExitStack() as opened:
            while len(raw) > _MOST_BYTES:
                fd, raw = self._step(fd, raw, raw.rindex(b"/", 0, _MOST_BYTES), opened)
            if b"/" in raw:
                fd, raw = self._step(fd, raw, raw.rindex(b"/"), opened)
            yield fd, raw.decode("utf-8", "surrogateescape")

    def _step(
        self, fd: int, raw: bytes, cut: int, opened: contextlib.ExitStack
    ) -> tuple[int, bytes]:
        """Open the folder before the slash at `cut`; what is after it is left."""
        folder = _opened(os.fsdecode(raw[:cut]), _WALKING, fd)
        opened.callback(os.close, folder)
        return folder, raw[cut + 1 :]

    def _settle(self, rel: str, fd: int, name: str, mode: int | None, owner: Owner | None) -> None:
        """Give what was just made its owner and, unless None, its mode."""
        if owner and (group := self._group(rel, owner)) is not None:
            os.chown(name, owner.uid, group, dir_fd=fd, follow_symlinks=False)
        if mode is not None and (owner or mode & self._umask):
            bits = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
            _chmod(fd, name, mode | (bits & stat.S_ISGID))

    def _group(self, rel: str, owner: Owner) -> int | None:
        """The group of what is made at `rel`; None if this process may give nothing away."""
        if os.geteuid() != 0:
            return None
        above = self.lstat(rel.rpartition("/")[0])
        return above.st_gid if above.st_mode & stat.S_ISGID else owner.gid


def _opened(place: str, flags: int, fd: int) -> int:
    try:
        return open_without_links(place, flags, fd)
    except OSError as err:
        if err.errno != errno.ELOOP:
            raise
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), place) from None


def _is_link(name: str, fd: int) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)


def _chmod(fd: int, name: str, mode: int) -> None:
    if not hasattr(os, "O_PATH"):
        os.chmod(name, mode, dir_fd=fd, follow_symlinks=False)
        return
    # Linux has no chmod that follows no link: whoever puts one here at this moment changes nothing.
    held = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        os.chmod(f"/proc/self/fd/{held}", mode)
    finally:
        os.close(held)


def _umask() -> int:
    """This process's; there is no way to ask without setting it."""
    now = os.umask(0o077)
    os.umask(now)
    return now

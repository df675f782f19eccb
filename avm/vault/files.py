"""The vault's files: which can be memories; reading one, following no link out of the vault."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from avm.base import paths
from avm.base.beneath import open_without_links
from avm.base.errors import NotFoundError, RepositoryError
from avm.vault.location import Vault

if TYPE_CHECKING:
    from avm.vault.survey import Walk

#: A file read less than this after its stamp may have been written again within the stamp's
#: resolution, so it is read once more (git's racy rule; 2 s is FAT's resolution).
RACY_NS = 2_000_000_000

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Stamp(NamedTuple):
    """What tells one version of a file from another without reading it (DESIGN: ctime too, since
    `rsync -t` and `touch -r` keep mtime). Times in nanoseconds."""

    mtime_ns: int
    ctime_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """The stamp in a stat result."""
        # Spelled out: half the time, and a scan makes as many as there are files.
        numbers = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        return tuple.__new__(cls, numbers)

    def is_racy(self, checked_ns: int) -> bool:
        """Whether a read at `checked_ns` may have missed a write with this same stamp."""
        return max(self.mtime_ns, self.ctime_ns) > checked_ns - RACY_NS


def open_quietly(place: str, flags: int) -> int:
    """Open for reading, over no symbolic link, without a trace in the time of last access, which is
    for people to set. Raises OSError."""
    flags |= os.O_RDONLY | os.O_CLOEXEC
    try:
        return open_without_links(place, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:  # that is for the file's owner alone
        return open_without_links(place, flags)


def walk(vault: Vault) -> Walk:
    """Find every memory with its stamp, once; who looks again keeps a `Survey`."""
    from avm.vault.survey import Survey

    return Survey(vault).walk()


def is_below_memory(rel: str) -> bool:
    """Whether `rel` is in `memory/`, the part of a vault that AVM commits."""
    return rel.startswith("memory/")


def could_be_memory(rel: str) -> bool:
    """Whether `rel` names a memory, ignore rules aside."""
    names = rel.split("/")
    return is_memory_file_name(names[-1]) and not any(map(paths.is_hidden_name, names))


def is_memory_file_name(name: str) -> bool:
    """Whether a visible file of this name is a memory, and no editor's temporary file."""
    return paths.is_memory_name(name) and not paths.is_editor_name(name)


def regular_file(vault: Vault, rel: str) -> os.stat_result | None:
    """The status of `rel` if it is a regular file reached without a symbolic link, else None."""
    status = _status(vault, rel)
    return status if status is not None and stat.S_ISREG(status.st_mode) else None


def is_folder(vault: Vault, rel: str) -> bool:
    """Whether `rel` is a folder reached without a symbolic link."""
    status = _status(vault, rel) if rel else vault.root.stat()
    return status is not None and stat.S_ISDIR(status.st_mode)


def _status(vault: Vault, rel: str) -> os.stat_result | None:
    """The status of what is at `rel`, None if there is nothing or a symbolic link on the way."""
    place = str(vault.root)
    status = None
    for name in rel.split("/"):
        place = f"{place}/{name}"
        try:
            status = os.lstat(place)
        except (OSError, ValueError):
            return None
        if stat.S_ISLNK(status.st_mode):
            return None
    return status


def goes_through_link(vault: Vault, rel: str) -> bool:
    """Whether a folder on the way to `rel` is a symbolic link, or no folder at all."""
    place = str(vault.root)
    for name in rel.split("/")[:-1]:
        place = f"{place}/{name}"
        try:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                return True
        except FileNotFoundError:
            return False
    return False


def raise_if_exhausted(err: OSError, place: object) -> None:
    """Raise RepositoryError if the process or the machine had no room for a file: that says nothing
    of whether it is there, and to take it for gone would forget it."""
    if err.errno in _EXHAUSTED:
        raise RepositoryError(f"{place}: {err.strerror}; try again") from None


def read(vault: Vault, rel: str) -> bytes:
    """The bytes of a regular file. Raises NotFoundError, also for links and folders, and
    RepositoryError if there is no room to open it."""
    if regular_file(vault, rel) is not None:
        try:
            with open(open_quietly(f"{vault.root}/{rel}", 0), "rb") as file:
                return file.read()
        except OSError as err:
            raise_if_exhausted(err, paths.display(rel))
    raise NotFoundError(f"no file at {paths.display(rel)}")

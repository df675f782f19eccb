"""Writing whole files of the vault where no symbolic link leads away, not even one that is put on
the way just now."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from avm.base import atomic, paths
from avm.base.beneath import open_without_links
from avm.base.errors import AccessError, AVMError, ExistsError, UsageError
from avm.vault.location import Vault

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: Called before a file is written, once it may be: what may still say no.
Check = Callable[[], None]


class Placing:
    """Writes in one vault, with `fsync` so that it survives a power cut. Every method raises
    AccessError where a link or a file is on the way, UsageError for what the disk refuses."""

    def __init__(self, vault: Vault, *, fsync: bool) -> None:
        self._root = vault.root
        self._fsync = fsync

    def write_new(self, rel: str, data: bytes, check: Check) -> bool:
        """Create a file, and the folders it needs; False if the name is taken."""
        try:
            with self._folder_of(rel) as (fd, name):
                if _mode_at(fd, name) is not None:
                    return False
                check()
                atomic.write_new(Path(name), data, fsync=self._fsync, dir_fd=fd)
        except FileExistsError:
            return False
        except OSError as err:
            raise _cannot_write(rel, err) from None
        return True

    def replace(self, rel: str, data: bytes, check: Check) -> None:
        """Write a whole file over what is there. Raises ExistsError for a folder."""
        try:
            with self._folder_of(rel) as (fd, name):
                _check_replaceable(rel, _mode_at(fd, name))
                check()
                atomic.replace(Path(name), data, fsync=self._fsync, dir_fd=fd)
        except OSError as err:
            raise _cannot_write(rel, err) from None

    def rewrite(self, rel: str, data: bytes) -> None:
        """Write a whole file into the one that is there, which others have open."""
        try:
            with self._folder_of(rel) as (folder, name):
                fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            with open(fd, "wb", buffering=0) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
                file.truncate()
                if self._fsync:
                    os.fsync(fd)
        except OSError as err:
            raise _cannot_write(rel, err) from None

    def remove(self, rel: str) -> None:
        """Remove a file. Raises FileNotFoundError."""
        with self._folder_of(rel, make=False) as (fd, name):
            os.unlink(name, dir_fd=fd)

    @contextlib.contextmanager
    def _folder_of(self, rel: str, *, make: bool = True) -> Iterator[tuple[int, str]]:
        """The folder that `rel` is in, and the name there; `make` it if it is missing. It stays
        that folder, whatever is put in its place. Raises AccessError, OSError."""
        *folders, name = rel.split("/")
        fd = os.open(self._root, _FOLDER)
        try:
            for number, folder in enumerate(folders, 1):
                above = fd
                try:
                    fd = _stepped(folder, above, make)
                except OSError as err:
                    if err.errno not in (errno.ELOOP, errno.ENOTDIR):
                        raise
                    shown = paths.display("/".join(folders[:number]))
                    what = f"{shown} is no folder: cannot write {paths.display(rel)}"
                    raise AccessError(what) from None
                os.close(above)
            yield fd, name
        finally:
            os.close(fd)


def _stepped(folder: str, above: int, make: bool) -> int:
    try:
        return open_without_links(folder, _FOLDER, above)
    except FileNotFoundError:
        if not make:
            raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, dir_fd=above)
        return open_without_links(folder, _FOLDER, above)


def _mode_at(fd: int, name: str) -> int | None:
    """The mode of what has this name in a folder; None if nothing has."""
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _check_replaceable(rel: str, mode: int | None) -> None:
    if mode is None:
        return
    if stat.S_ISLNK(mode):
        raise AccessError(f"{paths.display(rel)} is a symbolic link: AVM does not write to it")
    if stat.S_ISDIR(mode):
        raise ExistsError(f"{paths.display(rel)} is a folder")


def _cannot_write(rel: str, err: OSError) -> AVMError:
    return UsageError(f"cannot write {paths.display(rel)}: {err.strerror}")

"""Where libfuse's `.fuse_hidden…` files go: files that are unlinked while still open.

libfuse renames such a file beside itself, which would put it into the git work tree. The overlay
keeps it in a folder of this mount's in AVM's state; where that is on another file system, beside
itself under a name that is never shown.

libfuse means to remove it at the last close, and forgets it where the close comes while it is being
renamed. So who has what open is counted here, and what nobody has open is removed here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from pathlib import Path

from avm.base import paths
from avm.overlay.root import Root
from avm.vault.condition import hidden_folders

_PREFIX = ".fuse_hidden"
_File = tuple[int, int]


def is_hidden_file(rel: str) -> bool:
    """Whether `rel` is a name that libfuse made for an unlinked open file."""
    return _PREFIX in rel and paths.name_of(rel).startswith(_PREFIX)


class HiddenFiles:
    """The hidden files of one mount; those of processes that are gone are removed at the start."""

    def __init__(self, base: Path) -> None:
        for folder in hidden_folders(base):
            shutil.rmtree(folder, ignore_errors=True)
        self._folder = base / f"{os.getpid()}-{id(self):x}"
        self._guard = threading.Lock()
        #: The descriptors that are open. One step each, which the interpreter makes whole: every
        #: open and close comes by here, and seldom is anything hidden.
        self._open: set[int] = set()
        #: Where files are hidden, by device and inode.
        self._hidden: dict[_File, list[Path]] = {}
        #: Those that could not be moved here, by name.
        self._beside: dict[str, Path] = {}

    def place(self, rel: str) -> Path:
        """Where the hidden file `rel` is on disk; makes the folder. Raises OSError."""
        if beside := self._beside.get(paths.name_of(rel)):
            return beside
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / paths.name_of(rel)

    def opened(self, fd: int) -> None:
        """A file is open, until `closing` is told the same descriptor."""
        self._open.add(fd)

    def closing(self, fd: int) -> None:
        """Just before a descriptor is closed: the last one takes the hidden names along."""
        self._open.discard(fd)
        if not self._hidden:
            return
        file = _file(os.fstat(fd))
        with self._guard:
            if file in self._hidden and not self._is_open(file):
                for place in self._hidden.pop(file):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(place)

    def hide(self, root: Root, source: str, rel: str) -> None:
        """Move the file at `source` in `root` to the hidden name `rel`; what nobody has open any
        more is removed. Raises OSError."""
        with self._guard:
            file = _file(root.lstat(source))
            # Before the look at what is open: who closes from here on waits, and sees it.
            places = self._hidden.setdefault(file, [])
            try:
                if self._is_open(file):
                    places.append(self._moved(root, source, rel))
                else:
                    root.unlink(source)
            finally:
                if not places:
                    del self._hidden[file]

    def _moved(self, root: Root, source: str, rel: str) -> Path:
        """Move it away; beside itself, under a name that is never shown, if that is another file
        system. Returns where it is."""
        place = self.place(rel)
        try:
            root.rename(source, str(place))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            name = f"{paths.TEMP_PREFIX}{os.getpid()}-{paths.name_of(rel)}"
            beside = f"{paths.parent(source)}/{name}".lstrip("/")
            root.rename(source, beside)
            place = self._beside[paths.name_of(rel)] = root.path / beside
        return place

    def _is_open(self, file: _File) -> bool:
        return any(_file(os.fstat(fd)) == file for fd in tuple(self._open))

    def close(self) -> None:
        """Remove them all."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for place in self._beside.values():
            place.unlink(missing_ok=True)


def _file(status: os.stat_result) -> _File:
    return status.st_dev, status.st_ino

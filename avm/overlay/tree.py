"""The tree that a mount shows: the vault's files less the hidden ones, and the virtual nodes.

Real files are reached relative to a descriptor of the vault's root, opened before any mount, so
that no path of ours ever goes through the mount itself. Raises OSError, and AVMError where a rule
says no; both carry an errno.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from avm.api import View
from avm.base import paths
from avm.base.errors import AccessError, UsageError
from avm.overlay.attributes import Attributes, Entry, virtual_inode
from avm.overlay.handle import Handle, RealHandle, TextHandle
from avm.overlay.hidden import HiddenFiles, is_hidden_file
from avm.overlay.past import PastFolders
from avm.overlay.times import set_times
from avm.overlay.virtual import Answers, asked_by, folder_exists, is_placeholder
from avm.vault.files import is_below_memory

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND


class _Opened:
    """A file that is open for writing, by the name it has now."""

    def __init__(self, rel: str) -> None:
        self.rel = rel


class Tree:
    """One viewer's overlay of one vault. Paths are absolute in the tree: `/memory/x.md`, `/`."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._vault = view.store.vault
        self._root = os.open(self._vault.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._answers = Answers(view)
        self._past = PastFolders(view)
        self._hidden = HiddenFiles(self._vault.git_state / "hidden")
        self._born_ns = time.time_ns()
        self._writers: set[_Opened] = set()
        self._guard = threading.Lock()

    def held(self) -> set[str]:
        """The rels that are open for writing: the committer waits for their last close."""
        with self._guard:
            return {opened.rel for opened in self._writers}

    def start(self) -> None:
        """Have a keeper do the work. Call once the process that stays is running."""
        self._view.store.attach(self.held)

    def close(self) -> None:
        """Let go of the root and of unlinked files that were still open."""
        self._hidden.close()
        os.close(self._root)

    # Looking

    def attributes(self, path: str) -> Attributes:
        """What `lstat` says; the exact size for a virtual node."""
        rel = path[1:]
        if self._past.holds(rel):
            return self._past.attributes(rel)
        asked = asked_by(rel)
        if asked:
            return self._virtual(rel, len(self._answers.get(*asked)))
        if is_hidden_file(rel):
            return Attributes.of(self._hidden.place(rel).lstat())
        self._check_visible(rel)
        try:
            status = self._lstat(rel)
        except FileNotFoundError:
            if self._shows_placeholder(rel):
                return self._placeholder(rel)
            raise
        self._check_shown(rel, status)
        return Attributes.of(status)

    def list(self, path: str) -> list[Entry]:
        """The names in a folder that exist for this viewer; no virtual node is listed."""
        rel = path[1:]
        if self._past.holds(rel):
            return self._past.list(rel)
        self._check_visible(rel)
        try:
            fd = self._open_folder(rel)
        except FileNotFoundError:
            if self._shows_placeholder(rel):
                return []
            raise
        found = []
        try:
            with os.scandir(fd) as listing:
                for entry in listing:
                    inner = f"{rel}/{entry.name}" if rel else entry.name
                    with contextlib.suppress(FileNotFoundError):
                        if self._lists(inner, entry):
                            mode = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
                            found.append(Entry(entry.name, entry.inode(), mode))
        finally:
            os.close(fd)
        return found

    def readlink(self, path: str) -> str:
        """Where a symbolic link points, as written."""
        if self._past.holds(path[1:]):
            return self._past.readlink(path[1:])
        self._check_visible(path[1:])
        return os.readlink(path[1:], dir_fd=self._root)

    def statvfs(self) -> os.statvfs_result:
        """The file system that holds the vault."""
        return os.fstatvfs(self._root)

    # Files

    def open(self, path: str, flags: int) -> Handle:
        """Open an existing file, or a virtual node's answer as it is now."""
        rel = path[1:]
        if self._past.holds(rel):
            if flags & _WRITING:
                self._past.refuse(rel)
            return self._past.open(rel)
        asked = asked_by(rel)
        if asked:
            if flags & _WRITING:
                raise AccessError(f"{paths.display(rel)} is an answer: it cannot be written")
            data = self._answers.get(*asked)
            return TextHandle(data, self._virtual(rel, len(data)))
        if is_hidden_file(rel):
            return self._handle(rel, os.open(self._hidden.place(rel), flags), flags)
        self._check_visible(rel)
        status = self._lstat(rel)
        self._check_shown(rel, status)
        if flags & _WRITING:
            self._check_writable(rel)
        opening = flags | os.O_NOFOLLOW | os.O_CLOEXEC
        if flags & os.O_TRUNC:
            with self._changing(rel):
                fd = os.open(rel, opening, dir_fd=self._root)
                self._wrote(rel, "edit")
        else:
            if flags & _WRITING:
                self._view.store.versions.close(rel, self._view.viewer.agent)
            fd = os.open(rel, opening, dir_fd=self._root)
        return self._handle(rel, fd, flags)

    def create(self, path: str, mode: int, flags: int) -> Handle:
        """Create and open a file; `flags` hold O_CREAT, and O_EXCL where the caller said so."""
        rel = path[1:]
        self._make_way(rel)
        existed = self._exists(rel)
        flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(rel, flags, mode, dir_fd=self._root)
        if not existed:
            self._wrote(rel, "remember")
        return self._handle(rel, fd, flags)

    def truncate(self, path: str, size: int) -> None:
        """Cut or extend a file that need not be open."""
        rel = path[1:]
        self._past.refuse(rel)
        if is_hidden_file(rel):
            os.truncate(self._hidden.place(rel), size)
            return
        self._existing_to_change(rel)
        with self._changing(rel):
            fd = os.open(rel, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._root)
            try:
                os.ftruncate(fd, size)
            finally:
                os.close(fd)
            self._wrote(rel, "edit")

    def mknod(self, path: str, mode: int, device: int) -> None:
        """Make a special file."""
        self._make_way(path[1:])
        os.mknod(path[1:], mode, device, dir_fd=self._root)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        place = self._place_to_change(path[1:])
        with self._changing(path[1:], leaving=True):
            os.unlink(place, dir_fd=self._root)
            self._wrote(path[1:], "forget")

    # Names

    def mkdir(self, path: str, mode: int) -> None:
        """Make a folder."""
        self._make_way(path[1:])
        os.mkdir(path[1:], mode, dir_fd=self._root)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder. One whose memories have all expired looks empty, and is not."""
        rel = path[1:]
        self._existing_to_change(rel)
        os.rmdir(rel, dir_fd=self._root)

    def rename(self, old: str, new: str) -> None:
        """Rename over whatever is at `new`, as rename(2) does."""
        source, target = old[1:], new[1:]
        self._past.refuse(source)
        self._past.refuse(target)
        if is_hidden_file(target):
            self._existing_to_change(source)
            with self._changing(source, leaving=True):
                self._hidden.hide(source, target, dir_fd=self._root)
                self._wrote(source, "forget")
            return
        if is_hidden_file(source):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        status = self._existing_to_change(source)
        self._make_way(target)
        moved = [""]
        if stat.S_ISDIR(status.st_mode):
            moved = [f"/{name}" for name in self._files_below(source)]
        with self._changing(target):
            for tail in moved:
                self._view.store.versions.close(source + tail, self._view.viewer.agent)
            os.rename(source, target, src_dir_fd=self._root, dst_dir_fd=self._root)
            self._moved(source, target)
            for tail in moved:
                self._wrote(source + tail, "forget")
                self._wrote(target + tail, "edit")

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link at `path` that says `target`."""
        self._make_way(path[1:])
        os.symlink(target, path[1:], dir_fd=self._root)
        self._wrote(path[1:], "remember")

    def link(self, old: str, new: str) -> None:
        """Give the file at `old` a second name."""
        source, target = old[1:], new[1:]
        self._existing_to_change(source)
        self._make_way(target)
        os.link(source, target, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False)
        self._wrote(target, "remember")

    # Attributes

    def chmod(self, path: str, mode: int) -> None:
        """Set permission bits."""
        os.chmod(self._place_to_change(path[1:]), mode, dir_fd=self._root)
        self._wrote(path[1:], "edit")

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Set owner and group, -1 leaves one as it is."""
        place = self._place_to_change(path[1:])
        os.chown(place, uid, gid, dir_fd=self._root, follow_symlinks=False)

    def utimens(self, path: str, atime_ns: int, mtime_ns: int) -> None:
        """Set times; UTIME_NOW and UTIME_OMIT as in utimensat(2)."""
        set_times(self._place_to_change(path[1:]), atime_ns, mtime_ns, dir_fd=self._root)

    # How the above decide

    def _check_visible(self, rel: str) -> None:
        """Raise ENOENT for what does not exist for this viewer, whatever is on disk."""
        if paths.in_dot_git(rel) or not self._view.viewer.shows_folder(rel):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), rel)

    def _check_shown(self, rel: str, status: os.stat_result) -> None:
        """Raise ENOENT for an expired memory, and for a file where only folders lead on."""
        on_the_way = stat.S_ISDIR(status.st_mode) or self._view.viewer.can_read(rel)
        if not on_the_way or self._view.store.has_ended(rel, status):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), rel)

    def _check_writable(self, rel: str) -> None:
        if not self._view.viewer.can_write(rel):
            raise AccessError(f"{paths.display(rel)}: not to be written by this agent")

    def _existing_to_change(self, rel: str) -> os.stat_result:
        self._past.refuse(rel)
        if asked_by(rel):
            raise AccessError(f"{paths.display(rel)} is an answer: it cannot be changed")
        self._check_visible(rel)
        status = self._lstat(rel)
        self._check_shown(rel, status)
        self._check_writable(rel)
        return status

    def _place_to_change(self, rel: str) -> str:
        """Where `rel`, which may be changed, is: a path below the root, or an absolute one."""
        self._past.refuse(rel)
        if is_hidden_file(rel):
            return str(self._hidden.place(rel))
        self._existing_to_change(rel)
        return rel

    def _changing(
        self, rel: str, *, leaving: bool = False
    ) -> contextlib.AbstractContextManager[None]:
        """Hold while the text at `rel` is cut, replaced or, with `leaving`, removed."""
        return self._view.store.changing(rel, self._view.viewer.agent, leaving=leaving)

    def _give_way(self, rel: str) -> None:
        """Before the text at `rel` gives way, where the change cannot be held."""
        self._view.store.before_change(rel, self._view.viewer.agent)

    def _make_way(self, rel: str) -> None:
        """Before a name is made: may it be, its placeholder folders, an expired file in its way."""
        self._past.refuse(rel)
        if asked_by(rel):
            raise UsageError(f"{paths.display(rel)} is the name of an answer: choose another")
        if is_hidden_file(rel):
            raise UsageError(f"{paths.display(rel)} is a name of libfuse's: choose another")
        self._check_writable(rel)
        folder = paths.parent(rel)
        if is_placeholder(folder):
            os.makedirs(self._vault.path(folder), exist_ok=True)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if self._view.store.has_ended(rel, self._lstat(rel)):
                self._give_way(rel)

    def _lists(self, rel: str, entry: os.DirEntry[str]) -> bool:
        name = entry.name
        if name.startswith(paths.TEMP_PREFIX) or is_hidden_file(rel):
            return False
        if paths.in_dot_git(rel) or self._past.holds(rel) or asked_by(rel):
            return False
        viewer = self._view.viewer
        if entry.is_dir(follow_symlinks=False):
            return viewer.shows_folder(rel)
        if not viewer.can_read(rel):
            return False
        if not paths.is_memory_name(name):
            return True
        return not self._view.store.has_ended(rel, entry.stat(follow_symlinks=False))

    def _lstat(self, rel: str) -> os.stat_result:
        return os.stat(rel or ".", dir_fd=self._root, follow_symlinks=False)

    def _exists(self, rel: str) -> bool:
        try:
            self._lstat(rel)
        except FileNotFoundError:
            return False
        return True

    def _has_name(self, fd: int, rel: str) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self._lstat(rel))
        except OSError:
            return False

    def _open_folder(self, rel: str) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(rel or ".", flags, dir_fd=self._root)

    def _files_below(self, rel: str) -> Iterator[str]:
        root = self._vault.path(rel)
        for folder, _, names in os.walk(root):
            below = Path(folder).relative_to(root)
            yield from (str(below / name) for name in names)

    def _handle(self, rel: str, fd: int, flags: int) -> RealHandle:
        opened = _Opened(rel)
        self._hidden.opened(fd)
        if flags & _WRITING:
            with self._guard:
                self._writers.add(opened)

        def closing(written: bool) -> None:
            try:
                # Again, as who committed it while it was open has settled the mark of the first
                # write. Not if another file has the name by now: that one is not ours.
                if written and self._has_name(fd, opened.rel):
                    self._wrote(opened.rel, "edit")
            finally:
                with self._guard:
                    self._writers.discard(opened)
                self._hidden.closing(fd)

        def shrinking(size: int) -> None:
            if size < os.fstat(fd).st_size and self._has_name(fd, opened.rel):
                self._give_way(opened.rel)

        def wrote() -> None:
            # Another may have written since this file was opened.
            if self._has_name(fd, opened.rel):
                self._view.store.versions.close(opened.rel, self._view.viewer.agent)
            self._wrote(opened.rel, "edit")

        return RealHandle(fd, wrote=wrote, closing=closing, shrinking=shrinking)

    def _moved(self, source: str, target: str) -> None:
        """Files that are open for writing keep their author under their new names."""
        with self._guard:
            for opened in self._writers:
                if opened.rel == source or opened.rel.startswith(source + "/"):
                    opened.rel = target + opened.rel[len(source) :]

    def _wrote(self, rel: str, op: str) -> None:
        """Journal who wrote; the name of an editor's temporary file is no memory."""
        temporary = is_hidden_file(rel) or paths.is_editor_name(paths.name_of(rel))
        if is_below_memory(rel) and not temporary:
            self._view.wrote(rel, op)

    def _shows_placeholder(self, rel: str) -> bool:
        return is_placeholder(rel) and folder_exists(self._view, rel)

    def _placeholder(self, rel: str) -> Attributes:
        mode = stat.S_IFDIR | 0o755
        inode = virtual_inode(rel)
        return Attributes.virtual(inode=inode, mode=mode, size=0, time_ns=self._born_ns)

    def _virtual(self, rel: str, size: int) -> Attributes:
        mode = stat.S_IFREG | 0o444
        inode = virtual_inode(rel)
        return Attributes.virtual(inode=inode, mode=mode, size=size, time_ns=self._born_ns)

"""The tree that a mount shows: the vault's files less the hidden ones, and the virtual nodes.

Raises OSError, and AVMError where a rule says no; both carry an errno.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from avm.api import View
from avm.base import paths
from avm.base.errors import AccessError, AVMError, UsageError
from avm.overlay.answers import Answers
from avm.overlay.attributes import Attributes, Entry, virtual_inode
from avm.overlay.handle import BodyHandle, Handle, RealHandle, TextHandle, ValueHandle
from avm.overlay.hidden import HiddenFiles, is_hidden_file
from avm.overlay.names import Asked, Node
from avm.overlay.past import PastFolders
from avm.overlay.root import Owner, Root
from avm.overlay.virtual import asked_by, folder_exists
from avm.overlay.writers import Writers
from avm.vault.locks import locked
from avm.vault.usage import Made

if TYPE_CHECKING:
    from avm.vault.journal import Mark

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND


class Tree:
    """One viewer's overlay of one vault. Paths are absolute in the tree: `/memory/x.md`, `/`."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._vault = view.store.vault
        self._root = Root(self._vault.root)
        self._answers = Answers(view)
        self._past = PastFolders(view)
        self._hidden = HiddenFiles(self._vault.git_state / "hidden")
        self._born_ns = time.time_ns()
        self._writers = Writers(view, self._root.lstat, self._hidden.closing)
        view.store.open_here = self._writers.held

    def held(self) -> set[str]:
        """The rels that are open for writing: the committer waits for their last close."""
        return self._writers.held()

    def start(self) -> None:
        """Have a keeper do the work. Call once the process that stays is running."""
        self._view.store.attach(self.held)

    def begun(self, ended: Callable[[], bool], aside: Callable[[], None]) -> None:
        """It is mounted; an answer that is computed when `ended` says so is not waited for, and
        `aside` is called before a wait."""
        self._answers.ended, self._answers.aside = ended, aside

    def close(self) -> None:
        """Let go of the root and of unlinked files that were still open."""
        self._answers.close()
        self._hidden.close()
        self._root.close()

    # Looking

    def attributes(self, path: str) -> Attributes:
        """What `lstat` says; the exact size for a virtual node."""
        rel = path[1:]
        if ":" in rel:
            if self._past.holds(rel):
                return self._past.attributes(rel)
            if asked := asked_by(rel):
                return self._virtual(rel, asked[0], asked[1], self._answers.size(*asked))
        if is_hidden_file(rel):
            return Attributes.of(self._hidden.place(rel).lstat())
        self._check_visible(rel)
        try:
            status = self._root.lstat(rel)
        except FileNotFoundError:
            if self._shows_placeholder(rel):
                return self._placeholder(rel)
            raise
        self._check_shown(rel, status)
        found = Attributes.of(status)
        if stat.S_ISDIR(status.st_mode) and not self._view.viewer.reads_all_in(rel):
            return found.uncounted()
        return found

    def list(self, path: str) -> list[Entry]:
        """The names in a folder that exist for this viewer; no virtual node is listed."""
        rel = path[1:]
        if self._past.holds(rel):
            return self._past.list(rel)
        self._check_visible(rel)
        try:
            fd = self._root.open_folder(rel)
        except FileNotFoundError:
            if self._shows_placeholder(rel):
                return []
            raise
        try:
            with os.scandir(fd) as listing:
                return list(self._shown(rel, listing))
        finally:
            os.close(fd)

    def fsync_folder(self, path: str) -> None:
        """Put the names in a folder on disk; one that only looks real has none."""
        rel = path[1:]
        if self._past.holds(rel):
            return
        self._check_visible(rel)
        with contextlib.suppress(FileNotFoundError):
            fd = self._root.open_folder(rel)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def readlink(self, path: str) -> str:
        """Where a symbolic link points, as written."""
        if self._past.holds(path[1:]):
            return self._past.readlink(path[1:])
        self._check_visible(path[1:])
        return self._root.readlink(path[1:])

    def statvfs(self) -> os.statvfs_result:
        """The file system that holds the vault."""
        return self._root.statvfs()

    # Files

    def open(self, path: str, flags: int) -> Handle:
        """Open an existing file, or a virtual node's answer as it is now."""
        rel = path[1:]
        if ":" in rel and (handle := self._open_special(rel, flags)):
            return handle
        if is_hidden_file(rel):
            return self._handle(rel, os.open(self._hidden.place(rel), flags), flags)
        self._check_visible(rel)
        status = self._root.lstat(rel)
        self._check_shown(rel, status)
        if not flags & _WRITING:
            return self._handle(rel, self._root.open(rel, flags), flags)
        self._check_writable(rel)
        with self._writers.entering(rel):
            if not flags & os.O_TRUNC:
                self._writers.close_version(rel)
                # A sync asks under this lock what is open, and then puts another file in its place.
                with locked(self._view.store.vault.write_lock):
                    return self._handle(rel, self._root.open(rel, flags), flags)
            with contextlib.ExitStack() as stack:
                with self._changing(rel):
                    fd = self._root.open(rel, flags)
                    stack.enter_context(_closed_if_raised(fd))
                    self._writers.wrote(rel, "edit")
                return self._handle(rel, fd, flags)

    def _open_special(self, rel: str, flags: int) -> Handle | None:
        """Open what is no file of the vault's, None if `rel` is one."""
        if self._past.holds(rel):
            if flags & _WRITING:
                self._past.refuse(rel)
            return self._past.open(rel)
        asked = asked_by(rel)
        if asked is None:
            return None
        node, on = asked[0].node, asked[1]
        if flags & _WRITING:
            if node.write is None:
                raise AccessError(f"{paths.display(rel)} is an answer: it cannot be written")
            self._check_writable(on)
        answer = self._answers.get(*asked)
        attributes = self._virtual(rel, *asked, len(answer.data))
        if not flags & _WRITING:
            return TextHandle(answer.data, attributes, answer.read_whole)
        taker = _Taker(self._view, self._writers, rel, node, on)
        if node.several:
            return BodyHandle(answer.data, attributes, taker, flags)
        return ValueHandle(answer.data, attributes, taker, added=bool(flags & os.O_APPEND))

    def create(self, path: str, mode: int, flags: int, owner: Owner | None = None) -> Handle:
        """Create and open a file; `flags` hold O_CREAT, and O_EXCL where the caller said so."""
        rel = path[1:]
        if not self._make_way(rel):
            self._writers.make_room(rel)
            try:
                fd = self._root.create(rel, flags | os.O_EXCL, mode, owner)
            except FileExistsError:
                pass
            else:
                with _closed_if_raised(fd):
                    noted = self._writers.wrote(rel, "remember")
                    return self._handle(rel, fd, flags, noted)
        if flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), rel)
        # It came since the kernel looked; what O_TRUNC takes from it is kept first.
        return self.open(path, flags)

    def truncate(self, path: str, size: int) -> None:
        """Cut or extend a file that need not be open."""
        rel = path[1:]
        self._past.refuse(rel)
        if is_hidden_file(rel):
            os.truncate(self._hidden.place(rel), size)
            return
        if ":" in rel and asked_by(rel):
            self.open(path, os.O_WRONLY).truncate(size)
            return
        self._existing_to_change(rel)
        self._writers.make_room(rel, size)
        with self._writers.entering(rel), self._changing(rel):
            self._root.truncate(rel, size)
            self._writers.wrote(rel, "edit")

    def mknod(self, path: str, mode: int, device: int, owner: Owner | None = None) -> None:
        """Make a special file."""
        self._make_way(path[1:])
        self._writers.make_room(path[1:])
        self._root.mknod(path[1:], mode, device, owner)
        if stat.S_ISREG(mode):
            self._writers.wrote(path[1:], "remember")
        else:
            self._writers.count(path[1:])

    def unlink(self, path: str) -> None:
        """Remove a file."""
        place = self._place_to_change(path[1:])
        with self._changing(path[1:], leaving=True):
            self._root.unlink(place)
            self._writers.wrote(path[1:], "forget")

    # Names

    def mkdir(self, path: str, mode: int, owner: Owner | None = None) -> None:
        """Make a folder."""
        self._make_way(path[1:])
        self._root.mkdir(path[1:], mode, owner)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder; what has expired in it is moved aside first."""
        rel = path[1:]
        self._existing_to_change(rel)
        self._empty_out(rel)
        self._root.rmdir(rel)

    def rename(self, old: str, new: str) -> None:
        """Rename over whatever is at `new`, as rename(2) does."""
        source, target = old[1:], new[1:]
        self._past.refuse(source)
        self._past.refuse(target)
        if is_hidden_file(target):
            self._existing_to_change(source)
            with self._changing(source, leaving=True):
                self._hidden.hide(self._root, source, target)
                self._writers.moved(source, target)
                self._writers.wrote(source, "forget")
            return
        if is_hidden_file(source):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        status = self._existing_to_change(source)
        self._make_way(target)
        moved = [""]
        if stat.S_ISDIR(status.st_mode):
            self._check_moves(source, target)
            with contextlib.suppress(OSError):
                self._empty_out(target)
            moved = [f"/{name}" for name in self._root.files_below(source)]
        if self._writers.limited:
            sizes = ((tail, self._root.lstat(source + tail).st_size) for tail in moved)
            made = [Made(target + tail, size, source + tail) for tail, size in sizes]
            self._writers.make_room_for(made)
        with self._changing(target):
            for tail in moved:
                self._writers.close_version(source + tail)
            self._root.rename(source, target)
            self._writers.moved(source, target)
            for tail in moved:
                self._writers.wrote(source + tail, "forget")
                self._writers.wrote(target + tail, "edit")

    def symlink(self, target: str, path: str, owner: Owner | None = None) -> None:
        """Make a symbolic link at `path` that says `target`."""
        self._make_way(path[1:])
        self._writers.make_room(path[1:], len(os.fsencode(target)))
        self._root.symlink(target, path[1:], owner)
        self._writers.wrote(path[1:], "remember")

    def link(self, old: str, new: str) -> None:
        """Give the file at `old` a second name."""
        source, target = old[1:], new[1:]
        status = self._existing_to_change(source)
        self._make_way(target)
        self._writers.make_room(target, status.st_size)
        self._root.link(source, target)
        self._writers.wrote(target, "remember")

    # Attributes

    def chmod(self, path: str, mode: int) -> None:
        """Set permission bits. The one that git keeps is an edit, as text that is written is."""
        rel = path[1:]
        place = self._place_to_change(rel)
        kept = (self._root.lstat(place).st_mode ^ mode) & stat.S_IXUSR
        if kept and not is_hidden_file(rel):
            self._writers.close_version(rel)
        self._root.chmod(place, mode)
        if kept:
            self._writers.wrote(rel, "edit")

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Set owner and group, -1 leaves one as it is."""
        self._root.chown(self._place_to_change(path[1:]), uid, gid)

    def utimens(self, path: str, atime_ns: int, mtime_ns: int) -> None:
        """Set times; UTIME_NOW and UTIME_OMIT as in utimensat(2)."""
        self._root.utime(self._place_to_change(path[1:]), atime_ns, mtime_ns)

    # How the above decide

    def _check_visible(self, rel: str) -> None:
        """Raise ENOENT for what does not exist for this viewer, whatever is on disk."""
        if paths.in_dot_git(rel) or not self._view.viewer.shows_folder(rel):
            raise self._view.not_visible(rel)

    def _check_shown(self, rel: str, status: os.stat_result) -> None:
        """Raise ENOENT for an expired memory, and for a file where only folders lead on."""
        on_the_way = stat.S_ISDIR(status.st_mode) or self._view.viewer.can_read(rel)
        if not on_the_way or self._view.store.has_ended(rel, status):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), rel)

    def _check_writable(self, rel: str) -> None:
        if not self._view.viewer.can_write(rel):
            why = f"{paths.display(rel)}: not to be written by this agent"
            raise self._view.denied("write", rel, AccessError(why))

    def _check_moves(self, *folders: str) -> None:
        for folder in folders:
            if not self._view.viewer.writes_all_in(folder):
                why = f"{paths.display(folder)}: not to be moved by this agent"
                raise self._view.denied("rename", folder, AccessError(why))

    def _existing_to_change(self, rel: str) -> os.stat_result:
        self._past.refuse(rel)
        if asked_by(rel):
            raise AccessError(f"{paths.display(rel)} is an answer: it cannot be changed")
        self._check_visible(rel)
        status = self._root.lstat(rel)
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
        self._writers.note_again(rel)
        return self._view.store.changing(rel, self._view.viewer.agent, leaving=leaving)

    def _give_way(self, rel: str) -> None:
        """Before the text at `rel` gives way, where the change cannot be held."""
        self._view.store.before_change(rel, self._view.viewer.agent)

    def _make_way(self, rel: str) -> bool:
        """Before a name is made: may it be, its placeholder folders, an expired file in its way.
        Returns whether the name is taken."""
        self._past.refuse(rel)
        if asked_by(rel):
            raise UsageError(f"{paths.display(rel)} is the name of an answer: choose another")
        if is_hidden_file(rel):
            raise UsageError(f"{paths.display(rel)} is a name of libfuse's: choose another")
        self._check_writable(rel)
        folder = paths.parent(rel)
        if paths.is_placeholder(folder):
            os.makedirs(self._vault.path(folder), exist_ok=True)
        try:
            status = self._root.lstat(rel)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not self._view.store.has_ended(rel, status):
            return True
        self._give_way(rel)
        return False

    def _empty_out(self, rel: str) -> None:
        """Move aside what has expired in the folder `rel`, if there is nothing else."""
        fd = self._root.open_folder(rel)
        try:
            names = [f"{rel}/{name}" for name in os.listdir(fd)]
        finally:
            os.close(fd)
        may = self._view.viewer.can_write
        if all(may(name) and self._view.store.has_ended(name) for name in names):
            for name in names:
                self._give_way(name)
                self._writers.wrote(name, "forget")

    def _shown(self, folder: str, listing: Iterable[os.DirEntry[str]]) -> Iterator[Entry]:
        """What of a folder's entries exists for the viewer."""
        viewer, has_ended = self._view.viewer, self._view.store.has_ended
        readable = viewer.reads_all_in(folder)
        before = f"{folder}/" if folder else ""
        for entry in listing:
            name = entry.name
            rel = before + name
            if (":" in name or name[0] == ".") and self._hides(rel):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    if readable or viewer.shows_folder(rel):
                        yield Entry(name, entry.inode(), stat.S_IFDIR)
                    continue
                if not readable and not viewer.can_read(rel):
                    continue
                if not paths.is_memory_name(name) and entry.is_file(follow_symlinks=False):
                    yield Entry(name, entry.inode(), stat.S_IFREG)
                    continue
                status = entry.stat(follow_symlinks=False)
                if not has_ended(rel, status):
                    yield Entry(name, status.st_ino, stat.S_IFMT(status.st_mode))
            except FileNotFoundError:
                continue

    def _hides(self, rel: str) -> bool:
        """Whether a name is in no listing, whoever looks: AVM's and libfuse's temporary files, the
        vault's `.git`, what poses as an answer."""
        name = paths.name_of(rel)
        if name.startswith(paths.TEMP_PREFIX) or is_hidden_file(rel) or paths.in_dot_git(rel):
            return True
        return self._past.holds(rel) or asked_by(rel) is not None

    def _handle(self, rel: str, fd: int, flags: int, noted: Mark | None = None) -> RealHandle:
        self._hidden.opened(fd)
        if flags & _WRITING:
            return self._writers.handle(rel, fd, flags, noted)
        return RealHandle(fd, self._hidden.closing)

    def _shows_placeholder(self, rel: str) -> bool:
        return paths.is_placeholder(rel) and folder_exists(self._view, rel)

    def _placeholder(self, rel: str) -> Attributes:
        mode = stat.S_IFDIR | 0o755
        inode = virtual_inode(rel)
        return Attributes.virtual(inode=inode, mode=mode, size=0, time_ns=self._born_ns)

    def _virtual(self, rel: str, asked: Asked, on: str, size: int) -> Attributes:
        writable = asked.node.write is not None and self._view.viewer.can_write(on)
        mode = stat.S_IFREG | (0o644 if writable else 0o444)
        inode = virtual_inode(rel)
        return Attributes.virtual(inode=inode, mode=mode, size=size, time_ns=self._born_ns)


@contextlib.contextmanager
def _closed_if_raised(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(fd)
        raise


class _Taker:
    """Who does what is written to the node `node` at `rel`, which is on the file `on`; `:status`
    says why it could not be done."""

    def __init__(self, view: View, writers: Writers, rel: str, node: Node, on: str) -> None:
        self._view = view
        self._writers = writers
        self._rel = rel
        self._node = node
        self._on = on

    def take(self, data: bytes, added: bool) -> None:
        """Do it. Raises AVMError."""
        assert self._node.write is not None
        self._writers.note_again(self._on)
        try:
            with self._writers.alone(self._on):
                self._node.write(self._view, self._on, data, added)
        except AVMError as error:
            self._view.refused(self._rel, str(error))
            raise

    def refused(self, why: str) -> UsageError:
        """The error to raise."""
        self._view.refused(self._rel, why)
        return UsageError(why)

"""Who writes in a tree: the files that are open for writing, and the notes of what was written."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from avm.api import View
from avm.base import paths
from avm.overlay.handle import WritingHandle
from avm.overlay.hidden import is_hidden_file

if TYPE_CHECKING:
    from avm.vault.journal import Mark
    from avm.vault.usage import Made

#: As long after the note of who wrote a file a further write needs none: the commit, which waits
#: until a path has rested, counts from the note.
_NEW_SECONDS = 0.25


class Writers:
    """The writers of one viewer's tree. `lstat` asks for a rel on disk; it raises OSError.
    `closing` is told each descriptor before it is closed."""

    def __init__(
        self,
        view: View,
        lstat: Callable[[str], os.stat_result],
        closing: Callable[[int], None],
    ) -> None:
        self.view = view
        self.lstat = lstat
        self._closing = closing
        #: Whether this viewer has a quota.
        self.limited = view.store.supervision.usage(view.viewer.agent) is not None
        self._open: set[_Opened] = set()
        self._guard = threading.Lock()
        #: By rel: files that are being opened for writing, and those that a node changes just now.
        self._entering: Counter[str] = Counter()
        self._changing: set[str] = set()
        self._free = threading.Condition(self._guard)

    def held(self) -> set[str]:
        """The rels that are open for writing."""
        with self._guard:
            return {opened.rel for opened in self._open}

    def handle(self, rel: str, fd: int, flags: int, noted: Mark | None = None) -> WritingHandle:
        """A file that was opened for writing. `noted`: the mark of the note on its author, if one
        was made just now."""
        opened = _Opened(self, rel, fd, noted)
        with self._guard:
            self._open.add(opened)
        return WritingHandle(fd, self._closing, flags, opened)

    @contextlib.contextmanager
    def entering(self, rel: str) -> Iterator[None]:
        """While the file is being opened for writing: no node changes it meanwhile, as who has it
        open then would write to the file that it was."""
        with self._free:
            self._free.wait_for(lambda: rel not in self._changing)
            self._entering[rel] += 1
        try:
            yield
        finally:
            with self._free:
                self._entering[rel] -= 1
                if not self._entering[rel]:
                    del self._entering[rel]
                self._free.notify_all()

    @contextlib.contextmanager
    def alone(self, rel: str) -> Iterator[None]:
        """While a node changes the file: nobody opens it here for writing, and who has it open
        waits. Where somebody has, it stays the file that it is (Store.open_here)."""
        with self._free:
            self._free.wait_for(lambda: rel not in self._changing and rel not in self._entering)
            self._changing.add(rel)
            found = [opened for opened in self._open if opened.rel == rel]
        try:
            with contextlib.ExitStack() as stack:
                for opened in found:
                    stack.enter_context(opened.writing)
                yield
        finally:
            with self._free:
                self._changing.discard(rel)
                self._free.notify_all()

    def closed(self, opened: _Opened) -> None:
        """It is open no more."""
        with self._guard:
            self._open.discard(opened)

    def moved(self, source: str, target: str) -> None:
        """Files that are open keep their author under their new names."""
        with self._guard:
            for opened in self._open:
                if paths.is_below(opened.rel, source):
                    opened.rel = target + opened.rel[len(source) :]
                    opened.noted = None

    def note_again(self, rel: str) -> None:
        """Before what is at `rel` changes by name: the mount hears of a close after `close` has
        returned, so who wrote there may still have to note it, as at the close."""
        with self._guard:
            found = [opened for opened in self._open if opened.rel == rel]
        for opened in found:
            opened.note_again()

    def close_version(self, rel: str) -> None:
        """Before the text at `rel` changes: what another wrote there is a version of its own."""
        self.note_again(rel)
        self.view.store.versions.close(rel, self.view.viewer.agent)

    def wrote(self, rel: str, op: str) -> Mark | None:
        """Note who wrote; the name of an editor's temporary file is no memory."""
        temporary = is_hidden_file(rel) or paths.is_editor_name(paths.name_of(rel))
        if temporary:
            self.count(rel)
            return None
        return self.view.wrote(rel, op)

    def make_room(self, rel: str, size: int = 0, *, hold: bool = False) -> None:
        """Before this viewer makes the file `rel` of `size` bytes: Supervision.make_room."""
        agent = self.view.viewer.agent
        self.view.store.supervision.make_room(rel, size, agent, hold=hold)

    def make_room_for(self, made: Collection[Made]) -> None:
        """The same for several files."""
        self.view.store.supervision.make_room_for(made, self.view.viewer.agent)

    def count(self, rel: str) -> None:
        """Count what this viewer made of the file at `rel`."""
        self.view.store.supervision.counted(rel, self.view.viewer.agent)


class _Opened:
    """A file that is open for writing, by the name it has now.

    `noted` marks the note on its author, which was made `_at` then (monotonic seconds).
    """

    def __init__(self, writers: Writers, rel: str, fd: int, noted: Mark | None) -> None:
        self._writers = writers
        self._fd = fd
        self.rel = rel
        self.noted = noted
        self._at = time.monotonic()
        self._written = False
        #: Held while something is written.
        self.writing = threading.RLock()

    def wrote(self) -> None:
        """Note who wrote; what another wrote since the file was opened is a version first."""
        if not self._still_noted() and self._has_name():
            self._writers.close_version(self.rel)
            self.noted, self._at = self._writers.wrote(self.rel, "edit"), time.monotonic()
        self._written = True

    def growing(self, size: int, at: int | None) -> None:
        """See that there is room. Raises QuotaError."""
        if self._writers.limited:
            there = os.fstat(self._fd).st_size
            self.resizing(max(there, size + (there if at is None else at)))

    def resizing(self, size: int) -> None:
        """See that there is room. Raises QuotaError."""
        if self._writers.limited:
            self._writers.make_room(self.rel, size, hold=True)

    def shrinking(self, size: int) -> None:
        """Keep text that no commit holds."""
        if size < os.fstat(self._fd).st_size and self._has_name():
            view = self._writers.view
            view.store.before_change(self.rel, view.viewer.agent)

    def note_again(self) -> None:
        """Note once more who wrote: who committed the file while it was open has settled the note.
        Not if another file has the name by now: that one is not ours."""
        if self._written and not self._still_noted() and self._has_name():
            self.noted, self._at = self._writers.wrote(self.rel, "edit"), time.monotonic()

    def closing(self) -> None:
        """Note once more who wrote."""
        try:
            self.note_again()
            if self._writers.limited and self._written:
                self._writers.count(self.rel)
        finally:
            self._writers.closed(self)

    def _still_noted(self) -> bool:
        if self.noted is None or time.monotonic() - self._at > _NEW_SECONDS:
            return False
        return self._writers.view.store.still_noted(self.noted)

    def _has_name(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), self._writers.lstat(self.rel))
        except OSError:
            return False

"""What may have changed in the vault since it was last looked at.

An event says "look at this path", never more. Where no event can be relied on (no more watches,
another system than Linux, a network file system), the folder is looked at each time.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avm.base import paths
from avm.keeper.mount_table import MountTable
from avm.vault.files import is_memory_file_name
from avm.vault.ignore import AVM_FILE, GIT_FILE
from avm.vault.location import Vault
from avm.vault.network import unsafe_because
from avm.vault.survey import Walk

if TYPE_CHECKING:
    from avm.keeper.inotify import Event, Inotify

_RULES = (GIT_FILE, AVM_FILE)


@dataclass
class Doubt:
    """What is to be looked at: `rels`, or with `everything` the whole vault."""

    rels: set[str] = field(default_factory=set)
    everything: bool = False

    def __bool__(self) -> bool:
        return self.everything or bool(self.rels)


class Watcher:
    """Watches the folders that hold memories. Thread-safe."""

    def __init__(self, vault: Vault) -> None:
        self._root = os.fsencode(vault.root)
        self._identity = _identity(self._root)
        self._guard = threading.Lock()
        self._doubt = Doubt(everything=True)
        #: A folder may have several names: bind mounts, or a link that took the place of another.
        self._folders: dict[int, set[str]] = {}
        self._watches: dict[str, int] = {}
        #: Folders that cannot be watched.
        self._blind: set[str] = set()
        #: Files with several names: what is written through another one sends no event here.
        self._linked: set[str] = set()
        self._mounts = MountTable(vault.root)
        #: Times that the kernel's queue overflowed.
        self.overflows = 0
        #: Why folders are looked at each time; None: they are watched.
        self.hindrance: str | None = None
        self._inotify: Inotify | None = None
        if not sys.platform.startswith("linux"):
            self.hindrance = "folders are not watched on this system"
        elif why := unsafe_because(vault.root):
            self.hindrance = f"folders are not watched: {why}"
        else:
            self._open()

    def _open(self) -> None:
        from avm.keeper.inotify import Inotify

        try:
            self._inotify = Inotify()
        except OSError as err:
            self.hindrance = f"{err.strerror}: raise fs.inotify.max_user_instances"

    @property
    def fd(self) -> int | None:
        """A descriptor that becomes readable when there is something to drain."""
        return self._inotify.fd if self._inotify else None

    @property
    def gone(self) -> bool:
        """Whether the vault was moved or removed, or something else is in its place."""
        return _identity(self._root) != self._identity

    @property
    def watched(self) -> int:
        """How many folders are watched."""
        return len(self._watches)

    @property
    def unwatched(self) -> int:
        """How many are not, although they should be."""
        return len(self._blind)

    def drain(self) -> None:
        """Take in all that the kernel has queued up to now."""
        with self._guard:
            if self._inotify:
                for event in self._inotify.drain():
                    self._heard(event)
            if self._mounts.changed():
                self._doubt.everything = True

    def pending(self) -> bool:
        """Whether there is anything to look at, besides what must be looked at each time."""
        with self._guard:
            return bool(self._doubt)

    @property
    def always(self) -> bool:
        """Whether something must be looked at each time."""
        return self._inotify is None or bool(self._blind or self._linked)

    def doubt_everything(self) -> None:
        """Have the whole vault looked at."""
        with self._guard:
            self._doubt.everything = True

    def take(self) -> Doubt:
        """What is to be looked at now; from here on new doubts are collected."""
        with self._guard:
            doubt, self._doubt = self._doubt, Doubt()
            doubt.everything |= self._inotify is None
            doubt.rels |= paths.topmost(self._blind) | self._linked
            return doubt

    def settle(self, seen: Doubt, walk: Walk) -> set[str]:
        """Watch the folders that a look at `seen` found, and no others that it should have found.

        Returns those that were not watched while they were looked at: look at them again.
        """
        with self._guard:
            # Another name of a file may be a memory too, and no event told of it.
            links = bool(walk.linked - self._linked) and not seen.everything
            if seen.everything:
                self._linked, self._blind = set(walk.linked), set()
                self.hindrance = self.hindrance if self._inotify is None else None
                for rel in [rel for rel in self._watches if rel not in walk.folders]:
                    self._forget(rel)
            else:
                for known in (self._linked, self._blind):
                    known -= {rel for rel in known if paths.is_below_any(rel, seen.rels)}
                self._linked |= walk.linked
            if self._inotify is None:
                return set()
            again = {rel for rel in walk.folders if self._watch(rel)}
            return again | {""} if links else again

    def close(self) -> None:
        """Watch nothing any more."""
        self._mounts.close()
        if self._inotify:
            self._inotify.end()
            self._inotify = None

    # With the guard held

    def _watch(self, rel: str) -> bool:
        """Watch the folder at `rel`; True if it was not watched until now."""
        from avm.keeper.inotify import LimitReachedError

        assert self._inotify
        try:
            watch = self._inotify.watch(self._root + b"/" + os.fsencode(rel))
        except LimitReachedError:
            self.hindrance = "no more inotify watches: raise fs.inotify.max_user_watches"
            self._blind.add(rel)
            return False
        except OSError:  # it went meanwhile, or may not be read
            self._blind.add(rel)
            return False
        before = self._watches.get(rel)
        if before == watch:
            return False
        if before is not None:
            self._forget(rel)
        self._folders.setdefault(watch, set()).add(rel)
        self._watches[rel] = watch
        return True

    def _forget(self, rel: str) -> None:
        watch = self._watches.pop(rel)
        names = self._folders[watch]
        names.discard(rel)
        if not names:
            del self._folders[watch]
            if self._inotify:
                self._inotify.forget(watch)

    def _heard(self, event: Event) -> None:
        if event.overflow:
            self.overflows += 1
            self._doubt.everything = True
            return
        for folder in tuple(self._folders.get(event.watch, ())):
            self._heard_in(folder, event)

    def _heard_in(self, folder: str, event: Event) -> None:
        if not event.name:
            self._heard_of_itself(folder, event)
            return
        name = os.fsdecode(event.name)
        rel = f"{folder}/{name}" if folder else name
        if name in _RULES:
            self._doubt.everything = True
        elif paths.is_hidden_name(name):
            return
        elif event.is_folder:
            if event.moved:
                self._leave(rel)
            self._doubt.rels.add(rel)
        elif is_memory_file_name(name):
            self._doubt.rels.add(rel)
        elif self._has_other_names(rel):
            self._doubt.everything = True

    def _has_other_names(self, rel: str) -> bool:
        """Whether this may be a memory's file: what is written here is then in the memory too."""
        try:
            return os.lstat(self._root + b"/" + os.fsencode(rel)).st_nlink > 1
        except OSError:
            return False

    def _heard_of_itself(self, folder: str, event: Event) -> None:
        if not event.ended:  # its times or rights
            if folder:
                self._doubt.rels.add(folder)
            else:
                self._doubt.everything = True
            return
        if event.moved:
            self._leave(folder)
        elif folder in self._watches:
            self._forget(folder)
        self._doubt.rels.add(folder)

    def _leave(self, folder: str) -> None:
        """The folder is elsewhere now: forget the watches in it."""
        for rel in [rel for rel in self._watches if paths.is_below(rel, folder)]:
            self._forget(rel)
        self._blind = {rel for rel in self._blind if not paths.is_below(rel, folder)}


def _identity(place: bytes) -> tuple[int, int] | None:
    try:
        status = os.stat(place)
    except OSError:
        return None
    return status.st_dev, status.st_ino

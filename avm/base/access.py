"""Who sees and writes what: the one place of the check (docs/access.md).

An agent reads and writes its own private folder and `/memory/shared/**`, and what the owner's own
configuration gives it (avm.base.access_rules); everything else does not exist for it. The owner (no
agent) sees all. Every door asks the functions here; the index turns `read_folders` and `denied`
into a filter in its SQL, before any top-k.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from avm.base import paths


class Quota(NamedTuple):
    """How much an agent may have: files, and bytes in them. None: as much as it likes."""

    files: int | None = None
    bytes: int | None = None


class Rules(NamedTuple):
    """What the owner's configuration says of one agent. Rels of files, or of folders with all in
    them.

    `write` may be read too; `deny` wins over everything. `read_only`: it writes nothing at all.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    read_only: bool = False
    quota: Quota = Quota()


NO_RULES = Rules()


class Verdict(NamedTuple):
    """Whether something may be done, and why."""

    allowed: bool
    why: str


#: What some disks take no notice of in a name (Unicode's Default_Ignorable_Code_Point).
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def compared(rel: str) -> str:
    """A name as it is held against what is denied.

    Without letter case, Unicode's forms and its invisible characters, so that no twin on a disk
    that ignores them leads around a rule. A conflict copy counts as the file that it is of: what
    two sides wrote to it is beside it under a name that no rule foresees.
    """
    name = paths.folded(rel if rel.isascii() else _UNSEEN.sub("", rel))
    while original := paths.copied_from(name):
        name = original
    return name


@dataclass(frozen=True)
class Viewer:
    """The one for whom a door acts: an agent, or the owner if `agent` is None.

    `read_folders`: the rels that this viewer may read with all below; None means the whole vault.
    `denied`: what of that it may not, as `compared`.
    """

    agent: str | None = None
    rules: Rules = NO_RULES
    read_folders: tuple[str, ...] | None = field(init=False, compare=False)
    write_folders: tuple[str, ...] = field(init=False, compare=False)
    denied: tuple[str, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        own: tuple[str, ...] = ()
        if self.agent is not None:
            own = (paths.agent_folder(self.agent), paths.SHARED)
        write = () if self.rules.read_only else tuple(dict.fromkeys((*own, *self.rules.write)))
        read = tuple(dict.fromkeys((*own, *self.rules.read, *self.rules.write)))
        object.__setattr__(self, "read_folders", None if self.agent is None else read)
        object.__setattr__(self, "write_folders", write)
        object.__setattr__(self, "denied", tuple(map(compared, self.rules.deny)))

    @property
    def home(self) -> str:
        """Where this viewer's memories go when nothing else is said, as a rel."""
        return paths.SHARED if self.agent is None else paths.agent_folder(self.agent)

    def can_read(self, rel: str) -> bool:
        """Whether the file or folder `rel` may be read."""
        folders = self.read_folders
        if folders is None:
            return True
        if not any(rel == f or rel.startswith(f + "/") for f in folders):
            return False
        return not self._denies(rel)

    def reads_all_in(self, folder: str) -> bool:
        """Whether everything in the folder may be read, now and later."""
        return self.can_read(folder) and not self._denies_in(folder)

    def writes_all_in(self, folder: str) -> bool:
        """Whether the folder may be moved with everything in it: a rule is on a place, and what it
        hides would come into sight elsewhere."""
        return self.can_write(folder) and not self._denies_in(folder)

    def shows_folder(self, rel: str) -> bool:
        """Whether the folder `rel` exists for this viewer: readable, or on the way to what is."""
        folders = self.read_folders
        if folders is None or rel == "" or self.can_read(rel):
            return True
        if self._denies(rel):
            return False
        return any(_leads_to(rel, f) for f in folders)

    def can_write(self, rel: str) -> bool:
        """Whether `rel` may be made, changed or removed.

        Nobody writes the vault's own `.git` through AVM; agents write neither `.git*` nor
        `.avmignore` files, which would configure git and AVM for everybody, nor what has the name
        of AVM's temporary files, which nobody sees.
        """
        if paths.in_dot_git(rel):
            return False
        if self.agent is None:
            return True
        # A folder that is an agent's to write in is not its own to remove; a single file is.
        inside = any(rel.startswith(f + "/") for f in self.write_folders)
        inside = inside or (rel in self.write_folders and paths.is_memory_name(rel))
        if not inside or any(_is_reserved(part) for part in rel.split("/")):
            return False
        return not self._denies(rel)

    def can_add_to(self, folder: str) -> bool:
        """Whether new files may be made in the folder, but for such as are denied by their name."""
        if paths.in_dot_git(folder):
            return False
        inside = self.agent is None or _is_in(folder, self.write_folders)
        reserved = self.agent is not None and any(map(_is_reserved, folder.split("/")))
        return inside and not reserved and not self._denies(folder)

    def _denies(self, rel: str) -> bool:
        return bool(self.denied) and _is_in(compared(rel), self.denied)

    def _denies_in(self, folder: str) -> bool:
        return any(_leads_to(compared(folder), denied) for denied in self.denied)

    def reading(self, rel: str) -> Verdict:
        """Whether `rel` may be read, and by what rule; for people."""
        if self.agent is None:
            return Verdict(True, "the owner sees all")
        if self._denies(rel):
            return Verdict(False, f"deny: {_shown(rel, self.rules.deny)}")
        return self._given(rel, writing=False)

    def _given(self, rel: str, *, writing: bool) -> Verdict:
        """What gives `rel` to the viewer, to read or to write."""
        if self.agent is None:
            return Verdict(True, "the owner sees all")
        for name, folders in (
            ("its own folder", (paths.agent_folder(self.agent),)),
            ("shared", (paths.SHARED,)),
            ("read", () if writing else self.rules.read),
            ("write", self.rules.write),
        ):
            if _is_in(rel, folders):
                return Verdict(True, f"{name}: {_shown(rel, folders)}")
        return Verdict(False, "nothing gives it to this agent: to it, it does not exist")

    def writing(self, rel: str) -> Verdict:
        """Whether `rel` may be written, and by what rule; for people."""
        if self.can_write(rel):
            return self._given(rel, writing=True)
        read = self.reading(rel)
        if not read.allowed:
            return read
        if self.rules.read_only:
            return Verdict(False, "read_only")
        if any(_is_reserved(part) for part in rel.split("/")):
            return Verdict(
                False, "a name that would configure git or AVM for everybody, or that is AVM's own"
            )
        return Verdict(False, "nothing lets this agent write there")


OWNER = Viewer()


def _is_in(rel: str, folders: Collection[str]) -> bool:
    return any(rel == f or rel.startswith(f + "/") for f in folders)


def _leads_to(folder: str, rel: str) -> bool:
    return rel.startswith(folder + "/") or (folder == "" and rel != "")


def _shown(rel: str, folders: Collection[str]) -> str:
    one = next(f for f in folders if _is_in(compared(rel), (compared(f),)))
    return paths.display(one)


def _is_reserved(name: str) -> bool:
    seen = compared(name)
    return seen.startswith((".git", paths.TEMP_PREFIX)) or seen == ".avmignore"

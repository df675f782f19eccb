"""What of the tree holds memories: a walk of all of it, or a look at some paths.

The ignore rules of every folder are kept between looks. Rules that changed where a look cannot tell
what they now mean for the rest of the tree make it ask for a walk.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from avm.base import paths
from avm.vault import files, ignore
from avm.vault.files import Stamp
from avm.vault.ignore import AVM_FILE, GIT_FILE, OuterRules, RuleFile, Rules, SeenFile
from avm.vault.location import Vault

_RULE_FILES = (GIT_FILE, AVM_FILE)


@dataclass
class Walk:
    """What was found. Everything is a rel; the root is "".

    `undecodable`: files that would be memories if their names were UTF-8; `folders`: the folders
    that were entered; `linked`: memories with a second name, under which they may change unseen;
    `scope`: what was looked at, whatever of the index is at or below it is to be compared.
    """

    memories: dict[str, Stamp] = field(default_factory=dict)
    undecodable: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    linked: set[str] = field(default_factory=set)
    scope: set[str] = field(default_factory=set)


class Survey:
    """Looks at one vault's tree, again and again. Thread safe."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._outer = OuterRules(vault)
        self._base = Rules()
        #: Rule files by rel, of the folders that were entered.
        self._rule_files: dict[str, RuleFile] = {}
        self._folders: set[str] = set()
        #: git's index, if git's rules ignored anything, and the files in it that they match.
        self._git_index: SeenFile | None = None
        self._tracked: frozenset[str] = frozenset()
        self._index_moved = False
        self._stale = True
        self._guard = threading.RLock()

    def walk(self) -> Walk:
        """Find every memory. Links are not followed; unreadable folders are empty."""
        with self._guard:
            self._stale = True  # until this walk is complete
            self._base = self._outer.rules()
            look = _Look(self._vault, self._base, self._rule_files, {}, set())
            look.at("")
            if look.ignored_something:
                self._track()
            else:
                self._git_index, self._tracked = None, frozenset()
            for rel in self._tracked:
                look.add_tracked(rel)
            look.found.scope.add("")
            self._rule_files, self._folders = look.rule_files, set(look.found.folders)
            self._stale = False
            return look.found

    def look(self, rels: Iterable[str]) -> Walk | None:
        """Find the memories among `rels` and below those that are folders.

        None if the rules changed so that only a walk tells, and before the first walk. Looks at
        what came into or went out of git's index too, where that matters: `scope` has it all.
        """
        with self._guard:
            if self._stale or self._outer.changed():
                self._stale = True
                return None
            self._stale = True  # until this look is complete
            scope = set(rels) | self._newly_tracked()
            scope = paths.topmost(scope)
            look = _Look(self._vault, self._base, self._rule_files, self._rule_files, self._folders)
            for rel in scope:
                look.at(rel)
            if look.ignored_something and self._git_index is None:
                self._track()
            for rel in self._tracked:
                if paths.is_below_any(rel, scope):
                    look.add_tracked(rel)
            if look.rules_changed:
                return None
            gone = scope & self._folders
            self._folders = {
                f for f in self._folders if not gone or not paths.is_below_any(f, gone)
            }
            self._folders |= look.found.folders
            look.found.scope = scope
            self._stale = False
            return look.found

    def stale(self) -> bool:
        """Whether rules outside of the tree changed since the last walk; starts no program.

        git's index is among them where git's rules ignored something: a tracked file never is. A
        look at nothing catches up with that; all other changes need a walk.
        """
        with self._guard:
            self._stale |= self._outer.changed()
            self._index_moved |= self._git_index is not None and self._git_index.changed()
            return self._stale or self._index_moved

    def doubt(self) -> None:
        """Have the next look ask for a walk: what changed was not seen to for all of the tree."""
        with self._guard:
            self._stale = True

    def _newly_tracked(self) -> frozenset[str]:
        """What git's index took in or left out of what git's rules ignore, since it was asked."""
        if self._git_index is None or not (self._index_moved or self._git_index.changed()):
            return frozenset()
        before = self._tracked
        self._track()
        return before ^ self._tracked

    def _track(self) -> None:
        # Looked at first: what changes while git reads it is asked for again.
        self._git_index = SeenFile(self._vault.git_index)
        self._index_moved = False
        self._tracked = frozenset(ignore.tracked_in_spite(self._vault))


def _listed(place: str) -> tuple[int, list[os.DirEntry[str]]]:
    """What is in a folder, and the descriptor that is needed to ask more of it. Raises OSError."""
    fd = files.open_quietly(place, os.O_DIRECTORY)
    try:
        with os.scandir(fd) as listing:
            return fd, list(listing)
    except BaseException:
        os.close(fd)
        raise


class _Look:
    """One walk or look. `known`: the rule files that were there before, by rel; `rule_files`:
    where those that are there are kept; `folders`: those that were entered before."""

    def __init__(
        self,
        vault: Vault,
        base: Rules,
        known: dict[str, RuleFile],
        rule_files: dict[str, RuleFile],
        folders: set[str],
    ) -> None:
        self.found = Walk()
        self.ignored_something = False
        #: A rule file above what was looked at says something else than it did.
        self.rules_changed = False
        self.rule_files = rule_files
        self._vault = vault
        self._root = str(vault.root)
        self._base = base
        self._known = known
        self._folders = folders
        self._inside: dict[str, Rules | None] = {}

    def at(self, rel: str) -> None:
        """Take in the memory `rel`, or all that are below it."""
        if not rel:
            self._below("", self._base)
            return
        folder, _, name = rel.rpartition("/")
        rules = self._enter(folder)
        if rules is None:
            # It is ignored, and was entered for a file in it that is tracked all the same.
            self.rules_changed |= name == AVM_FILE and folder in self._folders
            return
        if paths.is_hidden_name(name):
            return
        try:
            status = os.lstat(f"{self._root}/{rel}")
        except (OSError, ValueError):
            return
        if stat.S_ISDIR(status.st_mode):
            if self._keeps(rel, rules, is_dir=True):
                self._below(rel, rules)
        elif stat.S_ISREG(status.st_mode) and files.is_memory_file_name(name):
            self._take(rel, rules, status)

    def add_tracked(self, rel: str) -> None:
        """Take in a file that git tracks though its rules match it; `.avmignore` holds for it."""
        if rel in self.found.memories or not files.could_be_memory(rel):
            return
        rules, folders = Rules(), [""]
        for end in (n for n, char in enumerate(rel + "/") if char == "/"):
            rules = self._entering(folders[-1], rules, None)
            if rules.avm_ignores(rel[:end], is_dir=end < len(rel)):
                return
            folders.append(rel[:end])
        # Where it is missing it may come back, and nothing else is a reason to watch its folder.
        there = (folder for folder in folders[:-1] if files.is_folder(self._vault, folder))
        self.found.folders.update(there)
        status = files.regular_file(self._vault, rel)
        if status is not None:
            self._note(rel, status)

    def _below(self, top: str, outer: Rules) -> None:
        waiting = [(top, outer)]
        while waiting:
            folder, rules = waiting.pop()
            place = f"{self._root}/{folder}" if folder else self._root
            try:
                fd, entries = _listed(place)
            except OSError as err:
                files.raise_if_exhausted(err, place)
                continue
            try:
                waiting += self._in_folder(folder, rules, entries)
            finally:
                os.close(fd)

    def _in_folder(
        self, folder: str, rules: Rules, entries: Sequence[os.DirEntry[str]]
    ) -> list[tuple[str, Rules]]:
        """Take in what is in a folder; the folders in it that may hold memories."""
        memories, below = self.found.memories, []
        self.found.folders.add(folder)
        names = [entry.name for entry in entries if entry.name in _RULE_FILES]
        rules = self._entering(folder, rules, names)
        prefix = folder + "/" if folder else ""
        ruled = bool(rules.git_specs or rules.avm_specs)
        for entry in entries:  # the inner loop of every scan
            name = entry.name
            if name[0] == ".":
                continue
            if entry.is_dir(follow_symlinks=False):
                if not ruled or self._keeps(prefix + name, rules, is_dir=True):
                    below.append((prefix + name, rules))
            elif (
                (name[-3:] == ".md" and name[0] != "#") or files.is_memory_file_name(name)
            ) and entry.is_file(follow_symlinks=False):
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:  # removed while we looked
                    continue
                rel = prefix + name
                if ruled or not rel.isascii() or status.st_nlink > 1:
                    self._take(rel, rules, status)
                else:
                    memories[rel] = Stamp.of(status)
        return below

    def _take(self, rel: str, rules: Rules, status: os.stat_result) -> None:
        if not paths.is_utf8(rel) or self._keeps(rel, rules, is_dir=False):
            self._note(rel, status)

    def _note(self, rel: str, status: os.stat_result) -> None:
        if not paths.is_utf8(rel):
            self.found.undecodable.append(rel)
            return
        self.found.memories[rel] = Stamp.of(status)
        if status.st_nlink > 1:
            self.found.linked.add(rel)

    def _keeps(self, rel: str, rules: Rules, *, is_dir: bool) -> bool:
        if rules.avm_specs and rules.avm_ignores(rel, is_dir=is_dir):
            return False
        if rules.git_specs and rules.git_ignores(rel, is_dir=is_dir):
            self.ignored_something = True
            return False
        return True

    def _enter(self, folder: str) -> Rules | None:
        """The rules inside of `folder`; None if no memory can be in it, or it is none."""
        missing = []
        while folder and folder not in self._inside:
            missing.append(folder)
            folder = paths.parent(folder)
        if "" not in self._inside:
            self._inside[""] = self._entering("", self._base, None)
        rules = self._inside[folder]
        for folder in reversed(missing):
            if rules is not None and self._is_entered(folder, rules):
                rules = self._entering(folder, rules, None)
            else:
                rules = None
            self._inside[folder] = rules
        return rules

    def _is_entered(self, folder: str, rules: Rules) -> bool:
        place = f"{self._root}/{folder}"
        try:
            is_folder = stat.S_ISDIR(os.lstat(place).st_mode)
        except (OSError, ValueError):
            return False
        if not is_folder or paths.is_hidden_name(paths.name_of(folder)):
            return False
        return self._keeps(folder, rules, is_dir=True) and os.access(place, os.R_OK)

    def _entering(self, folder: str, rules: Rules, names: Collection[str] | None) -> Rules:
        """The rules inside of `folder`; `names`: its rule files if all of it is looked at, else
        they are looked for, and what changed in them is noted."""
        found: list[RuleFile | None] = []
        changed = False
        for name in _RULE_FILES:
            rel = f"{folder}/{name}" if folder else name
            file = self._known.get(rel)
            if file is not None:
                changed |= file.changed()
            elif name in names if names is not None else os.path.lexists(f"{self._root}/{rel}"):
                file = RuleFile(f"{self._root}/{rel}", folder)
                changed |= folder in self._folders
            if file is None or file.raw is None:
                self.rule_files.pop(rel, None)
                found.append(None)
            else:
                self.rule_files[rel] = file
                found.append(file)
        self.rules_changed |= changed and names is None
        return rules.with_files(*found)

"""Merging two commits: what each path becomes, by rules that do not ask which side is ours.

git tells what each side changed, renames included (docs/sync-and-conflicts.md has the rules). The
result is what differs from one of the two; nothing is checked out here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from avm.base import merging, paths
from avm.base.errors import RepositoryError
from avm.base.merging import Side
from avm.vault import git
from avm.vault.location import Vault
from avm.vault.merge_lines import merge_lines
from avm.vault.objects import SUBMODULE_MODE, Blob, Objects, Signature

#: git's own: half of the lines, and of how many files each is compared with each.
_RENAMES = ("-M50%", "-l1000", "--no-rename-empty")


@dataclass
class TreeMerge:
    """What a merge comes to. `put`: how the merged tree differs from that of `ours`.

    `copies`: conflict copies by rel, each with the path that it is of; `kept`: what one side
    removed and the other changed, which stays; `renamed`: both sides' names of what got two, and
    which of them stays.
    """

    put: dict[str, Blob | None] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    renamed: dict[tuple[str, str], str] = field(default_factory=dict)


def merge_bases(vault: Vault, one: str, other: str) -> list[str]:
    """The best common ancestors of two commits, by id. Raises RepositoryError."""
    done = git.run(vault.root, ("merge-base", "--all", one, other), check=False)
    if done.returncode not in (0, 1):
        raise RepositoryError(f"git merge-base: {git.last_line(done.stderr)}")
    return sorted(done.stdout.decode().split())


def merge(
    vault: Vault, objects: Objects, ours: str, theirs: str, signature: Signature
) -> TreeMerge:
    """Merge two commits (ids). `signature` is for ancestors that have to be made up: git's history
    may have crossed. Raises RepositoryError.
    """
    try:
        return _merged(vault, objects, ours, theirs, signature, {})
    except RecursionError:
        raise RepositoryError(
            "the two histories have crossed too often: git merge, then avm sync"
        ) from None


#: Made-up ancestors, by what they are made of: crossed histories ask for the same again and again.
_Made = dict[tuple[str, ...], str]


def _merged(
    vault: Vault, objects: Objects, ours: str, theirs: str, signature: Signature, made: _Made
) -> TreeMerge:
    base = _base(vault, objects, merge_bases(vault, ours, theirs), signature, made)
    return _Merge(vault, objects, base, ours, theirs).run()


def difference(vault: Vault, old: str | None, new: str | None) -> dict[str, Blob | None]:
    """What each path is in `new` that is otherwise in `old`; None: it is not there. A commit that
    is None has nothing. Raises RepositoryError."""
    found: dict[str, Blob | None] = {}
    for change in _changes(vault, old, new, ("--no-renames",)):
        # A file that became a link or a submodule is one row, one that became a folder is two.
        path, _ = change.before or change.after or ("", None)
        found[path] = change.after[1] if change.after else found.get(path)
    return found


def removed_share(vault: Vault, base: str, side: str) -> tuple[int, int]:
    """How many of the memories of `base` are gone in `side`, renamed ones not counted, and how many
    there were. Raises RepositoryError."""
    changes = _changes(vault, base, side, _RENAMES)
    gone = sum(
        change.after is None and change.before is not None and paths.is_memory(change.before[0])
        for change in changes
    )
    listed = git.run(vault.root, ("ls-tree", "-r", "-z", "--name-only", "--full-tree", base)).stdout
    return gone, sum(paths.is_memory(os.fsdecode(name)) for name in listed.split(b"\0"))


def _base(
    vault: Vault, objects: Objects, bases: list[str], signature: Signature, made: _Made
) -> str | None:
    """The common ancestor; of several the merge of all, in the order of their ids."""
    if len(bases) < 2:
        return bases[0] if bases else None
    key = tuple(bases)
    if key not in made:
        found, *others = bases
        for other in others:
            put = _merged(vault, objects, found, other, signature, made).put
            message = "A common ancestor\n"
            commit = objects.write_commit(found, put, message, signature, signature, (other,))
            found = commit or found
        made[key] = found
    return made[key]


#: A name, and what is there.
_At = tuple[str, Blob]


class _Change(NamedTuple):
    """What became of one file; None: it was not there, or is gone."""

    before: _At | None
    after: _At | None


def _changes(
    vault: Vault, old: str | None, new: str | None, how: tuple[str, ...]
) -> Iterator[_Change]:
    sides = [commit or _empty_tree(vault) for commit in (old, new)]
    args = ("diff-tree", "-r", "-z", "--raw", "--no-abbrev", *how, *sides, "--")
    fields = iter(git.run(vault.root, args).stdout.split(b"\0"))
    for row in fields:
        if row:
            old_mode, mode, old_blob, blob, letter = row.decode().lstrip(":").split(" ")
            name = other = os.fsdecode(next(fields))
            if letter[0] == "R":
                other = os.fsdecode(next(fields))
            before = None if letter == "A" else (name, (old_blob, int(old_mode, 8)))
            after = None if letter == "D" else (other, (blob, int(mode, 8)))
            if before and after and _owner(name) != _owner(other):
                # Alike they are; but one agent's text must not follow into another's folder.
                yield _Change(before, None)
                yield _Change(None, after)
            else:
                yield _Change(before, after)


def _owner(rel: str) -> str | None:
    """Whose a path is: an agent's, everybody's, or nobody's but the owner's."""
    return paths.private_to(rel) or (paths.SHARED if paths.is_below(rel, paths.SHARED) else None)


def _empty_tree(vault: Vault) -> str:
    # Not written: git knows it by its id.
    made = git.run(vault.root, ("hash-object", "-t", "tree", "--stdin"), stdin=b"")
    return made.stdout.decode().strip()


class _Side:
    """What one side made of the common ancestor."""

    def __init__(self, vault: Vault, base: str | None, commit: str) -> None:
        #: What was at a path, and what became of it.
        self.changed: dict[str, _Change] = {}
        self.added: dict[str, Blob] = {}
        for change in _changes(vault, base, commit, _RENAMES):
            if change.before is None:
                assert change.after is not None
                self.added[change.after[0]] = change.after[1]
            else:
                self.changed[change.before[0]] = change

    def now(self, before: _At) -> _At | None:
        """What it has of a file of the ancestor."""
        change = self.changed.get(before[0])
        return change.after if change else before


class _Merge:
    """One merge of two commits over their common ancestor."""

    def __init__(
        self, vault: Vault, objects: Objects, base: str | None, ours: str, theirs: str
    ) -> None:
        self._vault = vault
        self._objects = objects
        self._ours_commit = ours
        self._ours = _Side(vault, base, ours)
        self._theirs = _Side(vault, base, theirs)
        self._result = TreeMerge()
        #: What wants to stand at each path, and the texts that are to be kept beside one.
        self._wanted: dict[str, set[Blob]] = {}
        self._beside: list[tuple[str, Blob, str]] = []

    def run(self) -> TreeMerge:
        """Merge."""
        changes = {**self._ours.changed, **self._theirs.changed}
        befores = [change.before for _, change in sorted(changes.items()) if change.before]
        for before in befores:
            self._follow(before)
        for side in (self._ours, self._theirs):
            for path, blob in side.added.items():
                self._wanted.setdefault(path, set()).add(blob)
        final = {path: self._settled(path, blobs) for path, blobs in self._wanted.items()}
        self._place_copies(final)
        self._part_files_from_folders(final)
        self._compare(final, befores)
        return self._result

    def _follow(self, before: _At) -> None:
        """Where a file of the ancestor goes, and what it becomes."""
        one, other = self._ours.now(before), self._theirs.now(before)
        if one is None or other is None:
            left = one or other
            if left is not None and left != before:
                self._result.kept.append(left[0])
                self._wanted.setdefault(left[0], set()).add(left[1])
            return
        names = sorted({one[0], other[0]} - {before[0]}) or [before[0]]
        if len(names) > 1:
            self._result.renamed[names[0], names[1]] = names[-1]
        blob = self._merged(names[-1], before[1], one[1], other[1])
        self._wanted.setdefault(names[-1], set()).add(blob)

    def _settled(self, path: str, blobs: set[Blob]) -> Blob:
        """What stands at a path that several want."""
        first, *others = sorted(blobs)
        for blob in others:
            first = self._merged(path, None, first, blob)
        return first

    def _merged(self, path: str, before: Blob | None, one: Blob, other: Blob) -> Blob:
        """What the two versions of one file come to; what does not fit in is kept beside it."""
        if one == other or before == other:
            return one
        if before == one:
            return other
        winner, loser = (one, other) if one >= other else (other, one)
        if not (_is_file(one) and _is_file(other)):
            if SUBMODULE_MODE in (one[1], other[1]):
                shown = paths.display(path)
                raise RepositoryError(f"{shown} is a submodule that both sides changed: git merge")
            self._beside.append((path, loser, loser[0]))
            return winner
        was = before if before and _is_file(before) else None
        mode = _merged_mode(was and was[1], one[1], other[1])
        if one[0] == other[0] or (was and was[0] == other[0]):
            return one[0], mode
        if was and was[0] == one[0]:
            return other[0], mode
        if any(
            self._objects.size(blob[0]) > merging.MOST_BYTES for blob in (one, other, was) if blob
        ):
            self._beside.append((path, loser, loser[0]))
            return winner[0], mode
        read = self._objects.read_blob
        merged = merging.merge(
            path,
            read(was[0]) if was else None,
            Side(read(one[0]), one[0]),
            Side(read(other[0]), other[0]),
            lambda *texts: merge_lines(self._vault.git_state, *texts),
        )
        if merged.copy is not None:
            copy = self._objects.write_blob(merged.copy)
            self._beside.append((path, (copy, loser[1]), merged.loser))
        return self._objects.write_blob(merged.data), mode

    def _place_copies(self, final: dict[str, Blob]) -> None:
        """Put what is kept beside its file into the tree, under names that are free."""
        for path, blob, loser in sorted(self._beside):
            self._place_copy(final, path, blob, loser)

    def _place_copy(self, final: dict[str, Blob], path: str, blob: Blob, loser: str) -> None:
        digits = merging.COPY_DIGITS
        while True:
            name = merging.copy_name(path, loser, digits)
            if self._is_free(final, name, blob) or digits >= len(loser):
                break
            digits += merging.MORE_DIGITS
        final[name] = blob
        self._result.copies[name] = path

    def _is_free(self, final: Mapping[str, Blob], name: str, blob: Blob) -> bool:
        """Whether `blob` may stand at `name`, or does already."""
        there = final.get(name)
        if there is None and not any(name in side.changed for side in (self._ours, self._theirs)):
            # What neither side changed both have.
            there = self._objects.entries(self._ours_commit, [name]).get(name)
        return there in (None, blob)

    def _part_files_from_folders(self, final: dict[str, Blob]) -> None:
        """A file whose name is a folder's by now is kept beside that."""
        folders = {folder for path in final for folder in folders_of(path)}
        for path in sorted(folders & final.keys()):
            blob = final.pop(path)
            self._place_copy(final, path, blob, blob[0])

    def _compare(self, final: Mapping[str, Blob], befores: list[_At]) -> None:
        """What is to be put into the tree of ours to make it the merged one."""
        ours = {at[0]: at[1] for at in map(self._ours.now, befores) if at} | self._ours.added
        beside = [name for name in final if name not in ours]
        ours |= self._objects.entries(self._ours_commit, beside)
        for path in sorted({*ours, *final}):
            if ours.get(path) != final.get(path):
                self._result.put[path] = final.get(path)


def _merged_mode(before: int | None, one: int, other: int) -> int:
    """Executable if one side made it so, or if nobody knows."""
    if before in (one, other):
        return other if before == one else one
    return max(one, other)


def _is_file(blob: Blob) -> bool:
    return stat.S_ISREG(blob[1])


def folders_of(path: str) -> Iterator[str]:
    """The folders on the way to a path, the topmost first."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)

"""The vault's files: walking the memories, reading one without following links out of the vault."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from avm.base import paths
from avm.base.errors import NotFoundError
from avm.vault.ignore import Rules, base_rules, tracked_in_spite
from avm.vault.location import Vault

#: A file read less than this after its stamp may have been written again within the stamp's
#: resolution, so it is read once more (git's racy rule; 2 s is FAT's resolution).
RACY_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one version of a file from another without reading it (DESIGN: ctime too, since
    `rsync -t` and `touch -r` keep mtime). Times in nanoseconds."""

    mtime_ns: int
    ctime_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """The stamp in a stat result."""
        return cls(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


@dataclass
class Walk:
    """What one walk found: memories by rel, and the names that cannot be memories."""

    memories: dict[str, Stamp]
    undecodable: list[str]


def walk(vault: Vault) -> Walk:
    """Find every memory with its stamp. Links are not followed; unreadable folders are empty."""
    return _Walker(vault).walk()


class _Walker:
    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._found = Walk({}, [])
        self._ignored_something = False

    def walk(self) -> Walk:
        self._folder(self._vault.root, "", base_rules(self._vault))
        if self._ignored_something:
            for rel in tracked_in_spite(self._vault):
                self._add_tracked(rel)
        return self._found

    def _folder(self, folder: Path, rel: str, rules: Rules) -> None:
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError:
            return
        rules = rules.entering(folder, rel, (entry.name for entry in entries))
        prefix = rel + "/" if rel else ""
        for entry in entries:
            name = entry.name
            if paths.is_hidden_name(name):
                continue
            if entry.is_dir(follow_symlinks=False):
                if self._kept(prefix + name, rules, is_dir=True):
                    self._folder(folder / name, prefix + name, rules)
            elif is_memory_file_name(name) and entry.is_file(follow_symlinks=False):
                self._file(entry, prefix + name, rules)

    def _file(self, entry: os.DirEntry[str], rel: str, rules: Rules) -> None:
        if not paths.is_utf8(rel):
            self._found.undecodable.append(rel)
            return
        if not self._kept(rel, rules, is_dir=False):
            return
        with contextlib.suppress(FileNotFoundError):  # removed while we looked
            self._found.memories[rel] = Stamp.of(entry.stat(follow_symlinks=False))

    def _kept(self, rel: str, rules: Rules, *, is_dir: bool) -> bool:
        if rules.avm_specs and rules.avm_ignores(rel, is_dir=is_dir):
            return False
        if rules.git_specs and rules.git_ignores(rel, is_dir=is_dir):
            self._ignored_something = True
            return False
        return True

    def _add_tracked(self, rel: str) -> None:
        if rel in self._found.memories or not could_be_memory(rel):
            return
        rules, folder = Rules(), ""
        for part in rel.split("/"):
            place = self._vault.path(folder)
            try:
                names = os.listdir(place)
            except OSError:
                return  # tracked, and removed with its folder
            rules = rules.entering(place, folder, (name for name in names if name[0] == "."))
            folder = f"{folder}/{part}" if folder else part
            if rules.avm_ignores(folder, is_dir=folder != rel):
                return
        status = regular_file(self._vault, rel)
        if status is not None:
            self._found.memories[rel] = Stamp.of(status)


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
    place = vault.root
    status = None
    for name in rel.split("/"):
        place = place / name
        try:
            status = place.lstat()
        except (OSError, ValueError):
            return None
        if stat.S_ISLNK(status.st_mode):
            return None
    return status


def read(vault: Vault, rel: str) -> bytes:
    """The bytes of a regular file. Raises NotFoundError, also for links and folders."""
    if regular_file(vault, rel) is not None:
        try:
            return vault.path(rel).read_bytes()
        except OSError:
            pass
    raise NotFoundError(f"no file at {paths.display(rel)}")

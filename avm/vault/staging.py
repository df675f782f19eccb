"""What is put where in the next commit: the bytes on disk, checked, and a copy of git's index.

The git program stages into the copy: it applies filters and encodings and records the stat data,
without which `git diff-files` would call the files modified. New objects go to a folder of their
own first (git's quarantine): a file may change between our reading and git's, and what was never
checked must not get into the repository.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from avm.base import memory_file, paths
from avm.base.errors import RepositoryError
from avm.vault import git, index_file
from avm.vault.changes import Change, changes
from avm.vault.files import RACY_NS, Stamp, goes_through_link, open_quietly
from avm.vault.history import head
from avm.vault.location import Vault
from avm.vault.objects import FILE_MODE, Blob, Moved, Objects

_EMPTY_BLOBS = (
    "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
)
#: Where in AVM's state new objects are put aside. Under the committers' mutex there is one user.
QUARANTINE = "quarantine"
_LINK_MODE = 0o120000
#: Files over this are read by git alone; what stands in their first megabyte is checked.
_MOST_IN_MEMORY = 64 * 1024 * 1024
_CHECKED_BYTES = 1024 * 1024

#: Why the content of a path is held back from git; None if it is not.
Check = Callable[[str, bytes], str | None]


@dataclass(frozen=True)
class _Source:
    """A path's bytes as they were read. `raw` is None if it is too
    long to be held in memory."""

    raw: bytes | None
    head: bytes
    status: os.stat_result
    mode: int

    @property
    def stamp(self) -> Stamp:
        """Tells later versions of the file."""
        return Stamp.of(self.status)

    @property
    def checked(self) -> bytes:
        """What is looked at for secrets."""
        return self.head if self.raw is None else self.raw


@dataclass
class Prepared:
    """Paths that were read and checked: which are gone, which are there, which are held back and
    why. `verbatim`: the blobs of those that git stores as they are."""

    earlier: dict[str, Blob]
    gone: list[str] = field(default_factory=list)
    sources: dict[str, _Source] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    verbatim: dict[str, Blob] = field(default_factory=dict)
    dropped_front: set[str] = field(default_factory=set)

    def expected(self) -> Staged | None:
        """What staging will come to, if git does as is to be expected; None if that is not sure."""
        if len(self.verbatim) < len(self.sources):
            return None
        blobs: dict[str, Blob | None] = {**self.verbatim, **dict.fromkeys(self.gone)}
        return Staged(blobs, self.held, frozenset(self.dropped_front))


@dataclass(frozen=True)
class Staged:
    """What goes into trees at each path (None: out of them), which paths cannot be staged and why,
    and which memories lost their front matter to the bytes that are staged."""

    blobs: dict[str, Blob | None]
    refused: dict[str, str]
    dropped_front: frozenset[str]


def changes_of(
    vault: Vault, objects: Objects, head: str | None, names: Collection[str]
) -> list[Change]:
    """What `changes` says, for `names` alone and without a look at every other file.

    A path that is as HEAD has it may be among it where git converts what it stores. Raises
    RepositoryError.
    """
    indexed = index_file.entries(vault, vault.git_index, names)
    committed = objects.entries(head, names)
    ignored = objects.ignored([name for name in names if name not in indexed])
    found: list[Change] = []
    odd: list[str] = []
    for name in names:
        entries = indexed.get(name, [])
        exists = _exists(vault, name)
        if any(stage for _, stage in entries):
            found.append(Change(name, "changed", staged=True, unmerged=True))
        elif not entries:
            if name in committed:
                found.append(Change(name, "deleted", staged=True))
            elif exists and name not in ignored and not _in_nested_repository(vault, name):
                found.append(Change(name, "added", staged=False))
        elif name not in committed and entries[0][0][0] in _EMPTY_BLOBS:
            odd.append(name)  # `git add -N`, or an empty file that was added
        elif entries[0][0] != committed.get(name):
            found.append(Change(name, "changed" if exists else "deleted", staged=True))
        elif not exists:
            found.append(Change(name, "deleted", staged=False))
        elif blob_on_disk(vault, name, like=entries[0][0][0]) != entries[0][0]:
            found.append(Change(name, "changed", staged=False))
    edited = {change.path for change in found if change.kind == "changed" and not change.staged}
    watch = index_file.unwatched(vault, edited) if edited else {}
    found = [replace(change, watch=watch.get(change.path, "")) for change in found]
    return found + (changes(vault, odd) if odd else [])


def blob_on_disk(vault: Vault, rel: str, like: str) -> Blob | None:
    """What git would store of `rel` if it converts nothing; None if it is no file that is read.

    `like` is another id of the repository (avm.vault.git.blob_id).
    """
    source = _read(vault, rel)
    if source is None or source.raw is None:
        return None
    return git.blob_id(source.raw, like), source.mode


def _read(vault: Vault, name: str) -> _Source | None:
    place = vault.path(name)
    try:
        status = place.lstat()
        if stat.S_ISLNK(status.st_mode):
            target = os.fsencode(os.readlink(place))
            return _Source(target, target, status, _LINK_MODE)
        if not stat.S_ISREG(status.st_mode):
            return None
        with open(open_quietly(str(place), 0), "rb") as file:
            status = os.fstat(file.fileno())
            whole = status.st_size <= _MOST_IN_MEMORY
            data = file.read() if whole else file.read(_CHECKED_BYTES)
    except OSError:
        return None
    mode = 0o100755 if status.st_mode & 0o100 else FILE_MODE
    head = data[:_CHECKED_BYTES]
    return _Source(data if whole else None, head, status, mode)


class Stager:
    """Stages changed paths of one vault into a copy of git's index."""

    def __init__(self, vault: Vault, objects: Objects, check: Check) -> None:
        self._vault = vault
        self._objects = objects
        self._check = check

    def held(self, names: Collection[str]) -> dict[str, str]:
        """Those of `names` whose content is held back from git, and why."""
        found = {}
        for name in names:
            source = _read(self._vault, name)
            reason = self._check(name, source.checked) if source else None
            if reason:
                found[name] = reason
        return found

    def dropping(self, names: Collection[str]) -> list[str]:
        """Those of `names` that have front matter in HEAD and none on disk."""
        committed = self._objects.entries(head(self._vault), names)
        sources = ((name, _read(self._vault, name)) for name in names if name in committed)
        return [
            name
            for name, source in sources
            if source and self._drops_front(name, source, committed[name][0])
        ]

    def prepare(
        self,
        current: Sequence[str],
        earlier: Mapping[str, str],
        committed: Mapping[str, Blob],
    ) -> Prepared:
        """Read and check `current` paths, and store what git stores as it is.

        `earlier`: the blobs of versions that are no longer on disk; `committed`: what the paths are
        in HEAD.
        """
        prepared = Prepared(
            earlier={name: (blob, mode_of(name, committed)) for name, blob in earlier.items()}
        )
        for name in current:
            if self._is_gone(name):
                prepared.gone.append(name)
                continue
            source = _read(self._vault, name)
            if source is None:
                prepared.held[name] = "it cannot be read"
            elif reason := self._check(name, source.checked):
                prepared.held[name] = reason
            else:
                prepared.sources[name] = source
                verbatim = source.mode == _LINK_MODE or self._objects.is_verbatim(name)
                if source.raw is not None and verbatim:
                    blob = self._objects.write_blob(source.raw)
                    prepared.verbatim[name] = (blob, source.mode)
                if name in committed and self._drops_front(name, source, committed[name][0]):
                    prepared.dropped_front.add(name)
        return prepared

    @contextlib.contextmanager
    def staging(self, copy: Path, prepared: Prepared) -> Iterator[Callable[[], Staged]]:
        """Make `copy` of git's index with what was prepared in it, while the caller does something
        else; call what this gives when it is wanted.

        A path that git cannot add (its filter fails) stays as it was in the index, with the reason.
        That call raises Moved if a file changed between our reading and git's.
        """
        copy.parent.mkdir(parents=True, exist_ok=True)
        expected = prepared.expected()
        if expected and self._put_in(copy, prepared):
            yield lambda: expected
            return
        with contextlib.suppress(FileNotFoundError):
            # git writes a new file and renames it into this place: the index itself stays.
            os.link(self._vault.git_index, copy)
        # git refuses to look beyond a link or at a folder to see that a file is gone: say so first.
        refused = self._update(copy, ("--force-remove",), prepared.gone)
        how, names = ("--add", "--remove"), sorted(prepared.sources)
        with self._quarantine() as (env, keep):
            variables = {**env, "GIT_INDEX_FILE": str(copy)}
            git_adds = git.Started(
                self._vault.root, _updating(how), stdin=_fed(names), env=variables
            )

            def finish() -> Staged:
                # One at a time then, to know which file it is.
                failed = {} if git_adds.finish() else self._update(copy, how, names, env)
                blobs = self._blobs_of(copy, prepared, failed)
                keep([blob[0] for blob in blobs.values() if blob])
                blobs.update((name, None) for name in prepared.gone if name not in refused)
                before = {n: blob for n, blob in prepared.earlier.items() if n not in blobs}
                self._put(copy, before)
                self._make_own(copy)
                dropped = frozenset(prepared.dropped_front & blobs.keys())
                return Staged(blobs, prepared.held | refused | failed, dropped)

            try:
                yield finish
            finally:
                git_adds.end()

    def _put_in(self, copy: Path, prepared: Prepared) -> bool:
        """Put the entries in without git, where that is all there is to do: whether it was."""
        if prepared.gone or prepared.earlier.keys() - prepared.sources.keys():
            return False
        entries = {
            name: (prepared.verbatim[name], source.status)
            for name, source in prepared.sources.items()
        }
        return index_file.put(self._vault, self._vault.git_index, copy, entries)

    def _make_own(self, copy: Path) -> None:
        """Make `copy` a file of its own if git has left it as it was: renaming one name of a file
        to its other name would do nothing."""
        with contextlib.suppress(FileNotFoundError):
            if copy.samefile(self._vault.git_index):
                copy.unlink()
                # With its time: git tells by it which entries are too young to trust.
                shutil.copy2(self._vault.git_index, copy)

    def _blobs_of(
        self, copy: Path, prepared: Prepared, refused: Collection[str]
    ) -> dict[str, Blob | None]:
        """The blob that git staged for each path, which is that of the bytes we checked."""
        now = time.time_ns()
        found: dict[str, Blob | None] = {}
        doubtful = []
        for name, source in prepared.sources.items():
            if name in refused:
                continue
            stamp = source.stamp
            settled = max(stamp.mtime_ns, stamp.ctime_ns) < now - RACY_NS
            if name in prepared.verbatim and settled and self._stamp(name) == stamp:
                found[name] = prepared.verbatim[name]
            else:
                doubtful.append(name)
        if not doubtful:
            return found
        entries = index_file.entries(self._vault, copy, doubtful)
        for name in doubtful:
            blob = entries[name][0][0] if name in entries else None
            if blob is None or not self._is_of(blob[0], name, prepared.sources[name]):
                raise Moved
            found[name] = blob
        return found

    def _is_of(self, blob: str, name: str, source: _Source) -> bool:
        """Whether git made `blob` of the bytes that were checked."""
        if source.raw is not None and git.blob_id(source.raw, blob) == blob:
            return True
        # By way of a filter, then: if the bytes are still the same, they were in between.
        again = _read(self._vault, name)
        return again is not None and (again.raw, again.head) == (source.raw, source.head)

    def _stamp(self, name: str) -> Stamp | None:
        try:
            return Stamp.of(self._vault.path(name).lstat())
        except OSError:
            return None

    def _drops_front(self, name: str, source: _Source, before: str) -> bool:
        """Whether a memory that had front matter is overwritten by bytes that have none."""
        if source.raw is None or not paths.is_memory(name):
            return False
        if memory_file.split(source.raw).has_front:
            return False
        return memory_file.split(self._objects.read_blob(before)).has_front

    def _is_gone(self, rel: str) -> bool:
        place = self._vault.path(rel)
        try:
            is_folder = stat.S_ISDIR(place.lstat().st_mode)
        except OSError:
            return True
        return is_folder or goes_through_link(self._vault, rel)

    def _update(
        self,
        copy: Path,
        how: tuple[str, ...],
        names: Sequence[str],
        env: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Run `git update-index` on the copy; one bad file holds up no other. Returns the bad ones
        and why."""
        if not names:
            return {}
        variables = {**(env or {}), "GIT_INDEX_FILE": str(copy)}
        try:
            git.run(self._vault.root, _updating(how), stdin=_fed(names), env=variables)
        except RepositoryError as err:
            if len(names) == 1:
                return {names[0]: str(err)}
            half = len(names) // 2
            refused = self._update(copy, how, names[:half], env)
            return refused | self._update(copy, how, names[half:], env)
        return {}

    def _put(self, copy: Path, blobs: Mapping[str, Blob]) -> None:
        """Set entries of the copy to blobs that are not those on disk."""
        feed = b"".join(
            f"{mode:06o} {blob}\t".encode() + os.fsencode(name) + b"\0"
            for name, (blob, mode) in blobs.items()
        )
        if feed:
            args = ("update-index", "--add", "--replace", "-z", "--index-info")
            git.run(self._vault.root, args, stdin=feed, env={"GIT_INDEX_FILE": str(copy)})

    @contextlib.contextmanager
    def _quarantine(self) -> Iterator[tuple[dict[str, str], Callable[[Collection[str]], None]]]:
        """The variables under which git puts new objects aside, and the function that takes those
        of these ids in; all others go."""
        real = self._vault.common_dir / "objects"
        folder = self._vault.git_state / QUARANTINE
        folder.mkdir(parents=True, exist_ok=True)

        def keep(blobs: Collection[str]) -> None:
            packed = False
            for blob in blobs:
                name = f"{blob[:2]}/{blob[2:]}"
                if (folder / name).exists():
                    (real / name).parent.mkdir(exist_ok=True)
                    os.replace(folder / name, real / name)
                else:
                    packed = True  # or git had it before
            # A long file goes into a pack of its own. Its index comes last: with that it counts.
            for place in sorted((folder / "pack").glob("*.*"), key=_is_index) if packed else ():
                os.replace(place, real / "pack" / place.name)

        try:
            yield (
                {
                    "GIT_OBJECT_DIRECTORY": str(folder),
                    "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(str(real)),
                },
                keep,
            )
        finally:
            empty_quarantine(self._vault)


def _updating(how: Sequence[str]) -> tuple[str, ...]:
    return ("update-index", *how, "-z", "--stdin")


def _fed(names: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(name) + b"\0" for name in names)


def empty_quarantine(vault: Vault) -> None:
    """Remove what was put aside and not taken in."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(vault.git_state / QUARANTINE):
            shutil.rmtree(vault.git_state / QUARANTINE / name, ignore_errors=True)


def _is_index(place: Path) -> bool:
    return place.suffix == ".idx"


def _quoted(place: str) -> str:
    """A path in one of git's lists of paths, which colons separate."""
    escaped = place.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def mode_of(name: str, committed: Mapping[str, Blob]) -> int:
    """The mode of an earlier version, of which only the content is known."""
    return committed[name][1] if name in committed else FILE_MODE


def _exists(vault: Vault, rel: str) -> bool:
    try:
        mode = vault.path(rel).lstat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _in_nested_repository(vault: Vault, rel: str) -> bool:
    folder = paths.parent(rel)
    while folder:
        if os.path.lexists(vault.path(folder) / ".git"):
            return True
        folder = paths.parent(folder)
    return False

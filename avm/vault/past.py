"""The tree of a commit: what a path was then, what a folder held, the bytes of a file.

Read through libgit2 where it can open the repository and many files are asked for, as in a mount;
else through the git program, which costs a process for each folder and file, and no import.
"""

from __future__ import annotations

import contextlib
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from avm.base import paths
from avm.base.errors import NotFoundError, RepositoryError
from avm.vault import git
from avm.vault.location import Vault

if TYPE_CHECKING:
    from avm.vault.objects_libgit2 import LastingRepository

_LINK, _SUBMODULE = 0o120000, 0o160000
_FOLDERS_KEPT = 512
_SIZES_KEPT = 65_536
_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class PastEntry:
    """A name in a past tree: git's mode, and the id (hex) of its tree, blob or commit."""

    mode: int
    id: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder; a submodule is an empty one."""
        return stat.S_ISDIR(self.mode) or self.mode == _SUBMODULE

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return self.mode == _LINK

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)


Folder = Mapping[str, PastEntry]


class _Objects(Protocol):
    """Reading objects by id."""

    def commit(self, oid: str) -> tuple[str, int]:
        """Its tree, and its committer's time in seconds since the epoch."""
        ...

    def tree(self, oid: str) -> list[tuple[bytes, int, str]]:
        """(name, mode, id) of what is in a tree."""
        ...

    def blob(self, oid: str) -> bytes:
        """The bytes of a blob."""
        ...


class PastTrees:
    """The trees of one vault's commits. Thread safe.

    `many`: many files will be read, so that libgit2 is worth its import.
    """

    def __init__(self, vault: Vault, *, many: bool) -> None:
        self._vault = vault
        self._many = many
        self._objects: _Objects | None = None
        self._guard = threading.Lock()
        self._commits: _Kept[str, tuple[str, int]] = _Kept(_FOLDERS_KEPT)
        self._folders: _Kept[str, Folder] = _Kept(_FOLDERS_KEPT)
        self._sizes: _Kept[str, int] = _Kept(_SIZES_KEPT)

    def time(self, commit: str) -> int:
        """When `commit` was made, in seconds since the epoch. Raises RepositoryError."""
        return self._commit(commit)[1]

    def entry(self, commit: str, rel: str) -> PastEntry | None:
        """What `rel` was at `commit`; None if it was nothing. Raises RepositoryError."""
        found = PastEntry(stat.S_IFDIR, self._commit(commit)[0])
        for name in rel.split("/") if rel else ():
            below = self._folder(found).get(name)
            if below is None:
                return None
            found = below
        return found

    def folder(self, commit: str, rel: str) -> Folder:
        """What the folder `rel` held at `commit`. Raises NotFoundError if it was none then."""
        entry = self.entry(commit, rel)
        if entry is None or not entry.is_folder:
            raise NotFoundError(f"no folder at {paths.display(rel)} then")
        return self._folder(entry)

    def read(self, entry: PastEntry) -> bytes:
        """The bytes of a file, or what a link says. Raises RepositoryError."""
        with self._guard:
            data = self._reader().blob(entry.id)
            self._sizes.of(entry.id, lambda: len(data))
        return data

    def size(self, entry: PastEntry) -> int:
        """How many bytes `read` returns. Raises RepositoryError."""
        with self._guard:
            return self._sizes.of(entry.id, lambda: len(self._reader().blob(entry.id)))

    def _commit(self, oid: str) -> tuple[str, int]:
        with self._guard:
            return self._commits.of(oid, lambda: self._reader().commit(oid))

    def _folder(self, entry: PastEntry) -> Folder:
        if not stat.S_ISDIR(entry.mode):
            return {}

        def read() -> Folder:
            found = ((_name(raw), mode, oid) for raw, mode, oid in self._reader().tree(entry.id))
            return {name: PastEntry(mode, oid) for name, mode, oid in found if _is_name(name)}

        with self._guard:
            return self._folders.of(entry.id, read)

    def _reader(self) -> _Objects:
        if self._objects is None:
            self._objects = self._opened()
        return self._objects

    def _opened(self) -> _Objects:
        if self._many:
            from avm.vault.objects_libgit2 import LastingRepository

            try:
                return _ByLibgit2(LastingRepository(self._vault))
            except RepositoryError:
                pass  # sha256 or reftable
        return _ByProgram(self._vault)


class _Kept(Generic[_Key, _Value]):
    """The values that were used last. For one thread at a time."""

    def __init__(self, most: int) -> None:
        self._items: OrderedDict[_Key, _Value] = OrderedDict()
        self._most = most

    def of(self, key: _Key, make: Callable[[], _Value]) -> _Value:
        """The value of `key`, made if it is not there."""
        value = self._items.get(key)
        if value is None:
            value = self._items[key] = make()
            if len(self._items) > self._most:
                self._items.popitem(last=False)
        self._items.move_to_end(key)
        return value


class _ByLibgit2:
    """Through libgit2."""

    def __init__(self, repository: LastingRepository) -> None:
        self._repository = repository

    def commit(self, oid: str) -> tuple[str, int]:
        """Its tree, and its committer's time."""
        with self._got(oid) as commit:
            return str(commit.tree_id), int(commit.commit_time)

    def tree(self, oid: str) -> list[tuple[bytes, int, str]]:
        """(name, mode, id) of what is in a tree."""
        with self._got(oid) as tree:
            return [(e.raw_name, int(e.filemode), str(e.id)) for e in tree]

    def blob(self, oid: str) -> bytes:
        """The bytes of a blob."""
        with self._got(oid) as blob:
            return bytes(blob.data)

    @contextlib.contextmanager
    def _got(self, oid: str) -> Iterator[Any]:
        with self._repository.used() as repo:
            try:
                found = repo[oid]
            except (KeyError, ValueError) as err:
                raise RepositoryError(f"git has lost the object {oid}: {err}") from None
            yield found


class _ByProgram:
    """Through the git program."""

    def __init__(self, vault: Vault) -> None:
        self._root = vault.root

    def commit(self, oid: str) -> tuple[str, int]:
        """Its tree, and its committer's time."""
        args = ("log", "-1", "--no-show-signature", "--format=%T %ct", "--end-of-options", oid)
        tree, time = git.output(self._root, *args, "--").split(" ")
        return tree, int(time)

    def tree(self, oid: str) -> list[tuple[bytes, int, str]]:
        """(name, mode, id) of what is in a tree."""
        lines = git.run(self._root, ("ls-tree", "-z", "--end-of-options", oid)).stdout.split(b"\0")
        found = []
        for line in filter(None, lines):
            facts, _, name = line.partition(b"\t")
            mode, _, entry = facts.decode().split(" ")
            found.append((name, int(mode, 8), entry))
        return found

    def blob(self, oid: str) -> bytes:
        """The bytes of a blob."""
        return git.run(self._root, ("cat-file", "blob", oid)).stdout


def checked_out(vault: Vault, rel: str, blob: str) -> bytes:
    """A blob as git would write it to `rel` now: through the person's filters and line ends.

    Raises RepositoryError.
    """
    args = ("cat-file", "--filters", f"--path={rel}", blob)
    return git.run(vault.root, args).stdout


def _name(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _is_name(name: str) -> bool:
    """A tree can come with a pull and hold anything: what is no file name does not exist."""
    return bool(name) and name not in (".", "..") and "/" not in name and "\0" not in name

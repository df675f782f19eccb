"""git's objects and branches through libgit2, in this process."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from avm.base.errors import RepositoryError
from avm.base.paths import is_utf8, parent
from avm.vault.location import Vault
from avm.vault.objects import SUBMODULE_MODE, Blob, Locked, Moved, Signature
from avm.vault.objects_git import GitObjects

#: A row of a tree: mode (octal digits) and id (bytes), and what tells them apart in git's object.
_Row = tuple[bytes, bytes]
_ROW = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)
_FOLDER = b"40000"
#: libgit2 counts the objects as git stores them; in memory they take four times as much.
_CACHE_BYTES = 2 * 1024 * 1024
#: As much of a pack is mapped at a time, and as much of all packs together, in bytes.
_WINDOW, _MAPPED = 1024 * 1024, 16 * 1024 * 1024
#: The rules of so many folders are noted before all are forgotten, at 640 bytes a folder.
_MOST_FOLDERS = 250
#: Attributes that make git store other bytes than those on disk.
_CONVERTING = ("filter", "working-tree-encoding", "ident")


def open_repository(vault: Vault) -> Any:
    """The pygit2 repository. Raises RepositoryError with the reason for what libgit2 lacks."""
    import pygit2

    # A mount and a keeper live long; libgit2 would keep 256 MB of objects and map packs whole.
    pygit2.settings.cache_max_size(_CACHE_BYTES)
    pygit2.settings.mwindow_size, pygit2.settings.mwindow_mapped_limit = _WINDOW, _MAPPED
    try:
        return pygit2.Repository(str(vault.root))
    except pygit2.GitError as err:
        raise RepositoryError(f"libgit2 cannot open {vault.root}: {err}") from None


class LastingRepository:
    """A repository that stays open for long. Thread-safe.

    libgit2 lets go of nothing by itself: neither of a pack that git has replaced, with its
    descriptor and its room on the disk, nor of the rules of a folder that it was asked for.
    """

    def __init__(self, vault: Vault) -> None:
        """Raises RepositoryError."""
        self._packs = str(vault.common_dir / "objects" / "pack")
        self._packed_ns = self._packed()
        self._folders: set[str] = set()
        self._repo = open_repository(vault)
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def used(self, names: Iterable[str] = ()) -> Iterator[Any]:
        """The repository, while nobody else uses it; `names` whose rules it will be asked for."""
        with self._turn:
            packed_ns = self._packed()
            if packed_ns != self._packed_ns or len(self._folders) > _MOST_FOLDERS:
                self._repo.free()  # what it needs of that it opens again
                self._packed_ns = packed_ns
                self._folders.clear()
            self._folders.update(map(parent, names))
            yield self._repo

    def _packed(self) -> int | None:
        """When a pack last came or went."""
        try:
            return os.stat(self._packs).st_mtime_ns
        except OSError:
            return None


class Libgit2Objects:
    """The contract of avm.vault.objects.Objects. Thread-safe."""

    def __init__(self, vault: Vault) -> None:
        """Raises RepositoryError."""
        self._vault = vault
        self._used = LastingRepository(vault).used

    def entries(self, commit: str | None, names: Collection[str]) -> dict[str, Blob]:
        """Those of `names` that are files or links in the commit's tree."""
        if commit is None:
            return {}
        found = {}
        with self._used() as repo:
            tree = _object(repo, commit).tree
            for name in names:
                entry = _entry(repo, tree, name)
                if entry is not None and entry.type_str == "blob":
                    found[name] = (str(entry.id), int(entry.filemode))
        return found

    def ignored(self, names: Collection[str]) -> set[str]:
        """Those of `names` that git's rules ignore."""
        import pygit2

        try:
            with self._used(names) as repo:
                return {name for name in names if is_utf8(name) and repo.path_is_ignored(name)}
        except pygit2.GitError:  # rules may stand in the index, and it cannot read this one
            return GitObjects(self._vault).ignored(names)

    def is_verbatim(self, name: str) -> bool:
        """Whether git surely stores the bytes and the mode of this path as they are."""
        import pygit2

        try:
            with self._used([name]) as repo:
                return _has_no_conversion(repo, name)
        except pygit2.GitError:  # as above: a split or a sparse index
            return False

    def read_blob(self, blob: str) -> bytes:
        """A blob's bytes."""
        with self._used() as repo:
            data: bytes = _object(repo, blob).data
            return data

    def size(self, blob: str) -> int:
        """How many bytes a blob has."""
        try:
            with self._used() as repo:
                return int(repo.odb.read_header(blob)[1])
        except KeyError:
            raise RepositoryError(f"git has no object {blob}") from None

    def lost(self, blobs: Collection[str]) -> set[str]:
        """Those of `blobs` that are not there."""
        with self._used() as repo:
            return {blob for blob in blobs if blob not in repo}

    def write_blob(self, raw: bytes) -> str:
        """Store bytes as they are. Raises RepositoryError."""
        import pygit2

        try:
            with self._used() as repo:
                return str(repo.create_blob(raw))
        except (pygit2.GitError, OSError) as err:
            raise RepositoryError(f"libgit2 cannot store a text: {err}") from err

    def write_commit(
        self,
        parent: str | None,
        put: Mapping[str, Blob | None],
        message: str,
        author: Signature,
        committer: Signature,
        merged: Sequence[str] = (),
    ) -> str | None:
        """A commit on `parent` with `put` in its tree; None if the tree would stay the same.

        Raises RepositoryError if something of it is not there.
        """
        import pygit2

        try:
            with self._used() as repo:
                return _written(repo, parent, put, message, author, committer, merged)
        except (pygit2.GitError, KeyError, ValueError) as err:
            raise RepositoryError(f"libgit2 cannot make the commit: {err}") from err

    def move_branch(self, ref: str, old: str | None, new: str) -> None:
        """Set `ref` to `new` if it is at `old`. Raises Moved or Locked."""
        import pygit2

        try:
            with self._used() as repo:
                if old is None:
                    repo.create_reference(ref, new, message="commit (avm)")
                    return
                reference = repo.lookup_reference(ref)
                if str(reference.target) != old:
                    raise Moved
                # libgit2 compares with the value it read above, under the ref's own lock.
                reference.set_target(new, "commit (avm)")
        except (pygit2.GitError, ValueError, KeyError) as err:
            raise Moved from err
        except OSError as err:  # how pygit2 says that the ref's own lock is held
            raise Locked(f"the lock of {ref}") from err


def _has_no_conversion(repo: Any, name: str) -> bool:
    attribute, config = repo.get_attr, repo.config
    if "core.filemode" in config and not config.get_bool("core.filemode"):
        return False
    if any(attribute(name, converting) for converting in _CONVERTING):
        return False
    text = attribute(name, "text")
    if text is None and not attribute(name, "crlf") and not attribute(name, "eol"):
        return "core.autocrlf" not in config or config["core.autocrlf"] == "false"
    return text is False


def _written(
    repo: Any,
    parent: str | None,
    put: Mapping[str, Blob | None],
    message: str,
    author: Signature,
    committer: Signature,
    merged: Sequence[str],
) -> str | None:
    before = _object(repo, parent).tree_id if parent else None
    tree = _updated(repo, before, put)
    if tree == before and not merged:
        return None
    parents = [parent, *merged] if parent else []
    oid = repo.create_commit(
        None, _signature(author), _signature(committer), message, tree, parents
    )
    return str(oid)


def _object(repo: Any, oid: str) -> Any:
    """What has that id. Raises RepositoryError."""
    try:
        return repo[oid]
    except KeyError:
        raise RepositoryError(f"git has no object {oid}") from None


def _entry(repo: Any, tree: Any, name: str) -> Any:
    """What is at the path `name` in a tree, None for nothing.

    Looked for by number: pygit2 (1.21) keeps every name by which it was asked for ever, and a
    mount or a keeper asks for one at each write.
    """
    entry = None
    for part in _key(name).split(b"/"):
        if entry is not None:
            if not _is_tree(entry):
                return None
            tree = repo[entry.id]
        # git sorts a folder as if its name ended in a slash.
        entry = _found(tree, part) or _found(tree, part + b"/")
        if entry is None:
            return None
    return entry


def _updated(repo: Any, base: Any, put: Mapping[str, Blob | None]) -> Any:
    """The id of tree `base` (None: empty) with `put` in it.

    Only the folders on the way are written: `Index.write_tree` would write all of them and sweep in
    what the person staged. And `TreeBuilder` keeps each name that it is to remove for ever.
    """
    from pygit2.enums import ObjectType

    rows = _rows(repo[base].read_raw()) if base is not None else {}
    below: dict[str, dict[str, Blob | None]] = {}
    for path, blob in put.items():
        name, _, rest = path.partition("/")
        if rest:
            below.setdefault(name, {})[rest] = blob
        elif blob is not None:
            rows[_key(name)] = _row(repo, *blob)
        elif not _is_folder(rows.get(_key(name))):
            rows.pop(_key(name), None)  # not the folder that another put in the file's place
    for name, inner in below.items():
        # A file that takes the folder's place has been put in above.
        before = rows.get(_key(name))
        folder = before[1].hex() if before is not None and _is_folder(before) else None
        subtree = _updated(repo, folder, inner)
        if len(repo[subtree]):
            rows[_key(name)] = _FOLDER, subtree.raw
        elif folder is not None:
            del rows[_key(name)]
    return repo.odb.write(ObjectType.TREE, _tree(rows))


def _row(repo: Any, blob: str, mode: int) -> _Row:
    """A file's row. Raises KeyError if the blob is not there; a submodule's commit never is."""
    if mode != SUBMODULE_MODE and blob not in repo:
        raise KeyError(blob)
    return b"%o" % mode, bytes.fromhex(blob)


def _found(tree: Any, key: bytes) -> Any:
    """The entry of a tree that git sorts at `key`, None if there is none."""
    low, high = 0, len(tree)
    while low < high:
        middle = (low + high) // 2
        entry = tree[middle]
        there = entry.raw_name + (b"/" if _is_tree(entry) else b"")
        if there == key:
            return entry
        low, high = (middle + 1, high) if there < key else (low, middle)
    return None


def _is_tree(entry: Any) -> bool:
    return entry is not None and entry.type_str == "tree"


def _key(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _rows(raw: bytes) -> dict[bytes, _Row]:
    """The rows of a tree by name."""
    return {name: (mode, blob) for mode, name, blob in _ROW.findall(raw)}


def _tree(rows: dict[bytes, _Row]) -> bytes:
    """The tree of these rows. git sorts a folder as if its name ended in a slash."""
    ordered = sorted(rows.items(), key=lambda item: item[0] + b"/" * _is_folder(item[1]))
    return b"".join(b"%s %s\0%s" % (mode, name, blob) for name, (mode, blob) in ordered)


def _is_folder(row: _Row | None) -> bool:
    return row is not None and row[0].lstrip(b"0") == _FOLDER


def _signature(signature: Signature) -> Any:
    import pygit2

    who = signature.who
    return pygit2.Signature(who.name, who.email, signature.seconds, signature.offset)

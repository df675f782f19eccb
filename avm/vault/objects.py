"""Reading and writing git's objects and branches: one contract, two ways.

libgit2 in this process where it can open the repository; the git program where it cannot (sha256,
reftable) and where commits are signed. Neither reads or writes git's index.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from avm.base.errors import RepositoryError
from avm.vault.identity import Identity
from avm.vault.location import Vault

#: Blob id (hex) and mode of a path in a tree or in git's index.
Blob = tuple[str, int]
FILE_MODE, SUBMODULE_MODE = 0o100644, 0o160000


class Moved(Exception):
    """The repository is not as it was when the commit was prepared: prepare it again."""


class Locked(Exception):
    """A lock of git's, which the message names, is held by somebody else."""


@dataclass(frozen=True)
class Signature:
    """Who, and when: seconds since the epoch, and the zone's offset from UTC in minutes."""

    who: Identity
    seconds: int
    offset: int

    @classmethod
    def at(cls, who: Identity, moment: float) -> Signature:
        """`moment` is in seconds since the epoch; the zone is this machine's."""
        return cls(who, int(moment), int(time.localtime().tm_gmtoff // 60))


class Objects(Protocol):
    """What a committer needs of a repository. Paths are rels, ids are hex."""

    def entries(self, commit: str | None, names: Collection[str]) -> dict[str, Blob]:
        """Those of `names` that are files or links in the commit's tree."""
        ...

    def ignored(self, names: Collection[str]) -> set[str]:
        """Those of `names`, none of them tracked, that git's rules ignore."""
        ...

    def is_verbatim(self, name: str) -> bool:
        """Whether git surely stores bytes and mode of this path as they are: no filter, no line
        ends."""
        ...

    def read_blob(self, blob: str) -> bytes:
        """A blob's bytes. Raises RepositoryError if it is not there."""
        ...

    def size(self, blob: str) -> int:
        """How many bytes a blob has. Raises RepositoryError if it is not there."""
        ...

    def lost(self, blobs: Collection[str]) -> set[str]:
        """Those of `blobs` that are not there."""
        ...

    def write_blob(self, raw: bytes) -> str:
        """Store bytes as they are; returns the blob's id."""
        ...

    def write_commit(
        self,
        parent: str | None,
        put: Mapping[str, Blob | None],
        message: str,
        author: Signature,
        committer: Signature,
        merged: Sequence[str] = (),
    ) -> str | None:
        """A commit on `parent` with `put` in its tree, None taking a path out; no branch moves.

        `merged` are further parents. Without them None if the tree would stay the same.
        """
        ...

    def move_branch(self, ref: str, old: str | None, new: str) -> None:
        """Set `ref` to `new` if it is at `old`. Raises Moved or Locked."""
        ...


def open_objects(vault: Vault, *, sign: bool = False) -> Objects:
    """The way that fits the repository. Raises RepositoryError if git cannot read it either."""
    from avm.vault.objects_git import GitObjects
    from avm.vault.objects_libgit2 import Libgit2Objects

    if sign:
        return GitObjects(vault, sign=True)
    try:
        return Libgit2Objects(vault)
    except RepositoryError:
        return GitObjects(vault)

"""The state that a repository is in: where HEAD is, which index, what the person is doing.

Read from git's own small files, without a program and without libgit2, since it is read again while
git's lock is held.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from avm.base.errors import RepositoryError
from avm.vault import git
from avm.vault.location import Vault

OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
#: Files in the git dir that tell of an operation of the person's, and its name.
_OPERATIONS = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "BISECT_LOG": "bisect",
    # Several picks, one of them committed by hand: no *_HEAD until `--continue`.
    "sequencer/todo": "cherry-pick or revert",
}
#: What git writes into HEAD where refs are kept in another form (reftable).
_NO_FILE = "refs/heads/.invalid"
_MOST_LINKS = 5
#: Tells one version of git's index from another.
IndexTag = tuple[int, int, int, bytes] | None


class Detached(Exception):
    """HEAD names a commit, the argument, and no branch."""


@dataclass(frozen=True)
class RepositoryState:
    """What must not change between preparing a commit and moving the branch.

    `ref` is the branch that HEAD names, `oid` its commit (None before the first one).
    """

    ref: str
    oid: str | None
    index: IndexTag
    busy: str | None

    @classmethod
    def read(cls, vault: Vault) -> RepositoryState:
        """Read it now. Raises Detached, RepositoryError."""
        ref, oid = branch(vault)
        return cls(ref, oid, index_tag(vault.git_index), busy_with(vault))


def busy_with(vault: Vault) -> str | None:
    """Why AVM does not commit now: the person's operation in progress, or a detached HEAD."""
    git_dir = str(vault.git_dir)
    for name, operation in _OPERATIONS.items():
        if os.path.exists(f"{git_dir}/{name}"):
            return f"{operation} in progress"
    try:
        head = (vault.git_dir / "HEAD").read_text()
    except (OSError, ValueError):
        return "the repository has no HEAD"
    if head.strip() == f"ref: {_NO_FILE}":
        return _asked_busy(vault)
    return None if head.startswith("ref: ") else "HEAD is detached"


def _asked_busy(vault: Vault) -> str | None:
    """What `busy_with` says, of what git keeps among its refs where those are no files."""
    for name, operation in _OPERATIONS.items():
        asked = ("rev-parse", "--verify", "--quiet", name)
        if name.endswith("_HEAD") and git.run(vault.root, asked, check=False).returncode == 0:
            return f"{operation} in progress"
    named = git.run(vault.root, ("symbolic-ref", "--quiet", "HEAD"), check=False)
    return None if named.returncode == 0 else "HEAD is detached"


def branch(vault: Vault) -> tuple[str, str | None]:
    """The branch that HEAD names and its commit, None before the first one.

    Raises Detached; RepositoryError if git itself cannot say, as where one of these files holds
    noise.
    """
    try:
        text = (vault.git_dir / "HEAD").read_text().strip()
        for _ in range(_MOST_LINKS):
            if not text.startswith("ref: "):
                break
            ref = text.removeprefix("ref: ").strip()
            if ref == _NO_FILE:
                return _asked(vault)
            value = _read_ref(vault, ref)
            if value is None or OID.fullmatch(value):
                return ref, value
            text = value
    except (OSError, ValueError):
        return _asked(vault)
    if not OID.fullmatch(text):
        return _asked(vault)
    raise Detached(text)


def stashes(vault: Vault) -> list[str]:
    """The commits that hold what the person stashed, newest first."""
    if (vault.common_dir / "reftable").is_dir():
        args = ("log", "--walk-reflogs", "--format=%H", "refs/stash", "--")
        return git.run(vault.root, args, check=False).stdout.decode().split()
    try:
        log = (vault.common_dir / "logs" / "refs" / "stash").read_text("utf-8", "replace")
    except FileNotFoundError:
        return []
    return [line.split(" ", 2)[1] for line in reversed(log.splitlines()) if line]


def _read_ref(vault: Vault, ref: str) -> str | None:
    """What a ref's file holds, or its line in packed-refs."""
    try:
        return (vault.common_dir / ref).read_text().strip()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        pass
    try:
        packed = (vault.common_dir / "packed-refs").read_text("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    end = f" {ref}"
    return next((line.split(" ", 1)[0] for line in packed.splitlines() if line.endswith(end)), None)


def _asked(vault: Vault) -> tuple[str, str | None]:
    named = git.run(vault.root, ("symbolic-ref", "--quiet", "HEAD"), check=False)
    if named.returncode != 0:
        raise Detached(git.output(vault.root, "rev-parse", "--verify", "HEAD"))
    ref = named.stdout.decode("utf-8", "surrogateescape").strip()
    found = git.run(vault.root, ("rev-parse", "--verify", "--quiet", ref), check=False)
    if found.returncode != 0 and (vault.common_dir / ref).is_file():
        raise RepositoryError(f"{vault.root}: {ref} names no commit")
    return ref, found.stdout.decode().strip() or None


def index_tag(index: Path) -> IndexTag:
    """Tells one version of git's index from another: its stat, and the checksum it ends with."""
    try:
        with index.open("rb") as file:
            status = os.fstat(file.fileno())
            file.seek(-20, os.SEEK_END)
            return status.st_mtime_ns, status.st_size, status.st_ino, file.read()
    except OSError:
        return None

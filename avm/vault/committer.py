"""Committing beside a person who uses git in the same work tree.

The protocol (DESIGN.md §5): objects and a new index are prepared outside any lock. Then the copy is
linked to git's own `index.lock`, the repository is checked to be as it was, the ref moves by
compare-and-swap and the copy is renamed over the index. The lock is held for about a millisecond:
git does not wait for it. What the person staged is in the copy as it was and in no commit of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import stat
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avm.base import atomic
from avm.base.config import Config
from avm.base.errors import RepositoryError
from avm.vault import git
from avm.vault.authors import Authors
from avm.vault.changes import Change, Group, Policy, changes, decide, message
from avm.vault.identity import agent_identity, person
from avm.vault.location import Vault
from avm.vault.locks import locked

_LOCK_WAIT_SECONDS = 2.0
_LIVING_SECONDS = 0.1
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
#: Tells one version of git's index from another.
_Tag = tuple[int, int, int, bytes] | None
#: What goes into a tree at each path: blob id and mode; None takes the path out.
_Blobs = dict[str, tuple[Any, int] | None]


@dataclass
class Report:
    """What a round did: commit ids (hex), paths that wait and why, and what held up the whole."""

    commits: list[str] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    blocked: str | None = None


class _Moved(Exception):
    """The repository is not as it was when the commit was prepared: prepare it again."""


class _Locked(Exception):
    """A lock of git's, which the message names, is held by somebody else."""


class Committer:
    """Commits what AVM may commit in one vault. One round at a time, across all processes."""

    def __init__(self, vault: Vault, config: Config) -> None:
        self._vault = vault
        self._config = config
        self._authors = Authors(vault)
        self._mutex = vault.git_state / "commit.lock"
        self._journal = vault.git_state / "commit.json"
        self._git_lock = vault.git_dir / "index.lock"

    def commit(
        self,
        *,
        now: bool = False,
        people: bool = False,
        subject: str | None = None,
        held: Collection[str] = (),
        only: str | None = None,
    ) -> Report:
        """Commit what is ripe; `now`: agents' writes, ripe or not; `people`: everybody's.

        `held` paths (open for writing) wait; `only`: one agent's writes. Raises RepositoryError if
        git fails; an operation in progress or a held lock is no error, the report says `blocked`.
        """
        policy = Policy(
            now=self._config.clock.timestamp(),
            quiet=0 if now or people else self._config["commit.quiet"].total_seconds(),
            people_quiet=0 if people else self._config["commit.people_quiet"].total_seconds(),
            people=not self._vault.adopted,
            held=held,
            only=only,
        )
        with locked(self._mutex):
            self.recover()
            deadline = time.monotonic() + _LOCK_WAIT_SECONDS
            reason = ""
            while not reason or time.monotonic() < deadline:
                blocked = busy_with(self._vault)
                if blocked:
                    return Report(blocked=blocked)
                try:
                    return self._round(policy, subject)
                except _Moved:
                    reason = "the repository changes all the time: another program commits in it"
                except _Locked as lock:
                    reason = f"{lock} is held: another git command runs, or one was killed"
                # Jitter, so that two who collide do not collide again.
                time.sleep(random.uniform(0.01, 0.05))
        return Report(blocked=reason)

    def _round(self, policy: Policy, subject: str | None) -> Report:
        """Look, decide, commit once. Raises _Moved or _Locked: look again, the person may have
        staged what was free a moment ago."""
        seen = _index_tag(self._vault.git_index)
        entries, size = self._authors.read()
        found = changes(self._vault)
        decision = decide(found, entries, self._stamps(found), policy)
        report = Report(waiting=dict(decision.waiting))
        if decision.groups:
            report.commits, refused = self._commit_groups(decision.groups, subject, seen)
            report.waiting |= refused
        # What does not wait is committed, was clean, or is an editor's file that never will be.
        self._authors.settle({entry.path for entry in entries} - set(report.waiting), size)
        return report

    def waiting(self) -> Report:
        """What a commit would do now, without doing it: `waiting` holds every changed path."""
        entries, _ = self._authors.read()
        found = changes(self._vault)
        policy = Policy(self._config.clock.timestamp(), 0, 0, people=not self._vault.adopted)
        decision = decide(found, entries, {}, policy)
        ripe = {path: "not committed yet" for group in decision.groups for path in group.paths}
        return Report(waiting=decision.waiting | ripe, blocked=busy_with(self._vault))

    def recover(self) -> None:
        """Finish or undo what a killed committer left; call with the mutex held.

        The mutex is free, so the journal's writer is gone. A lock is removed only if it is the very
        file that the journal's writer prepared.
        """
        try:
            plan = json.loads(self._journal.read_bytes())
            self._drop_ref_lock(plan["ref"], plan["new"])
            copy = self._vault.git_state / plan["copy"]
            if self._git_lock.samefile(copy):
                if (
                    git.output(self._vault.root, "rev-parse", "-q", "--verify", plan["ref"])
                    == plan["new"]
                ):
                    os.rename(self._git_lock, self._vault.git_index)
                else:
                    os.unlink(self._git_lock)
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, RepositoryError):
            # A journal cut short was written before any lock was taken; a ref that git cannot
            # resolve was never moved: the lock, if it is ours, goes below.
            self._drop_own_lock()
        for leftover in self._vault.git_state.glob("index.*"):
            if leftover.is_file():
                leftover.unlink(missing_ok=True)  # a killed committer's git may still rename it
        self._journal.unlink(missing_ok=True)

    def _drop_ref_lock(self, ref: str, new: str) -> None:
        """Remove the branch's lock if libgit2 was killed while it held it for us.

        It is ours if it came after our journal and holds our commit's id, or nothing: git writes
        into its own at once, so an empty one that stays empty is no living program's.
        """
        lock = self._vault.common_dir / f"{ref}.lock"
        try:
            status = lock.stat()
            if status.st_mtime_ns < self._journal.stat().st_mtime_ns:
                return
            if not status.st_size:
                time.sleep(_LIVING_SECONDS)
            if lock.stat().st_ino == status.st_ino and lock.read_text().strip() in ("", new):
                lock.unlink()
        except FileNotFoundError:
            pass

    def _drop_own_lock(self) -> None:
        for copy in self._vault.git_state.glob("index.*"):
            with contextlib.suppress(FileNotFoundError):
                if copy.is_file() and self._git_lock.samefile(copy):
                    os.unlink(self._git_lock)

    def _stamps(self, found: Sequence[Change]) -> dict[str, float]:
        """When each changed path last changed on disk, by the clock of AVM, in seconds."""
        shift = self._config.clock.timestamp() - time.time()
        stamps = {}
        for change in found:
            place = self._vault.path(change.path)
            with contextlib.suppress(OSError):
                # A deleted file has no stamp of its own; its folder's tells when.
                status = place.lstat() if change.kind != "deleted" else place.parent.stat()
                stamps[change.path] = max(status.st_mtime, status.st_ctime) + shift
        return stamps

    def _commit_groups(
        self, groups: Sequence[Group], subject: str | None, seen: _Tag
    ) -> tuple[list[str], dict[str, str]]:
        """One try: prepare, lock, check, move, rename. `seen`: the index that the groups are from.

        Returns the commits, and the paths that git could not add, each with git's reason. Raises
        _Moved or _Locked.
        """
        repo = open_repository(self._vault)
        before = _RepositoryState.read(self._vault, repo)
        if before.index != seen:
            raise _Moved
        copy = self._vault.git_state / f"index.{os.getpid()}"
        try:
            paths = [path for group in groups for path in group.paths]
            blobs, refused = self._stage(copy, paths)
            new, made = self._write_commits(repo, before.oid, groups, blobs, subject)
            if not made:
                return [], refused
            plan = {"ref": before.ref, "new": new, "copy": copy.name}
            atomic.replace(self._journal, json.dumps(plan).encode())
            with self._index_locked(copy):
                if _RepositoryState.read(self._vault, repo) != before:
                    raise _Moved
                _move_ref(repo, before, new)
                os.rename(self._git_lock, self._vault.git_index)
            return made, refused
        finally:
            copy.unlink(missing_ok=True)
            self._journal.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _index_locked(self, copy: Path) -> Iterator[None]:
        """Hold git's index.lock as a second name of `copy`; on an error the lock goes again."""
        try:
            os.link(copy, self._git_lock)
        except FileExistsError:
            raise _Locked(self._git_lock) from None
        try:
            yield
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._git_lock)
            raise

    def _stage(self, copy: Path, changed: Sequence[str]) -> tuple[_Blobs, dict[str, str]]:
        """Add `changed` to a copy of git's index and write their blobs; returns (blob id, mode).

        By the git program: it applies filters and encodings and records the stat data, without
        which `git diff-files` would call the files modified. What it cannot add stays as it was in
        the index and is returned with the reason.
        """
        import pygit2

        copy.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            # With its time: git tells by it which entries are too young to trust their stat data.
            shutil.copy2(self._vault.git_index, copy)
        # git refuses to look beyond a link or at a folder to see that a file is gone: say so first.
        gone = [path for path in changed if self._is_gone(path)]
        refused = self._update_index(copy, ("--force-remove",), gone)
        kept = sorted(set(changed) - set(gone))
        refused |= self._update_index(copy, ("--add", "--remove"), kept)
        try:
            index = pygit2.Index(str(copy))
        except pygit2.GitError as err:
            raise _cannot_open(self._vault, err) from None
        blobs: _Blobs = {}
        for path in changed:
            entry = _entry(index, path)
            blobs[path] = (entry.id, entry.mode) if entry is not None else None
        return blobs, refused

    def _is_gone(self, rel: str) -> bool:
        place = self._vault.path(rel)
        try:
            is_folder = stat.S_ISDIR(place.lstat().st_mode)
        except OSError:
            return True
        return is_folder or place.parent.resolve() != place.parent

    def _update_index(
        self, copy: Path, how: tuple[str, ...], names: Sequence[str]
    ) -> dict[str, str]:
        """Run `git update-index` on the copy; one bad file (its filter fails, it cannot be read)
        holds up no other. Returns the bad ones and why."""
        if not names:
            return {}
        feed = b"".join(os.fsencode(name) + b"\0" for name in names)
        args = ("update-index", *how, "-z", "--stdin")
        try:
            git.run(self._vault.root, args, stdin=feed, env={"GIT_INDEX_FILE": str(copy)})
        except RepositoryError as err:
            if len(names) == 1:
                return {names[0]: str(err)}
            half = len(names) // 2
            refused = self._update_index(copy, how, names[:half])
            return refused | self._update_index(copy, how, names[half:])
        return {}

    def _write_commits(
        self,
        repo: Any,
        parent: str | None,
        groups: Sequence[Group],
        blobs: _Blobs,
        subject: str | None,
    ) -> tuple[str, list[str]]:
        """Write trees and commit objects, a chain of one commit a group; no ref moves.

        Returns the last commit's id and the ids of all. A group that changes nothing is left out.
        """
        import pygit2

        tree = repo[parent].tree_id if parent else None
        who = person(self._vault.root)
        moment = (int(self._config.clock.timestamp()), _zone_minutes())
        committer = pygit2.Signature(who.name, who.email, *moment)
        made: list[str] = []
        for group in groups:
            new_tree = _updated_tree(repo, tree, {path: blobs[path] for path in group.paths})
            if new_tree == tree:
                continue
            author = committer
            if group.agent:
                name = agent_identity(group.agent)
                author = pygit2.Signature(name.name, name.email, *moment)
            parents = [parent] if parent else []
            oid = repo.create_commit(
                None, author, committer, message(group, subject), new_tree, parents
            )
            parent, tree = str(oid), new_tree
            made.append(parent)
        return parent or "", made


@dataclass(frozen=True)
class _RepositoryState:
    """What must not change between preparing a commit and moving the ref."""

    ref: str
    oid: str | None
    index: _Tag
    busy: str | None

    @classmethod
    def read(cls, vault: Vault, repo: Any) -> _RepositoryState:
        """Read it now. Raises _Moved if HEAD is detached."""
        import pygit2

        target = repo.lookup_reference("HEAD")
        if target.type != pygit2.enums.ReferenceType.SYMBOLIC:
            raise _Moved
        name = str(target.target)
        try:
            oid = str(repo.lookup_reference(name).target)
        except KeyError:
            oid = None
        return cls(name, oid, _index_tag(vault.git_index), busy_with(vault))


def _entry(index: Any, path: str) -> Any:
    try:
        return index[path]
    except KeyError:
        return None


def _index_tag(index: Path) -> _Tag:
    """Tells one version of git's index from another: its stat, and the checksum it ends with."""
    try:
        with index.open("rb") as file:
            status = os.fstat(file.fileno())
            file.seek(-20, os.SEEK_END)
            return status.st_mtime_ns, status.st_size, status.st_ino, file.read()
    except OSError:
        return None


def open_repository(vault: Vault) -> Any:
    """The pygit2 repository. Raises RepositoryError with the reason for what libgit2 lacks."""
    import pygit2

    try:
        return pygit2.Repository(str(vault.root))
    except pygit2.GitError as err:
        raise _cannot_open(vault, err) from None


def _cannot_open(vault: Vault, err: Exception) -> RepositoryError:
    return RepositoryError(
        f"cannot commit in {vault.root}: {err}; memories are safe as files, commit them with git"
    )


def busy_with(vault: Vault) -> str | None:
    """Why AVM does not commit now: the person's operation in progress, or a detached HEAD."""
    for name, operation in _OPERATIONS.items():
        if (vault.git_dir / name).exists():
            return f"{operation} in progress"
    try:
        if not (vault.git_dir / "HEAD").read_text().startswith("ref: "):
            return "HEAD is detached"
    except OSError:
        return "the repository has no HEAD"
    return None


def _move_ref(repo: Any, before: _RepositoryState, new: str) -> None:
    """Move the branch from where it was to `new`, or fail. Raises _Moved or _Locked."""
    import pygit2

    try:
        if before.oid is None:
            repo.references.create(before.ref, new)
            return
        reference = repo.lookup_reference(before.ref)
        if str(reference.target) != before.oid:
            raise _Moved
        # libgit2 compares with the value it read above, under the ref's own lock.
        reference.set_target(new, "commit (avm)")
    except (pygit2.GitError, ValueError) as err:
        raise _Moved from err
    except OSError as err:  # how pygit2 says that the ref's own lock is held
        raise _Locked(f"the lock of {before.ref}") from err


def _updated_tree(repo: Any, base: Any, blobs: _Blobs) -> Any:
    """The id of tree `base` (None: empty) with `blobs` put in, or taken out where None.

    Only the folders on the way are written: `Index.write_tree` would write all of them and sweep in
    what the person staged.
    """
    builder = repo.TreeBuilder(base) if base is not None else repo.TreeBuilder()
    below: dict[str, _Blobs] = {}
    for path, blob in blobs.items():
        name, _, rest = path.partition("/")
        if rest:
            below.setdefault(name, {})[rest] = blob
        elif blob is not None:
            builder.insert(name, *blob)
        elif builder.get(name) is not None and not _is_tree(builder.get(name)):
            builder.remove(name)  # not the folder that another author put in the file's place
    for name, inner in below.items():
        entry = builder.get(name)
        subtree = _updated_tree(repo, entry.id if _is_tree(entry) else None, inner)
        if len(repo[subtree]):
            builder.insert(name, subtree, 0o040000)
        elif entry is not None and _is_tree(entry):
            builder.remove(name)
    return builder.write()


def _is_tree(entry: Any) -> bool:
    return entry is not None and entry.type_str == "tree"


def _zone_minutes() -> int:
    return int(time.localtime().tm_gmtoff // 60)

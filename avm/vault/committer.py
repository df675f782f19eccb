"""Committing beside a person who uses git in the same work tree.

The protocol (DESIGN.md §5): objects and a new index are prepared outside any lock. Then the copy is
linked to git's own `index.lock`, the repository is checked to be as it was, the ref moves by
compare-and-swap and the copy is renamed over the index. The lock is held for about a millisecond:
git does not wait for it. What the person staged is in the copy as it was and in no commit of ours.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from avm.base.config import Config
from avm.vault import conflict_queue, dropped, index_file, index_lock, recovery
from avm.vault.authors import Authors, Entry
from avm.vault.changes import (
    CONFLICT,
    STAGED,
    Change,
    Group,
    Item,
    Policy,
    Wording,
    changes,
    decide,
    message,
)
from avm.vault.history import head
from avm.vault.identity import Identity, agent_identity, person
from avm.vault.location import Vault
from avm.vault.locks import locked
from avm.vault.objects import Blob, Locked, Moved, Objects, Signature, open_objects
from avm.vault.processes import GitWatch
from avm.vault.repository import Detached, RepositoryState, busy_with, stashes
from avm.vault.staging import Check, Prepared, Staged, Stager, changes_of, mode_of

_LOCK_WAIT_SECONDS = 2.0
_STASHED = "in your stash: git stash pop"
#: How long a person's name is taken for granted: asking git costs a process.
_PERSON_SECONDS = 60.0


@dataclass
class Report:
    """What a round did: commit ids (hex), paths that wait and why, and what held up the whole."""

    commits: list[str] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    blocked: str | None = None
    #: Paths that wait and whose front matter would be dropped.
    dropped: list[str] = field(default_factory=list)


class Committer:
    """Commits what AVM may commit in one vault. One round at a time, across all processes."""

    def __init__(self, vault: Vault, config: Config, check: Check | None = None) -> None:
        self._vault = vault
        self._config = config
        self._check = check or (lambda rel, raw: None)
        self._authors = Authors(vault)
        self._mutex = recovery.mutex(vault)
        self._watch = GitWatch(vault.root)
        self._person: tuple[float, Identity] | None = None
        self._objects: Objects | None = None

    def commit(
        self,
        *,
        now: bool = False,
        people: bool = False,
        journalled: bool = False,
        subject: str | None = None,
        trailers: Sequence[str] = (),
        held: Collection[str] = (),
        only: str | None = None,
        within: Collection[str] | None = None,
    ) -> Report:
        """Commit what is ripe; `now`: what came through AVM, ripe or not; `people`: everybody's.

        `journalled` looks at the paths alone that AVM's doors wrote, which is quicker. `held` paths
        (open for writing) wait; `only`: one agent's writes; `within`: these paths and no other,
        whoever wrote them. `trailers` are further lines of the message. Raises RepositoryError if
        git fails; an operation in progress or a held lock is no error, the report says `blocked`.
        """
        policy = Policy(
            now=self._config.clock.timestamp(),
            quiet=0 if now or people else self._config["commit.quiet"].total_seconds(),
            max_wait=self._config["commit.max_wait"].total_seconds(),
            people_quiet=0 if people else self._config["commit.people_quiet"].total_seconds(),
            people=within is not None or self._takes_people(),
            held=held,
            only=only,
            within=within,
        )
        with locked(self._mutex):
            self._recover()
            deadline = time.monotonic() + _LOCK_WAIT_SECONDS
            reason = ""
            while not reason or time.monotonic() < deadline:
                blocked = busy_with(self._vault)
                if blocked:
                    return Report(blocked=blocked)
                try:
                    first = self._take_in_copies()
                    report = self._round(policy, Wording(subject, trailers), journalled)
                    return replace(report, commits=first + report.commits)
                except Moved:
                    reason = "the repository changes all the time: another program commits in it"
                except Detached:
                    reason = "HEAD is detached"
                except _AtWork as command:
                    reason = f"{command} is running"
                except Locked as lock:
                    reason = _held(lock)
                # Jitter, so that two who collide do not collide again.
                time.sleep(random.uniform(0.01, 0.05))
        return Report(blocked=reason)

    def waiting(self) -> Report:
        """What a commit would do now, without doing it: `waiting` holds every changed path."""
        entries, _ = self._authors.read()
        found = self._all_changes(head(self._vault), {entry.path for entry in entries})
        policy = Policy(self._config.clock.timestamp(), 0, 0, people=self._takes_people())
        decision = decide(found, entries, lambda change: None, policy)
        ripe = {item.path for group in decision.groups for item in group.items}
        waiting = dict.fromkeys(ripe, "not committed yet") | decision.waiting
        stager = Stager(self._vault, self._git(), self._check)
        waiting |= stager.held(waiting)
        command = self._watch.running()
        blocked = busy_with(self._vault) or (f"{command} is running" if command else None)
        lock = index_lock.place(self._vault)
        if blocked is None and lock.exists():
            blocked = _held(lock)
        changed = [change.path for change in found if change.kind == "changed"]
        return Report(waiting=waiting, blocked=blocked, dropped=stager.dropping(changed))

    def staged(self, names: Collection[str]) -> dict[str, str]:
        """Those of `names` that the person staged or that are in conflict: which of the two."""
        found = changes_of(self._vault, self._git(), head(self._vault), names)
        return {c.path: CONFLICT if c.unmerged else STAGED for c in found if c.staged}

    def recover(self) -> None:
        """Finish or undo what a killed committer left. Raises RepositoryError."""
        with locked(self._mutex):
            self._recover()

    def _recover(self) -> None:
        recovery.recover(self._vault)

    def _takes_people(self) -> bool:
        who = self._config["commit.who"]
        return not self._vault.adopted if who in (None, "off") else who == "all"

    def _git(self) -> Objects:
        if self._objects is None:
            self._objects = open_objects(self._vault, sign=self._config["commit.sign"])
        return self._objects

    def _round(self, policy: Policy, wording: Wording, journalled: bool) -> Report:
        """Look, decide, commit once. Raises Moved, Locked, Detached or _AtWork: look again, the
        person may have staged what was free a moment ago."""
        before = RepositoryState.read(self._vault)
        entries, size = self._authors.read()
        entries = self._still_there(entries)
        journal = {entry.path for entry in entries}
        names = journal if policy.within is None else set(policy.within)
        if journalled or policy.within is not None:
            found = changes_of(self._vault, self._git(), before.oid, sorted(names))
        else:
            found = self._all_changes(before.oid, journal)
        decision = decide(found, entries, self._stamp, policy)
        report = Report(waiting=dict(decision.waiting))
        clean = journal - {change.path for change in found}
        report.waiting |= dict.fromkeys(self._stashed(before.oid, clean & names), _STASHED)
        done = (journal & names) - set(report.waiting)
        if decision.groups:
            refused = self._commit_groups(decision.groups, before, size, wording, report)
            report.waiting |= refused
            done -= set(refused)
        # What does not wait is committed, was clean, or is an editor's file that never will be.
        items = [item for group in decision.groups for item in group.items]
        begun = {item.path for item in items if item.blob is not None and item.path not in done}
        self._authors.settle(done, size, begun)
        return report

    def _take_in_copies(self) -> list[str]:
        """Commit what git's merge driver could not put into the person's merge; returns the ids.

        Raises what `_round` does.
        """
        if not conflict_queue.place(self._vault).exists():
            return []
        placed = conflict_queue.put_in_place(self._vault)
        now = self._config.clock.timestamp()
        names = set(placed.values())
        count = "1 text" if len(names) == 1 else f"{len(names)} texts"
        wording = Wording(f"merge: keep {count} of the other side")
        policy = Policy(now, 0, 0, people=True, within=names)
        report = self._round(policy, wording, journalled=False)
        conflict_queue.settle(self._vault, placed.keys())
        return report.commits

    def _still_there(self, entries: list[Entry]) -> list[Entry]:
        """`entries` without versions whose text is gone: `git gc --prune=now` takes what nothing
        points at, and that must hold up nothing else."""
        blobs = {entry.blob for entry in entries if entry.blob}
        lost = self._git().lost(blobs) if blobs else ()
        return [entry for entry in entries if entry.blob not in lost] if lost else entries

    def _all_changes(self, head: str | None, journal: Collection[str]) -> list[Change]:
        """What differs, also where git was told not to look and a door of AVM's wrote."""
        unwatched = sorted(index_file.unwatched(self._vault, journal)) if journal else []
        more = changes_of(self._vault, self._git(), head, unwatched) if unwatched else []
        return changes(self._vault) + more

    def _stashed(self, head: str | None, names: Collection[str]) -> set[str]:
        """Those of `names`, which are as HEAD has them, of which the person stashed a version: it
        keeps its author until it comes back."""
        found: set[str] = set()
        if names and (held := stashes(self._vault)):
            committed = self._git().entries(head, names)
            for stash in held:
                then = self._git().entries(stash, names)
                found |= {name for name in names if then.get(name) != committed.get(name)}
        return found

    def _stamp(self, change: Change) -> float | None:
        """When a changed path last changed on disk, by the clock of AVM, in seconds."""
        place = self._vault.path(change.path)
        try:
            # A deleted file has no stamp of its own; its folder's tells when.
            status = place.lstat() if change.kind != "deleted" else place.parent.stat()
        except OSError:
            return None
        shift = self._config.clock.timestamp() - time.time()
        return max(status.st_mtime, status.st_ctime) + shift

    def _commit_groups(
        self,
        groups: Sequence[Group],
        before: RepositoryState,
        read_size: int,
        wording: Wording,
        report: Report,
    ) -> dict[str, str]:
        """One try: prepare, lock, check, move, rename. `before`: the state the groups are from,
        `read_size`: as much of the journal.

        Adds the commits to the report; returns the paths that git could not add, each with the
        reason. Raises Moved, Locked or _AtWork.
        """
        objects = self._git()
        copy = self._vault.git_state / f"index.{os.getpid()}"
        items = [item for group in groups for item in group.items]
        committed = objects.entries(before.oid, {item.path for item in items})
        try:
            stager = Stager(self._vault, objects, self._check)
            prepared = self._prepare(stager, items, committed)
            if self._is_written_by_another(groups, read_size):
                raise Moved  # what was read may be that one's

            def write(staged: Staged) -> list[str]:
                return self._write_commits(before.oid, groups, staged, committed, wording)

            # The git program stages while the commits are written: each takes as long.
            with self._staging(stager, copy, prepared) as finish:
                expected = prepared.expected()
                made = write(expected) if expected else []
                staged = finish()
            if staged != expected:
                made = write(staged)
            if not made:
                return staged.refused
            recovery.note(self._vault, ref=before.ref, new=made[-1], copy=copy)
            if command := self._watch.running():
                raise _AtWork(command)
            with index_lock.held(self._vault, copy):
                if RepositoryState.read(self._vault) != before:
                    raise Moved
                _move_ref(objects, before, made[-1])
                index_lock.put_in_place(self._vault)
            report.commits = made
            dropped.note(self._vault, staged.dropped_front)
            return staged.refused
        finally:
            copy.unlink(missing_ok=True)
            recovery.forget(self._vault)

    def _is_written_by_another(self, groups: Sequence[Group], read_size: int) -> bool:
        """Whether another than a path's author has begun to write it since the journal was read.

        Who writes notes the version before first, so that this shows before the new bytes do.
        """
        author = {item.path: group.agent for group in groups for item in group.items}
        return any(
            entry.path in author and (entry.blob or entry.agent != author[entry.path])
            for entry in self._authors.after(read_size)
        )

    def _prepare(
        self, stager: Stager, items: Sequence[Item], committed: Mapping[str, Blob]
    ) -> Prepared:
        """Read every path as its last version is to be."""
        current = [item.path for item in items if item.blob is None]
        earlier = {item.path: item.blob for item in items if item.blob is not None}
        return stager.prepare(current, earlier, committed)

    def _staging(
        self, stager: Stager, copy: Path, prepared: Prepared
    ) -> contextlib.AbstractContextManager[Callable[[], Staged]]:
        """Make `copy`, which becomes the new index."""
        return stager.staging(copy, prepared)

    def _write_commits(
        self,
        parent: str | None,
        groups: Sequence[Group],
        staged: Staged,
        committed: Mapping[str, Blob],
        wording: Wording,
    ) -> list[str]:
        """Write a chain of commits, one a group; no ref moves. Returns their ids, oldest first.

        What changes nothing is left out, of a group and of the chain.
        """
        committer = Signature.at(self._who(), self._config.clock.timestamp())
        at: dict[str, Blob | None] = dict(committed)
        made: list[str] = []
        for group in groups:
            put: dict[str, Blob | None] = {}
            for item in group.items:
                if item.blob is not None:
                    put[item.path] = (item.blob, mode_of(item.path, committed))
                elif item.path in staged.blobs:
                    put[item.path] = staged.blobs[item.path]
            put = {path: blob for path, blob in put.items() if at.get(path) != blob}
            items = tuple(_told(item, at, put) for item in group.items if item.path in put)
            if not items:
                continue
            agent = agent_identity(group.agent) if group.agent else committer.who
            author = replace(committer, who=agent)
            text = message(Group(group.agent, items), wording, staged.dropped_front)
            commit = self._git().write_commit(parent, put, text, author, committer)
            at |= put
            if commit is not None:
                parent = commit
                made.append(commit)
        return made

    def _who(self) -> Identity:
        if self._person is None or time.monotonic() > self._person[0]:
            self._person = time.monotonic() + _PERSON_SECONDS, person(self._vault.root)
        return self._person[1]


def _told(item: Item, at: Mapping[str, Blob | None], put: Mapping[str, Blob | None]) -> Item:
    """The item, its operation corrected where the trees tell better."""
    if item.op in ("edit", "remember") and put[item.path] is None:
        return replace(item, op="forget")
    return replace(item, op="remember") if item.op == "edit" and not at.get(item.path) else item


def _held(lock: object) -> str:
    return f"{lock} is held: another git command runs, or one was killed"


class _AtWork(Exception):
    """A git command of the person's, which the message names, is running in the work tree."""


def _move_ref(objects: Objects, before: RepositoryState, new: str) -> None:
    """Move the branch from where it was to `new`, or fail. Raises Moved or Locked."""
    objects.move_branch(before.ref, before.oid, new)

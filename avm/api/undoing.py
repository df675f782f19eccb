"""Undoing as one viewer, forward only: what was comes back in new commits, history stays."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from avm.api.past import SHORT, Past
from avm.base import paths
from avm.base.errors import AccessError, NotFoundError, RepositoryError, UsageError
from avm.base.times import format_instant
from avm.vault import files
from avm.vault.usage import Made

if TYPE_CHECKING:
    from avm.api.written import Collected, Restored, Undone
    from avm.vault.committer import Report
    from avm.vault.log import Logged

_EXPIRY = ("expires", "ttl")


class Undoing(Past):
    """What a viewer may bring back. Each call commits what it did, as that viewer."""

    def restore(self, path: str, rev: str | None = None, *, zone: tzinfo | None = None) -> Restored:
        """Put a file back as it was at `rev`; without one, what a removal or an expiry took.

        An expiry that is past is taken out of the front matter. Raises NotFoundError, AccessError;
        UsageError if there is nothing to bring back.
        """
        from avm.api.written import Restored

        rel = self._once_there(path)
        self._writable(rel)
        self._check_free(rel)
        vault = self.store.vault
        there = files.regular_file(vault, rel)
        if rev is None and there is not None:
            if not self.store.has_ended(rel, there):
                shown = paths.display(rel)
                raise UsageError(f"{shown} is there: say which version, such as {shown}@~1")
            data = files.read(vault, rel)
        else:
            data = self.show(rel, rev, zone=zone)
        data, notes = self._without_past_expiry(rel, data, self._added(rel))
        if there is not None and files.read(vault, rel) == data:
            return Restored(paths.display(rel), (*notes, "it was like that already"))
        self.store.put(rel, data, self.viewer.agent, "restore")
        return self._restored(rel, notes)

    def restore_meta(self, path: str) -> Restored:
        """Put back the front matter that a write without any took from a memory; the text stays.

        Raises NotFoundError if no earlier version had any, UsageError if there is some now.
        """
        from avm.base import memory_file

        rel = self._existing(path)
        self._writable(rel)
        self._check_free(rel)
        raw = files.read(self.store.vault, rel)
        shown = paths.display(rel)
        if memory_file.split(raw).has_front:
            raise UsageError(f"{shown} has front matter: nothing was dropped")
        data, notes = self._without_past_expiry(rel, self._with_front(rel, raw), self._added(rel))
        self.store.put(rel, data, self.viewer.agent, "restore")
        return self._restored(rel, notes)

    def undo(
        self,
        *,
        agent: str | None = None,
        since: str | datetime | timedelta | None = None,
        commit: str | None = None,
        dry_run: bool = False,
        zone: tzinfo | None = None,
    ) -> Undone:
        """Take commits back: the newest, all `since` then, or one `commit`; `agent`: by that one.

        What was edited since is merged, and left as it is where the same lines were edited. An
        agent takes back its own only. Raises AccessError, NotFoundError, UsageError;
        RepositoryError while nothing can be committed.
        """
        from avm.api.written import Undone

        own = self.viewer.agent
        if own is not None and agent not in (None, own):
            why = f"agent {own} may take back what it wrote itself, not {agent}'s"
            raise self.denied("undo", "", AccessError(why))
        if since is not None and commit is not None:
            raise UsageError("give --since or --commit, not both")
        writer = own or (None if agent is None else paths.check_agent(agent))
        if not dry_run:
            self._commit_first(writer)
        chosen = self._chosen(writer, since, commit, zone)
        now, conflicts = self._taken_back(chosen)
        changed = {rel: data for rel, data in now.items() if data != self._on_disk(rel)}
        for rel, why in self.store.committer.staged(changed).items():
            conflicts[rel] = why
            del changed[rel]
        hashes = tuple(one.id for one in chosen)
        did = {paths.display(rel): _verb(self._on_disk(rel), data) for rel, data in changed.items()}
        left = {paths.display(rel): why for rel, why in conflicts.items()}
        if not dry_run and changed:
            made = [Made(rel, len(data)) for rel, data in changed.items() if data is not None]
            self.store.supervision.make_room_for(made, own)
            for rel, data in changed.items():
                self.store.put(rel, data, own, "undo")
            subject = _subject(chosen, writer, changed)
            trailers = [f"Undoes: {one}" for one in hashes]
            left |= _uncommitted(self._commit_within(changed, subject, trailers), changed)
        return Undone(hashes, did, left, dry_run)

    def gc(self) -> Collected:
        """Remove the expired memories under `memory/` from the tree, in one commit; history keeps
        them. Those that AVM would not commit stay, and why."""
        from avm.api.written import Collected

        self.store.refresh()
        expired = [row.path for row in self.store.index.expired(self._filter(""))]
        left: dict[str, str] = {}
        gone: list[str] = []
        for rel in expired:
            if not files.is_below_memory(rel):
                left[paths.display(rel)] = "not under memory/: AVM commits nothing there"
            elif not self.viewer.can_write(rel):
                left[paths.display(rel)] = "not yours to remove"
            elif reason := self._held_back(rel):
                left[paths.display(rel)] = reason
            else:
                gone.append(rel)
        for rel, why in self.store.committer.staged(gone).items() if gone else ():
            left[paths.display(rel)] = why
            gone.remove(rel)
        if gone:
            self._check_free()
            for rel in gone:
                self.store.put(rel, None, self.viewer.agent, "gc")
            count = f"{len(gone)} expired " + ("memory" if len(gone) == 1 else "memories")
            left |= _uncommitted(self._commit_within(gone, f"gc: {count}"), gone)
        return Collected(tuple(map(paths.display, gone)), left)

    def purge_help(self, path: str) -> str:
        """How to take a file out of history for good; does nothing. Raises NotFoundError."""
        rel = self._file(path)
        names = dict.fromkeys([rel, *(c.path.lstrip("/") for c in self.history(rel) if c.path)])
        return _PURGE.format(
            root=self.store.vault.root,
            state=self.store.vault.own_state,
            index=self.store.vault.index_dir,
            name=paths.printable(paths.display(rel)),
            paths=" ".join(f"--path {_quoted(name)}" for name in names),
        )

    # How the above decide

    def _once_there(self, path: str) -> str:
        """The rel of a file that is there or was. What was written and removed a moment ago is
        committed for that. Raises NotFoundError."""
        from avm.vault.rescue import last_kept

        rel = paths.clean_rel(path)
        mine = not self.is_there(rel) and self.viewer.can_write(rel)
        if mine and files.is_below_memory(rel):
            self._commit_within([rel], None)
        try:
            return self._file(path)
        except NotFoundError:
            blob = last_kept(self.store.vault, rel) if mine else None
            if blob is None:
                raise
        raise NotFoundError(f"no commit has {paths.display(rel)}: git cat-file -p {blob}")

    def _restored(self, rel: str, notes: Iterable[str]) -> Restored:
        from avm.api.written import Restored

        if files.is_below_memory(rel):
            report = self._commit_within([rel], None)
            if report.blocked:
                notes = [*notes, f"the commit waits: {report.blocked}"]
            notes = [*notes, *(f"the commit waits: {why}" for why in report.waiting.values())]
        else:
            notes = [*notes, "not under memory/: git commit"]
        return Restored(paths.display(rel), tuple(notes))

    def _without_past_expiry(
        self, rel: str, data: bytes, added: float | None
    ) -> tuple[bytes, tuple[str, ...]]:
        """A memory's bytes less an expiry that is past, and what is to be said of it."""
        from avm.base import memory_file

        if not paths.is_memory(rel):
            return data, ()
        front = memory_file.parse(data, max_body=0).front
        ends = front.expires
        if ends is None and front.ttl is not None:
            born = front.created.timestamp() if front.created else added
            if born is not None and born + front.ttl.total_seconds() <= self.store.now():
                return memory_file.set_key(data, "ttl", None), ("its past ttl was taken out",)
        if ends is None or ends.timestamp() > self.store.now():
            return data, ()
        for key in _EXPIRY:
            data = memory_file.set_key(data, key, None)
        return data, (f"its expiry of {format_instant(ends)} is past and was taken out",)

    def _added(self, rel: str) -> float | None:
        """When the newest commit that added `rel` was made, as far as git's history tells."""
        from avm.vault import history

        commits = self.history(rel) if history.head(self.store.vault) else []
        added = (c for c in commits if c.path and c.paths.get(c.path) == "added")
        first = next(added, None)
        return first.when.timestamp() if first else None

    def _with_front(self, rel: str, raw: bytes) -> bytes:
        from avm.base import memory_file
        from avm.vault.past import checked_out

        for commit in self.history(rel):
            if commit.path is None or commit.paths.get(commit.path) == "deleted":
                continue
            entry = self.store.trees.entry(commit.hash, commit.path.lstrip("/"))
            if entry is None:
                continue
            old = checked_out(self.store.vault, rel, entry.id)
            parts = memory_file.split(old)
            if parts.has_front:
                start = memory_file.split(raw).body_start
                return old[: parts.body_start] + raw[start:]
        raise NotFoundError(f"no version of {paths.display(rel)} in git has front matter")

    def _commit_first(self, writer: str | None) -> None:
        """What waits is committed before, so that it can be undone, and the undoing as well."""
        report = self.store.committer.commit(now=True, people=writer is None, only=writer)
        if report.blocked:
            raise RepositoryError(f"not now: {report.blocked}")

    def _check_free(self, *rels: str) -> None:
        """Raise RepositoryError in the middle of an operation of the person's, and if one of `rels`
        is in conflict."""
        from avm.vault.changes import CONFLICT
        from avm.vault.repository import busy_with

        busy = busy_with(self.store.vault)
        if busy:
            raise RepositoryError(f"not now: {busy}")
        for rel, why in self.store.committer.staged(rels).items():
            if why == CONFLICT:
                raise RepositoryError(
                    f"{paths.display(rel)} is in a merge conflict: settle that first"
                )

    def _chosen(
        self,
        writer: str | None,
        since: str | datetime | timedelta | None,
        commit: str | None,
        zone: tzinfo | None,
    ) -> list[Logged]:
        """The commits to take back, newest first."""
        from avm.vault import history, log, revisions

        vault, head = self.store.vault, self._head()
        scope = list(self.viewer.read_folders or ("memory",))
        if commit is not None:
            oid = self._revision(commit, zone)
            if not history.is_ancestor(vault, oid, head):
                raise revisions.no_such(commit)
            found = log.commits(vault, oid, limit=1, agent=writer)
            found = [one for one in found if one.id == oid]
            if found and len(found[0].parents) > 1:
                raise UsageError(f"{oid[:SHORT]} is a merge: take back the commits that it brought")
        else:
            start = self._since(since, zone)
            limit = 1 if since is None else None
            found = log.commits(vault, head, scope, agent=writer, since=start, limit=limit)
            found = [one for one in found if len(one.parents) < 2]
        if not found:
            whose = f" of {writer}" if writer else ""
            raise NotFoundError(f"no commit{whose} to take back: avm log")
        ends = history.cut_off(vault)
        for one in found:
            if one.id in ends:  # it seems to have added every file that there was
                raise RepositoryError(
                    f"{one.id[:SHORT]} cannot be taken back: this shallow clone has nothing of what"
                    " was before it: git fetch --unshallow"
                )
        return found

    def _taken_back(
        self, chosen: Iterable[Logged]
    ) -> tuple[dict[str, bytes | None], dict[str, str]]:
        """The content of each path without these commits, and the paths that stay and why."""
        from avm.vault.past import checked_out
        from avm.vault.revert import EditedSince, reverted

        now: dict[str, bytes | None] = {}
        conflicts: dict[str, str] = {}
        for one in chosen:
            for rel, touch in one.paths.items():
                if not self.viewer.can_read(rel):
                    continue
                if not files.is_below_memory(rel):
                    conflicts[rel] = "not under memory/: use git revert"
                elif not self.viewer.can_write(rel):
                    conflicts[rel] = "not yours to change"
                elif not touch.is_file:
                    conflicts[rel] = "a symbolic link or a submodule: use git revert"
                if rel in conflicts:
                    now.pop(rel, None)
                    continue
                if rel not in now:
                    now[rel] = self._on_disk(rel)
                before, after = (
                    None if set(blob) == {"0"} else checked_out(self.store.vault, rel, blob)
                    for blob in (touch.old, touch.new)
                )
                try:
                    now[rel] = reverted(self.store.vault, now[rel], before, after)
                except EditedSince as reason:
                    conflicts[rel] = f"{reason} ({one.id[:SHORT]})"
                    del now[rel]
        return now, conflicts

    def _on_disk(self, rel: str) -> bytes | None:
        try:
            return files.read(self.store.vault, rel)
        except NotFoundError:
            return None

    def _held_back(self, rel: str) -> str | None:
        raw = self._on_disk(rel)
        return None if raw is None else self.store.allowed.held_because(rel, raw)

    def _commit_within(
        self, rels: Iterable[str], subject: str | None, trailers: Iterable[str] = ()
    ) -> Report:
        return self.store.committer.commit(
            now=True, within=list(rels), subject=subject, trailers=tuple(trailers)
        )


def _uncommitted(report: Report, rels: Iterable[str]) -> dict[str, str]:
    """Which of `rels` were changed and wait for their commit, and why."""
    waiting = dict.fromkeys(rels, report.blocked) if report.blocked else report.waiting
    return {paths.display(rel): f"not committed: {why}" for rel, why in waiting.items()}


def _verb(old: bytes | None, new: bytes | None) -> str:
    if new is None:
        return "removed"
    return "brought back" if old is None else "changed back"


def _subject(chosen: list[Logged], writer: str | None, changed: Collection[str]) -> str:
    if len(chosen) > 1:
        return f"undo: {len(chosen)} commits" + (f" of {writer}" if writer else "")
    if chosen[0].paths.keys() <= set(changed):
        subject = chosen[0].subject
        if subject.startswith("undo: "):
            return subject.replace("undo", "redo", 1)
        return f"undo: {subject.removeprefix('redo: ')}"
    # That subject may name what not everybody may see who sees this commit.
    names = [paths.printable(paths.stem_of(rel)) for rel in changed]
    return f"undo: {names[0]}" if len(names) == 1 else f"undo: {len(names)} memories"


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)


_PURGE = """\
To take {name} out of history for good, every commit since is written anew. Nothing has been done.

If it held a secret: revoke that first. Whoever has a copy of the repository keeps it.

1. Let everybody push, then stop AVM here: avm unmount every mount of this vault (avm status).
2. Rewrite, with git-filter-repo (pip install git-filter-repo):
     cd {root}
     git filter-repo --force --invert-paths {paths}
3. Remove what AVM kept of it: look through {state}/rescue/ and {state}/kept.jsonl,
   then drop what nothing points at, and the index:
     git for-each-ref --format='delete %(refname)' refs/avm | git update-ref --stdin
     git reflog expire --expire=now --all && git gc --prune=now
     rm -r {index}
4. Put the remote back (filter-repo takes it away) and overwrite it: git push --force --all
5. Every other clone: clone anew; a pull would bring the old history back.
"""

"""What all views of one vault share: files, index, journal, committer, model."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from avm.api.supervision import Supervision
from avm.api.waiting import Waiting
from avm.base import paths
from avm.base.access import Viewer
from avm.base.config import Config
from avm.base.errors import (
    AVMError,
    RepositoryError,
)
from avm.base.lazy import lazy
from avm.vault import files
from avm.vault.files import Stamp, open_quietly
from avm.vault.location import Vault
from avm.vault.locks import Lock, is_held, is_shared, locked, share
from avm.vault.placing import Placing
from avm.vault.processes import GitWatch

if TYPE_CHECKING:
    from avm.api.keeper import Attachment, KeeperLink
    from avm.api.semantic import Semantic
    from avm.index.index import Index
    from avm.vault.allowed import Allowed
    from avm.vault.authors import Authors
    from avm.vault.background import BackgroundCommitter
    from avm.vault.committer import Committer, Report
    from avm.vault.journal import Mark
    from avm.vault.layout import Layout
    from avm.vault.past import PastTrees
    from avm.vault.revisions import Revisions
    from avm.vault.versions import Versions


_DOORS = {
    Waiting.COMMAND: "cli",
    Waiting.LIBRARY: "python",
    Waiting.MOUNT: "mount",
    Waiting.HOOK: "hook",
    Waiting.KEEPER: "keeper",
}
#: How long a write waits for a git command of the person's that rewrites files.
_GIT_SECONDS = 0.5
#: Of a hook's time, what it waits for a fresh index.
_HOOK_SHARE = 0.5
#: How long the keeper may take to commit what waits.
_FLUSH_SECONDS = 30.0
#: How long the keeper may take to say which files are open.
_HELD_SECONDS = 1.0
#: Of how many memories it is kept in mind when they expire; some 400 bytes each.
_MOST_ENDINGS = 100_000


class Store:
    """One vault, opened, by the kind of process that `waiting` says.

    Its parts are loaded when they are first asked for: `avm log` needs no index, `avm search`
    nothing of git, and they are half of a command's start.
    """

    def __init__(self, vault: Vault, config: Config, waiting: Waiting) -> None:
        self.vault = vault
        self.config = config
        self._waiting = waiting
        self._watch = GitWatch(vault.root)
        self._placing = Placing(vault, fsync=config.fsync)
        self._writing = vault.write_lock
        self._loading = threading.RLock()
        self._background: BackgroundCommitter | None = None
        self._starting = threading.Lock()
        self._attachment: Attachment | None = None
        self._mounted: Lock | None = None
        self._wrote = False
        self._wants_keeper = waiting in (Waiting.MOUNT, Waiting.HOOK) or (
            waiting is Waiting.LIBRARY and (config["semantic"] != "off" or config.syncs)
        )
        #: What is open for writing in this process's mount.
        self.open_here: Callable[[], Collection[str]] = tuple
        self._endings: dict[str, tuple[Stamp, float | None]] = {}
        self.supervision = Supervision(vault, config, _DOORS[waiting])

    @lazy
    def revisions(self) -> Revisions:
        """The commits that people name."""
        from avm.vault.revisions import Revisions

        return Revisions(self.vault)

    @lazy
    def layout(self) -> Layout:
        """Where new memories go."""
        from avm.vault.layout import Layout

        return Layout(self.vault.root)

    @lazy
    def allowed(self) -> Allowed:
        """What may be committed although it looks like a secret."""
        from avm.vault.allowed import Allowed

        return Allowed(self.vault)

    @lazy
    def _authors(self) -> Authors:
        """Who wrote what is not committed yet."""
        from avm.vault.authors import Authors

        return Authors(self.vault)

    @lazy
    def _committing(self) -> str:
        """The lock that a committer holds for a round."""
        from avm.vault import recovery

        return str(recovery.mutex(self.vault))

    @lazy
    def index(self) -> Index:
        """The index."""
        from avm.index.index import Index

        return Index(self.vault)

    @lazy
    def semantic(self) -> Semantic:
        """The embedding model, as far as it is there."""
        from avm.api.semantic import Semantic

        asked = None if self._waiting is Waiting.KEEPER else self.keeper
        return Semantic(self.vault, self.config, self.index, self._waiting, asked)

    @lazy
    def committer(self) -> Committer:
        """Who commits when asked to."""
        from avm.vault.committer import Committer

        return Committer(self.vault, self.config, self.allowed.held_because)

    @lazy
    def versions(self) -> Versions:
        """What different writers made of one path."""
        from avm.vault.versions import Versions

        return Versions(self.vault, self._authors, self.allowed.held_because)

    @lazy
    def trees(self) -> PastTrees:
        """The trees of past commits. A command reads a file or two; what stays reads many."""
        from avm.vault.past import PastTrees

        return PastTrees(self.vault, many=self._waiting is not Waiting.COMMAND)

    @property
    def notice(self) -> str | None:
        """A line on what befell the index, if this process asked it and anything did."""
        return self.index.notice if "index" in vars(self) else None

    def viewer(self, agent: str) -> Viewer:
        """An agent, with what the owner's configuration gives and denies it. Raises UsageError."""
        return Viewer(paths.check_agent(agent), self.config.access.of(agent))

    def now(self) -> float:
        """Seconds since the epoch, by AVM's clock."""
        return self.config.clock.timestamp()

    @lazy
    def keeper(self) -> KeeperLink:
        """The vault's keeper, for whoever is not it."""
        from avm.api.keeper import KeeperLink

        return KeeperLink(self.vault, self.config, self._waiting)

    def refresh(self) -> None:
        """Make the index show every write that returned before now. Raises IndexDamagedError.

        The keeper sees to it; where there is none, or none that answers at once, this process.
        """
        if self._waiting is not Waiting.KEEPER and not self.index.private:
            if self.keeper.barrier():
                if self._wants_keeper:
                    self.keeper.start_better()
                return
            if self._wants_keeper:
                self.keeper.start()
        if self._waiting is Waiting.HOOK:
            self._refresh_in(_HOOK_SHARE * self.config["hooks.wait"])
        else:
            self.index.refresh()

    def _refresh_in(self, seconds: float) -> None:
        """Bring the index up to date if that takes no longer; else it goes on meanwhile."""
        refreshing = threading.Thread(target=self._refresh_quietly, daemon=True)
        refreshing.start()
        refreshing.join(seconds)

    def _refresh_quietly(self) -> None:
        with contextlib.suppress(AVMError):  # whoever asks the index finds out
            self.index.refresh()

    def attach(self, held: Callable[[], Collection[str]]) -> None:
        """For a mount: leave the work to a keeper, which asks `held` for the paths that are open
        for writing. Without a keeper this process commits."""
        from avm.api.keeper import Attachment

        def alone(yes: bool) -> None:
            if yes:
                self._commit_here(held)
            else:
                self._commit_no_more()

        self._mounted = share(self.vault.mounts_lock)
        self._attachment = Attachment(self.keeper, held, alone)
        self._attachment.start()

    def commit_in_background(self) -> None:
        """Have what was written committed before long; by the keeper, if there is one."""
        self._wrote = True
        if self._attachment is None:
            self._commit_here()

    def commit_soon(self, agent: str | None) -> None:
        """Have what waits committed by another process, and do not wait for that: by the keeper; by
        a program of its own what `agent` wrote, where no keeper may be started. Not where nothing
        is to be committed in the background."""
        if self.config["commit.who"] == "off" or not self._authors.read()[0]:
            return
        connection = self.keeper.connect()
        if connection is not None:
            connection.tell({"op": "flush"})
            connection.close()
        elif not self.keeper.start() and agent is not None:
            from avm.api.keeper import start_program

            start_program(self.vault, ("commit", "--agent", agent))

    def _commit_here(self, held: Callable[[], Collection[str]] = tuple) -> None:
        """Start the committing thread, once. It does nothing while a keeper has the role."""
        with self._starting:
            if self._background is None:
                from avm.vault.background import BackgroundCommitter

                self._background = BackgroundCommitter(
                    self.vault, self.config, self.committer, held
                )
                self._background.start()

    def _commit_no_more(self) -> Report | None:
        """End the committing thread after a last round, unless another process has the role."""
        with self._starting:
            background, self._background = self._background, None
        return background.stop() if background else None

    def close(self) -> Report | None:
        """Commit what waits, end the model, close the index.

        Returns the commit round's report, if there was one. Raises RepositoryError.
        """
        try:
            if self._attachment:
                self._attachment.stop()
            report = self._commit_no_more()
            flushed = self._waiting is not Waiting.COMMAND and self.config["commit.who"] != "off"
            if report is None and self._wrote and flushed and self._authors.read()[0]:
                report = self._flush()
            return report
        finally:
            if self._mounted:
                self._mounted.release()
            self.supervision.close()
            made = vars(self)
            if "keeper" in made:
                self.keeper.forget()
            if "semantic" in made:
                self.semantic.close()
            if "index" in made:
                self.index.close()

    def _flush(self) -> Report | None:
        """Have the keeper commit; without one do it here."""
        from avm.vault.committer import Report

        answer = self.keeper.ask("flush", timeout=_FLUSH_SECONDS)
        if answer is None:
            return self.committer.commit(now=True, journalled=True)
        if "error" in answer:
            raise RepositoryError(answer["error"])
        return Report(answer["commits"], answer["waiting"], answer["blocked"])

    def held(self) -> Collection[str]:
        """The paths that are open for writing in a mount. Raises RepositoryError if there is a
        mount and nobody tells: mounts tell the keeper alone."""
        if self._waiting is Waiting.KEEPER:
            return set(self.open_here())
        answer = self.keeper.ask("held", timeout=_HELD_SECONDS)
        if answer is not None and "held" in answer:
            return {*self.open_here(), *answer["held"]}
        if is_shared(self.vault.mounts_lock):
            raise RepositoryError(
                "not now: a mount does not tell which files are open in it: avm keeper start, or"
                " unmount it"
            )
        return set(self.open_here())

    def record(self, rel: str, agent: str | None, op: str) -> Mark | None:
        """Note who wrote `rel`, after the file is in place; nobody where AVM commits nothing."""
        mark = None
        if files.is_below_memory(rel):
            from avm.vault.authors import Entry

            if op == "forget":
                self._endings.pop(rel, None)
            entry = Entry(rel, agent, op, self.now())
            mark = self._authors.record(entry, fsync=self.config.fsync)
        self.supervision.wrote(rel, agent, op)
        return mark

    def still_noted(self, mark: Mark) -> bool:
        """Whether the note that gave `mark` is the newest of all, and no commit can settle it that
        has not seen what was written before this call."""
        # In this order: a committer that begins in between reads the file as it is now.
        return not is_held(self._committing) and self._authors.is_at(mark)

    def write_new(self, rel: str, data: bytes, agent: str | None) -> bool:
        """Create a file; False if the name is taken. Raises AccessError, QuotaError, UsageError."""
        return self._placing.write_new(rel, data, self._room(rel, data, agent))

    def replace(self, rel: str, data: bytes, agent: str | None) -> None:
        """Write a whole file over what is there; call it while `changing`.

        Raises AccessError, ExistsError, QuotaError, UsageError.
        """
        self._placing.replace(rel, data, self._room(rel, data, agent))

    def rewrite(self, rel: str, data: bytes, agent: str | None) -> None:
        """Write a whole file into the one that is there, which others have open; call it while
        `changing`, which keeps what a kill in between would leave in pieces. Raises QuotaError,
        UsageError.
        """
        self.supervision.make_room(rel, len(data), agent)
        self._placing.rewrite(rel, data)

    def remove(self, rel: str) -> None:
        """Remove a file; call it while `changing`. Raises FileNotFoundError, AccessError."""
        self._placing.remove(rel)

    def _room(self, rel: str, data: bytes, agent: str | None) -> Callable[[], None]:
        return lambda: self.supervision.make_room(rel, len(data), agent)

    def put(self, rel: str, data: bytes | None, agent: str | None, op: str) -> None:
        """Write a whole file, or with None remove it, for `agent`; what stood there becomes a
        version of its own first, or is kept aside. Raises AccessError, ExistsError, QuotaError,
        UsageError, RepositoryError.
        """
        with locked(self._writing):
            if not self.versions.close(rel, agent, leaving=True):
                self.versions.keep(rel, anywhere=True)
            with self._beside_git(rel):
                if data is not None:
                    self.replace(rel, data, agent)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        self.remove(rel)
            self.record(rel, agent, op)

    @contextlib.contextmanager
    def changing(self, rel: str, agent: str | None, *, leaving: bool = False) -> Iterator[None]:
        """Hold while the text at `rel` gives way to what `agent` writes, or with `leaving` goes.

        Moves an expired memory aside, wherever it is; keeps text in `memory/` that no commit holds.
        What is written in here has its entry in the journal before another process writes over it.
        """
        if not files.is_below_memory(rel):
            self.before_change(rel, agent, leaving=leaving)
            yield
            return
        with locked(self._writing):
            self.before_change(rel, agent, leaving=leaving)
            with self._beside_git(rel):
                yield

    def before_change(self, rel: str, agent: str | None, *, leaving: bool = False) -> None:
        """What `changing` does first, for a change that cannot be made inside of it."""
        status = files.regular_file(self.vault, rel)
        if status is None:
            return
        if self.has_ended(rel, status):
            from avm.vault.rescue import set_aside

            # What no commit holds becomes a version: the next round commits it.
            self.versions.close(rel, agent, leaving=True)
            set_aside(self.vault, rel)
        elif status.st_size:
            in_git = self.versions.close(rel, agent, leaving=leaving)
            if not in_git and not leaving:
                self.versions.keep(rel)

    @contextlib.contextmanager
    def _beside_git(self, rel: str) -> Iterator[None]:
        """Write over a file while no git command of the person's is seen that does so too.

        `git stash` looks at a file and writes over it a moment later: what is written in between is
        neither in the stash nor in the file, and `git rebase --abort` takes away what was written
        since it began. So where one is at work all the same, the new text is kept as well.
        """
        from avm.vault.repository import busy_with

        self._watch.wait(_GIT_SECONDS)
        yield
        if self._watch.rewriting() or busy_with(self.vault):
            self.versions.keep(rel)

    def waiting_since(self) -> dict[str, float]:
        """When each path that the journal knows was first written since its last commit; seconds
        since the epoch, by AVM's clock."""
        since: dict[str, float] = {}
        for entry in self._authors.read()[0]:
            since.setdefault(entry.path, entry.at)
        return since

    def ends(self, rel: str, status: os.stat_result | None = None) -> float | None:
        """When the memory at `rel` expires, None if it does not; exact for the bytes on disk.

        Looks at the front matter once a version of the file, as long as its stamp tells versions
        apart; only a `ttl` without `created` needs the index, which knows when it was added.
        """
        if status is None:
            status = files.regular_file(self.vault, rel)
        if status is None:
            return None
        stamp = Stamp.of(status)
        cached = self._endings.get(rel)
        if cached is not None and cached[0] == stamp:
            return cached[1]
        if not paths.is_memory(rel) or not stat.S_ISREG(status.st_mode):
            return None
        from avm.index.plan import is_racy

        checked_ns = time.time_ns()
        ends = self._read_ending(rel)
        if not is_racy(stamp, checked_ns):
            if len(self._endings) >= _MOST_ENDINGS:
                for old in list(self._endings)[: _MOST_ENDINGS // 2]:
                    self._endings.pop(old, None)
            self._endings[rel] = (stamp, ends)
        return ends

    def has_ended(self, rel: str, status: os.stat_result | None = None) -> bool:
        """Whether the memory at `rel` has expired by now."""
        ends = self.ends(rel, status)
        return ends is not None and ends <= self.now()

    def _read_ending(self, rel: str) -> float | None:
        from avm.base import memory_file

        head = _head(f"{self.vault.root}/{rel}", memory_file.MAX_FRONT_BYTES + 1024)
        if b"expires" not in head and b"ttl" not in head:
            return None
        front = memory_file.parse(head, max_body=0).front
        if front.expires is not None:
            return front.expires.timestamp()
        if front.ttl is None:
            return None
        if front.created is not None:
            return front.created.timestamp() + front.ttl.total_seconds()
        self.refresh()
        row = self.index.memory(rel)
        return row.ends if row else None


def _head(place: str, most: int) -> bytes:
    """The beginning of a file: enough to hold the longest front matter that is read; empty if it
    cannot be read. Most front matter is in the first block, and most text has none."""
    try:
        fd = open_quietly(place, os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        head = os.read(fd, 4096)
        if len(head) < 4096 or b"---" not in head[:8]:
            return head
        return head + os.pread(fd, most - len(head), len(head))
    except OSError:
        return b""
    finally:
        os.close(fd)

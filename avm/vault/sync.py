"""Syncing with a remote: commit what waits, fetch, merge, push; again if somebody pushed first.

Nothing is forced and no history is rewritten. Before anything moves a rescue ref points at what
was. What the person staged or edited, and what is held back, stays as it is: then nothing moves.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from avm.base import atomic, paths
from avm.base.config import Config
from avm.base.errors import AVMError, RemoteError, RepositoryError
from avm.vault import git, history, recovery
from avm.vault.checkout import Checkout, InTheWay
from avm.vault.committer import Committer
from avm.vault.identity import person
from avm.vault.journal import Journal
from avm.vault.location import Vault
from avm.vault.locks import locked, try_lock
from avm.vault.merge_trees import TreeMerge, difference, merge, merge_bases, removed_share
from avm.vault.objects import Locked, Moved, Objects, Signature, open_objects
from avm.vault.remote import Link, PushedFirst, Remote, find
from avm.vault.repository import Detached, RepositoryState, busy_with

RESCUE = "refs/avm/rescue/"
_RESCUES_KEPT = 200
#: How often others may push first before this is given up for now.
_MOST_ROUNDS = 20
_LOCK_WAIT_SECONDS = 10.0
#: A side that removed more than half of the memories, if they are not a handful, is asked about.
_FEW = 10


@dataclass
class SyncReport:
    """What a sync did. `received` and `sent` count commits, `files` what changed in the vault.

    `copies`: conflict copies by vault path, each with the file that it is of. `kept`: what one side
    removed and the other changed. `waiting`: what could not be committed, and why. `merge`: the
    merge commit, None if none was needed. `rescue`: the name of what was there before, None if
    nothing moved.
    """

    remote: str
    branch: str
    received: int = 0
    sent: int = 0
    files: int = 0
    merge: str | None = None
    rescue: str | None = None
    copies: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LastSync:
    """How the last sync ended. `at` in seconds since the epoch; `error`: why it failed."""

    remote: str
    url: str
    ref: str
    at: float
    error: str | None = None
    #: When one last came to its end.
    done_at: float | None = None


@dataclass(frozen=True)
class Consent:
    """What the person agrees to: to merge histories that have nothing in common; to take a side
    that removed most of its memories."""

    unrelated: bool = False
    loss: bool = False


class SyncAtWork(RepositoryError):
    """Another process syncs this vault just now."""


class Syncer:
    """Syncs one vault. One at a time, across all processes.

    `held` gives the paths that are open for writing; `halted` ends what the network is slow at.
    `commits`: whether it commits first what waits.
    """

    def __init__(
        self,
        vault: Vault,
        config: Config,
        committer: Committer,
        held: Callable[[], Collection[str]] = tuple,
        halted: Callable[[], bool] = lambda: False,
        *,
        commits: bool = True,
    ) -> None:
        self._vault = vault
        self._commits = commits
        self._config = config
        self._committer = committer
        self._held = held
        self._halted = halted
        self._objects: Objects | None = None

    def remote(self, named: str | None = None) -> Remote:
        """The remote that `sync` would sync with. Raises RepositoryError."""
        return find(self._vault, self._state().ref, named or self._config["sync.remote"])

    def sync(
        self,
        named: str | None = None,
        consent: Consent = Consent(),
        *,
        asking: bool = False,
        patience: float = 0.0,
    ) -> SyncReport:
        """Sync with the remote `named`, else the configured one, else the branch's own.

        `asking`: git may ask for a password. Raises SyncAtWork if another one is, for longer than
        `patience` seconds; RepositoryError if it cannot be done now, each path that is in the way
        named; RemoteError if the remote cannot be reached or refuses.
        """
        if (
            git.config_value(self._vault.root, "--type=bool", "--get", "core.sparseCheckout")
            == "true"
        ):
            raise RepositoryError("avm sync knows no sparse checkout: git pull, then git push")
        lock = try_lock(self._vault.git_state / "sync.lock", patience)
        if lock is None:
            raise SyncAtWork("another avm sync is at work in this vault")
        try:
            remote = self.remote(named)
            link = Link(self._vault, remote, self._halted, asking=asking)
            before = last_sync(self._vault)
            done_at = before.done_at if before else None
            try:
                report = self._rounds(remote, link, consent)
            except AVMError as err:
                if not self._halted():  # what was ended on purpose has not failed
                    _note(self._vault, remote, self._config.clock.timestamp(), str(err), done_at)
                raise
            _note(self._vault, remote, self._config.clock.timestamp(), None, None)
            return report
        finally:
            lock.release()

    def _rounds(self, remote: Remote, link: Link, consent: Consent) -> SyncReport:
        report = SyncReport(remote.name, remote.branch)
        for _ in range(_MOST_ROUNDS):
            self._commit(report)
            theirs = link.fetch()
            if theirs is not None:
                self._take_in(theirs, remote, consent, report)
            ours = self._state().oid
            if ours is None or ours == theirs:
                self._follow(remote)
                return report
            sent = history.count(self._vault, ours, theirs)
            try:
                link.push(ours)
            except PushedFirst:
                # Jitter, so that two who collide do not collide again.
                time.sleep(random.uniform(0.05, 0.3))
                continue
            report.sent += sent
            self._follow(remote)
            return report
        raise RemoteError(f"others push to {remote.name} all the time: avm sync again")

    def _commit(self, report: SyncReport) -> None:
        """Commit what may be; what may not stays where it is."""
        if not self._commits:
            return
        done = self._committer.commit(now=True, people=True, held=self._held())
        if done.blocked:
            raise RepositoryError(f"not now: {done.blocked}")
        report.waiting = {paths.display(rel): why for rel, why in done.waiting.items()}

    def _take_in(self, theirs: str, remote: Remote, consent: Consent, report: SyncReport) -> None:
        """Bring branch, index and files to where both sides' work is."""
        deadline = time.monotonic() + _LOCK_WAIT_SECONDS
        way: dict[str, str] = {}
        while True:
            try:
                self._merge(theirs, remote, consent, report)
                return
            except Moved:
                reason = "the repository changes all the time: another program works in it"
            except Locked as lock:
                reason = f"{lock}: another git command is at work"
            except InTheWay as found:
                # An agent may have written a moment ago: commit that and look again, once.
                if way == found.args[0]:
                    raise RepositoryError(_in_the_way(way)) from None
                way = found.args[0]
                self._commit(report)
                continue
            if time.monotonic() > deadline:
                raise RepositoryError(f"not now: {reason}")
            time.sleep(random.uniform(0.01, 0.05))

    def _merge(self, theirs: str, remote: Remote, consent: Consent, report: SyncReport) -> None:
        vault = self._vault
        before = self._state()
        ours = before.oid
        if ours is not None and (ours == theirs or history.is_ancestor(vault, theirs, ours)):
            return
        merged = TreeMerge()
        new = theirs
        if ours is None or history.is_ancestor(vault, ours, theirs):
            if ours is not None:
                self._ask_of_loss(ours, {theirs: remote.name}, consent)
            merged.put = difference(vault, ours, theirs)
        else:
            self._ask(ours, theirs, remote, consent)
            signature = Signature.at(person(vault.root), self._config.clock.timestamp())
            merged = merge(vault, self._git(), ours, theirs, signature)
            message = _message(before.ref, remote, merged)
            put = merged.put
            made = self._git().write_commit(ours, put, message, signature, signature, (theirs,))
            assert made is not None
            new = report.merge = made
        received = history.count(vault, theirs, ours)
        rescue = rescue_name(vault, ours, self._config.clock.timestamp()) if ours else None
        checkout = Checkout(vault, self._git(), fsync=self._config.fsync)
        with locked(recovery.mutex(vault)):
            recovery.recover(vault)
            if busy := busy_with(vault):
                raise RepositoryError(f"not now: {busy}")
            checkout.move(before, new, merged.put, self._held())
        report.rescue = rescue
        report.received += received
        report.files += len(merged.put)
        shown = paths.display
        report.copies |= {shown(copy): shown(rel) for copy, rel in merged.copies.items()}
        report.kept += map(shown, merged.kept)

    def _ask(self, ours: str, theirs: str, remote: Remote, consent: Consent) -> None:
        bases = merge_bases(self._vault, ours, theirs)
        if not bases and not consent.unrelated:
            raise RepositoryError(
                f"{remote.name} and this vault have no commit in common: avm clone it into another"
                " folder, or merge the two with avm sync --allow-unrelated-histories"
            )
        if bases:
            sides = {theirs: remote.name, ours: "this vault"}
            self._ask_of_loss(bases[0], sides, consent)

    def _ask_of_loss(self, base: str, sides: dict[str, str], consent: Consent) -> None:
        for side, name in sides.items():
            if consent.loss:
                return
            gone, there = removed_share(self._vault, base, side)
            if gone >= _FEW and gone * 2 > there:
                raise RepositoryError(
                    f"{name} removed {gone} of {there} memories since the last sync: look at it"
                    f" (git diff --stat {base[:12]} {side[:12]}), then avm sync --allow-loss"
                )

    def _follow(self, remote: Remote) -> None:
        """Have git itself know what the branch is synced with, unless it does."""
        branch = self._state().ref.removeprefix("refs/heads/")
        if remote.is_named and not git.config_value(
            self._vault.root, "--get", f"branch.{branch}.remote"
        ):
            merge = f"refs/heads/{remote.branch}"
            for key, value in (("remote", remote.name), ("merge", merge)):
                git.run(self._vault.root, ("config", "--local", f"branch.{branch}.{key}", value))

    def _state(self) -> RepositoryState:
        try:
            return RepositoryState.read(self._vault)
        except Detached:
            raise RepositoryError("not now: HEAD is detached: git switch a branch") from None

    def _git(self) -> Objects:
        if self._objects is None:
            self._objects = open_objects(self._vault, sign=self._config["commit.sign"])
        return self._objects


def last_sync(vault: Vault) -> LastSync | None:
    """How the last sync of this clone ended; None if there was none."""
    try:
        return LastSync(**json.loads(_note_place(vault).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _note(
    vault: Vault, remote: Remote, at: float, error: str | None, done_at: float | None
) -> None:
    done = at if error is None else done_at
    note = LastSync(remote.name, remote.url, remote.ref, at, error, done)
    with contextlib.suppress(OSError):  # a full disk must not hide why the sync failed
        place = _note_place(vault)
        place.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace(place, json.dumps(asdict(note)).encode())


def _note_place(vault: Vault) -> Path:
    return vault.own_state / "sync.json"


def known_remotes(vault: Vault) -> set[str]:
    """The addresses of which the person was told who can read them."""
    return {str(record.get("url")) for record in Journal(_known_place(vault)).records()}


def note_known(vault: Vault, url: str) -> None:
    """Note that the person was told."""
    Journal(_known_place(vault)).append({"url": url})


def _known_place(vault: Vault) -> Path:
    return vault.own_state / "remotes.jsonl"


def distance(vault: Vault, last: LastSync) -> tuple[int, int] | None:
    """How many commits are here alone, and how many at the remote as last seen; None if that cannot
    be told."""
    asked = ("rev-list", "--left-right", "--count", f"HEAD...{last.ref}", "--")
    done = git.run(vault.root, asked, check=False)
    if done.returncode != 0:
        return None
    ahead, behind = map(int, done.stdout.split())
    return ahead, behind


def rescue_name(vault: Vault, commit: str, now: float) -> str:
    """Point a rescue ref at `commit` and return its name: the time of `now`, in UTC. Of all those
    the oldest go. Raises RepositoryError."""
    there = rescues(vault)
    if there and there[0][1] == commit:
        return there[0][0]
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H%M%SZ")
    taken = {name for name, _ in there}
    tries = (stamp if not n else f"{stamp}-{n}" for n in range(len(taken) + 1))
    name = next(one for one in tries if one not in taken)
    feed = [f"create {RESCUE}{name} {commit}"]
    feed += [f"delete {RESCUE}{old}" for old, _ in there[_RESCUES_KEPT - 1 :]]
    git.run(vault.root, ("update-ref", "--stdin"), stdin="\n".join([*feed, ""]).encode())
    return name


def rescues(vault: Vault) -> list[tuple[str, str]]:
    """What rescue refs there are, newest first: name and commit. Raises RepositoryError."""
    args = ("for-each-ref", "--sort=-refname", "--format=%(refname) %(objectname)", RESCUE)
    rows = (line.split(" ") for line in git.output(vault.root, *args).splitlines())
    return [(row[0].removeprefix(RESCUE), row[1]) for row in rows]


def _message(ref: str, remote: Remote, merged: TreeMerge) -> str:
    lines = [f"Merge {remote} into {ref.removeprefix('refs/heads/')}", ""]
    lines += [f"Conflict-Copy: {paths.printable(paths.display(rel))}" for rel in merged.copies]
    lines += [f"Kept: {paths.printable(paths.display(rel))}" for rel in merged.kept]
    lines += ["Memory-Op: merge"]
    return "\n".join(lines) + "\n"


def _in_the_way(way: dict[str, str]) -> str:
    told = [f"{paths.display(rel)} ({why})" for rel, why in sorted(way.items())]
    more = f" and {len(told) - 10} more" if len(told) > 10 else ""
    return (
        f"nothing was moved: the remote changed {', '.join(told[:10])}{more}: commit or move what"
        " is yours, then avm sync"
    )

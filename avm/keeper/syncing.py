"""The keeper's part in syncing: when it is due, and a thread that does it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from avm.api.store import Store
from avm.api.syncing import readers
from avm.base import log, paths
from avm.base.errors import AVMError, RemoteError
from avm.vault import history
from avm.vault.remote import NoRemote
from avm.vault.sync import (
    SyncAtWork,
    Syncer,
    SyncReport,
    distance,
    known_remotes,
    last_sync,
    note_known,
)

_log = log.logger(__name__)
_POLL_SECONDS = 0.5
#: A burst of commits is over when there was none for so long; or it is not waited for any more.
_QUIET_SECONDS = 2.0
_LONGEST_BURST_SECONDS = 10.0
_FIRST_BACK_OFF, _LAST_BACK_OFF = 5.0, 300.0
#: What could not be done is tried again at the period, or where there is none, after so long; a
#: commit, which may have made it possible, asks for it earlier, but not at once.
_REFUSED_SECONDS = 300.0
_REST_SECONDS = 10.0
#: How long after another process was found syncing it is looked whether there is more to do.
_AT_WORK_SECONDS = 2.0
#: A connection can die without a word, and git then waits for ever.
_LONGEST_SYNC_SECONDS = 3600.0


class Schedule:
    """When a sync is due. Pure: times are seconds of any clock, and are handed in.

    The first is due at once: others may have pushed while no keeper ran, and what was committed
    last may not be sent. `chance` gives numbers from 0 to 1, so that no two machines keep step.
    """

    def __init__(
        self,
        every: float | None,
        now: float,
        *,
        on_commit: bool,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._every = every
        self._on_commit = on_commit
        self._chance = chance
        self._at: float | None = now
        self._burst: tuple[float, float] | None = None
        self._not_before = now
        self._failures = 0

    @property
    def due(self) -> float | None:
        """When the next sync is due; None: when there is a commit."""
        burst = self._burst  # read once: other threads ask too
        if burst is None:
            return self._at
        first, last = burst
        over = min(last + _QUIET_SECONDS, first + _LONGEST_BURST_SECONDS)
        asked = max(over, self._not_before)
        return asked if self._at is None else min(asked, self._at)

    def committed(self, now: float) -> None:
        """There is a new commit, that no sync which began before now has sent."""
        if self._on_commit:
            self._burst = (self._burst[0] if self._burst else now, now)

    def began(self) -> None:
        """A sync begins: it sends every commit made until now."""
        self._burst = None

    def done(self, now: float) -> None:
        """All is sent and received."""
        self._failures, self._not_before = 0, now
        self._at = None if self._every is None else now + self._every * (1 - 0.1 * self._chance())

    def offline(self, now: float) -> None:
        """The remote cannot be reached, or refuses."""
        wait = min(_FIRST_BACK_OFF * 2.0 ** min(self._failures, 20), _LAST_BACK_OFF)
        self._failures += 1
        self._at = self._not_before = now + wait * (1 - 0.5 * self._chance())

    def refused(self, now: float) -> None:
        """It cannot be done as things are here: a person has to do something first."""
        self._failures = 0
        self._at = now + (self._every or _REFUSED_SECONDS)
        self._not_before = min(self._at, now + _REST_SECONDS)

    def at_work(self, now: float) -> None:
        """Another process syncs just now."""
        self._at = now + _AT_WORK_SECONDS


class AutoSync:
    """Syncs one vault by itself, if `sync.every` or `sync.on_commit` is set.

    It commits nothing: that is the background committer's, which knows what has rested. `held`
    gives the paths that are open for writing; `changed` is called when files of the vault did.
    """

    def __init__(
        self, store: Store, held: Callable[[], Collection[str]], changed: Callable[[], None]
    ) -> None:
        every = store.config["sync.every"]
        self._every: float | None = every.total_seconds() if every else None
        self._on_commit: bool = store.config["sync.on_commit"]
        self._vault = store.vault
        self._changed = changed
        self._syncer = Syncer(
            store.vault, store.config, store.committer, held, self._is_halted, commits=False
        )
        self._heads = history.HeadWatch(store.vault)
        self._head: str | None = None
        self._schedule = Schedule(self._every, time.monotonic(), on_commit=self._on_commit)
        self._stopped = threading.Event()
        self._until = float("inf")
        self._at_work = False
        #: Whether it syncs at all.
        self.is_on = store.config.syncs
        #: Whether there is a remote, as far as was looked.
        self._has_remote = True
        self._problem: str | None = None
        self._clock = store.config.clock
        self._tried_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="avm-sync", daemon=True)

    @property
    def is_needed(self) -> bool:
        """Whether a sync is under way, or is to come without anybody's doing."""
        if not self.is_on or not self._has_remote:
            return False
        return self._at_work or self._schedule.due is not None

    def start(self) -> None:
        """Begin, if it is on."""
        if self.is_on:
            self._thread.start()

    def halt(self) -> None:
        """Begin to end: what waits for the network is cut off."""
        self._stopped.set()

    def stop(self) -> None:
        """End."""
        self.halt()
        if self.is_on:
            self._thread.join()

    def told(self) -> dict[str, Any] | None:
        """What it does, for `status`; None if it is not on. `next`: in how many seconds."""
        if not self.is_on:
            return None
        due = self._schedule.due
        return {
            "at_work": self._at_work,
            "next": None if due is None else round(max(due - time.monotonic(), 0.0), 1),
            "problem": self._problem,
            "tried_at": self._tried_at,
        }

    def _is_halted(self) -> bool:
        return self._stopped.is_set() or time.monotonic() > self._until

    def _run(self) -> None:
        self._head = self._heads.head()
        while not self._stopped.is_set():
            now = time.monotonic()
            if self._on_commit and (head := self._heads.head()) != self._head:
                self._head = head
                self._schedule.committed(now)
            due = self._schedule.due
            if due is not None and due <= now:
                self._sync()
                continue
            waits = [_POLL_SECONDS] if self._on_commit else []
            waits += [] if due is None else [due - now]
            self._stopped.wait(min(waits, default=None))

    def _sync(self) -> None:
        """One sync; whatever comes of it is noted, and when the next is due."""
        schedule, problem = self._schedule, None
        self._until = time.monotonic() + _LONGEST_SYNC_SECONDS
        self._at_work = True
        schedule.began()
        try:
            self._tell_of_readers()
            report = self._syncer.sync()
            self._look_after(report)
            schedule.done(time.monotonic())
            if self._on_commit and not self._all_sent():
                schedule.committed(time.monotonic())
        except SyncAtWork:
            schedule.at_work(time.monotonic())
            problem = self._problem
        except RemoteError as err:
            schedule.offline(time.monotonic())
            problem = self._because(err)
        except (AVMError, OSError) as err:
            self._has_remote = not isinstance(err, NoRemote)
            schedule.refused(time.monotonic())
            problem = str(err)
        except Exception as err:  # noqa: BLE001  # without this thread nothing is synced
            schedule.refused(time.monotonic())
            problem = f"{type(err).__name__}: {err}"
            _log.exception("sync")
        self._at_work = False
        if problem and problem != self._problem and not self._stopped.is_set():
            _log.warning("sync: %s", paths.printable(problem))  # once: it may last for days
        self._problem, self._tried_at = problem, self._clock.timestamp()

    def _tell_of_readers(self) -> None:
        """Say once who can read what goes to a remote that is new."""
        url = self._syncer.remote().url
        self._has_remote = True
        if url not in known_remotes(self._vault):
            _log.warning("%s", paths.printable(readers(url)))
            note_known(self._vault, url)

    def _look_after(self, report: SyncReport) -> None:
        if report.files:
            self._changed()
        for copy, memory in sorted(report.copies.items()):
            both = f"{paths.display(memory)}; the other text: {paths.display(copy)}"
            _log.warning("sync: conflict: %s", paths.printable(both))
        for rel in sorted(report.kept):
            name = paths.printable(paths.display(rel))
            _log.warning("sync: kept: %s, removed on one side", name)

    def _all_sent(self) -> bool:
        """Whether the remote has what HEAD is at; a commit may have been made meanwhile."""
        self._head, last = self._heads.head(), last_sync(self._vault)
        return last is None or not self._head or not (distance(self._vault, last) or (0, 0))[0]

    def _because(self, err: AVMError) -> str:
        if self._until < time.monotonic():
            return f"no answer for {_LONGEST_SYNC_SECONDS / 60:.0f} minutes"
        return str(err)

"""Committing in the background: whoever holds the vault's one committer lock does it for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

from avm.base import log
from avm.base.config import Config
from avm.base.errors import AVMError
from avm.vault.authors import Authors, Entry
from avm.vault.changes import FRESH, OPEN
from avm.vault.committer import Committer, Report
from avm.vault.housekeeping import Housekeeper
from avm.vault.location import Vault
from avm.vault.locks import Lock, try_lock

_log = log.logger(__name__)
_POLL_SECONDS = 0.25
#: How often a round looks for the person's own edits, which no journal tells of, and whether
#: there is house to keep.
_PEOPLE_SECONDS = 60.0
#: How often a round looks again at what waits for the person: staged, in conflict, held back.
_PATIENT_SECONDS = 10.0


def lock_path(vault: Vault) -> Path:
    """The lock that the one background committer of a vault holds."""
    return vault.git_state / "committer.lock"


class BackgroundCommitter:
    """A thread that commits memories once they have rested (`commit.quiet`).

    It works only while it holds the vault's committer lock, so of any number of processes one
    commits; the others leave it to that one and take over when it goes.
    """

    def __init__(
        self,
        vault: Vault,
        config: Config,
        committer: Committer,
        held: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._authors = Authors(vault)
        self._committer = committer
        self._git_dir = vault.git_dir
        self._lock_path = lock_path(vault)
        self._quiet: float = config["commit.quiet"].total_seconds()
        self._max_wait: float = config["commit.max_wait"].total_seconds()
        self._off: bool = config["commit.who"] == "off"
        self._held = held
        self._housekeeper = Housekeeper(vault)
        self._tidying: threading.Thread | None = None
        self._stop = threading.Event()
        self._lock: Lock | None = None
        self._thread = threading.Thread(target=self._run, name="avm-committer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, *, flush: bool = True) -> Report | None:
        """End the thread; with `flush` commit agents' writes now, unless another process will.

        Returns the last round's report. Raises AVMError if that round failed.
        """
        self._stop.set()
        self._thread.join()
        if self._tidying:
            self._tidying.join()
        report: Report | None = None
        seen: list[Entry] = []
        # Whoever found the lock held while we committed has left its writes to us: look again
        # after letting go, as long as there is something that a round can settle.
        while flush and not self._off and (left := self._authors.read()[0]) and left != seen:
            if not (self._lock or self._take_lock()):
                break
            seen = left
            try:
                report = self._committer.commit(now=True, journalled=True)
            finally:
                self._release()
        self._release()
        return report

    def _release(self) -> None:
        if self._lock:
            self._lock.release()
            self._lock = None

    def _take_lock(self) -> bool:
        if self._git_dir.is_dir():  # else the lock would make folders where a vault was
            self._lock = try_lock(self._lock_path)
        return self._lock is not None

    def _run(self) -> None:
        clock = time.monotonic
        seen, since, began, patient_until = 0, clock(), clock(), 0.0
        people_at = clock() + _PEOPLE_SECONDS
        while not self._stop.wait(_POLL_SECONDS):
            if self._off or (self._lock is None and not self._take_lock()):
                continue
            size, now = self._authors.size(), clock()
            if size != seen:
                began = began if seen and not patient_until else now
                seen, since, patient_until = size, now, 0.0
            rested = now - since >= self._quiet or now - began >= self._max_wait
            ripe = size > 0 and rested and now >= patient_until
            if not ripe and now < people_at:
                continue
            patient = self._round(people=now >= people_at)
            if now >= people_at:
                people_at = now + _PEOPLE_SECONDS
                self._tidy_when_due()
            seen, since, began = self._authors.size(), clock(), clock()
            patient_until = since + _PATIENT_SECONDS if patient else 0.0

    def _round(self, *, people: bool) -> bool:
        """One round; True if all that is left waits for the person."""
        try:
            report = self._committer.commit(held=self._held(), journalled=not people)
        except (AVMError, OSError) as err:
            _log.warning("commit: %s", err)
            return False
        except Exception:  # noqa: BLE001  # this thread has the role: without it nobody commits
            _log.exception("commit")
            return False
        if report.blocked:
            _log.info("commit waits: %s", report.blocked)
            return False
        return not {FRESH, OPEN} & set(report.waiting.values())

    def _tidy_when_due(self) -> None:
        """Keep house in a thread of its own: packing may take longer than a memory should wait."""
        if (self._tidying and self._tidying.is_alive()) or not self._housekeeper.due():
            return
        self._tidying = threading.Thread(target=self._tidy, name="avm-housekeeper", daemon=True)
        self._tidying.start()

    def _tidy(self) -> None:
        try:
            undone = self._housekeeper.tidy(self._stop)
        except (AVMError, OSError) as err:
            _log.warning("housekeeping: %s", err)
            return
        if undone:
            _log.info("housekeeping waits: %s", undone)

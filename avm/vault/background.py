"""Committing in the background: whoever holds the vault's one committer lock does it for all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from avm.base.config import Config
from avm.base.errors import AVMError
from avm.vault.authors import Authors, Entry
from avm.vault.committer import Committer, Report
from avm.vault.location import Vault
from avm.vault.locks import try_lock

if TYPE_CHECKING:
    from filelock import BaseFileLock

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.25
#: How often a round looks for the person's own edits, which no journal tells of.
_PEOPLE_SECONDS = 60.0
#: In a vault that never rests a round comes all the same, after so many quiet times: each path in
#: it must have rested of its own.
_MOST_QUIETS = 5


def lock_path(vault: Vault) -> Path:
    """The lock that the one background committer of a vault holds."""
    return vault.git_state / "committer.lock"


class BackgroundCommitter:
    """A thread that commits memories once they have rested (`commit.quiet`).

    It works only while it holds the vault's committer lock, so of any number of processes one
    commits; the others leave it to that one and take over when it goes.
    """

    def __init__(
        self, vault: Vault, config: Config, held: Callable[[], Collection[str]] = tuple
    ) -> None:
        self._authors = Authors(vault)
        self._committer = Committer(vault, config)
        self._lock_path = lock_path(vault)
        self._quiet: float = config["commit.quiet"].total_seconds()
        self._held = held
        self._stop = threading.Event()
        self._lock: BaseFileLock | None = None
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
        report: Report | None = None
        seen: list[Entry] = []
        # Whoever found the lock held while we committed has left its writes to us: look again
        # after letting go, as long as there is something that a round can settle.
        while flush and (left := self._authors.read()[0]) and left != seen:
            if not (self._lock or self._take_lock()):
                break
            seen = left
            try:
                report = self._committer.commit(now=True)
            finally:
                self._release()
        self._release()
        return report

    def _release(self) -> None:
        if self._lock:
            self._lock.release()
            self._lock = None

    def _take_lock(self) -> bool:
        self._lock = try_lock(self._lock_path)
        return self._lock is not None

    def _run(self) -> None:
        seen, since, began = 0, time.monotonic(), time.monotonic()
        people_at = began + _PEOPLE_SECONDS
        while not self._stop.wait(_POLL_SECONDS):
            if self._lock is None and not self._take_lock():
                continue
            size, now = self._authors.size(), time.monotonic()
            if size != seen:
                began = began if seen else now
                seen, since = size, now
            rested = now - since >= self._quiet or now - began >= _MOST_QUIETS * self._quiet
            ripe = size > 0 and rested
            if not ripe and now < people_at:
                continue
            self._round()
            seen, since, people_at = self._authors.size(), time.monotonic(), now + _PEOPLE_SECONDS
            began = since

    def _round(self) -> None:
        try:
            report = self._committer.commit(held=self._held())
        except (AVMError, OSError) as err:
            _log.warning("commit: %s", err)
            return
        if report.blocked:
            _log.info("commit waits: %s", report.blocked)

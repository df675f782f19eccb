"""Rounds that make the index equal to the files, one after the other, for all who wait for one.

A ticket is answered by a round that began after the ticket was drawn: whatever was written before
that is in what the round looks at.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from avm.base import log, paths
from avm.base.errors import AVMError, NoVaultError
from avm.index.index import Index
from avm.keeper.watcher import Doubt, Watcher
from avm.vault import history
from avm.vault.location import Vault
from avm.vault.survey import Walk

_log = log.logger(__name__)
#: A full look now and then, in case an event that should have come did not. As a share of the time
#: it takes: 1 % of one processor at most.
_SCAN_SECONDS = 300.0
_SCAN_SHARE = 100.0
#: How long an index that cannot be brought up to date is left alone.
_REST_SECONDS = 5.0

#: Called when the ticket's round is done: None, or in one line why it failed.
Ticket = Callable[[str | None], None]


class Sequencer:
    """Runs the rounds in a thread of its own. `changed` is called after each that looked."""

    def __init__(
        self,
        vault: Vault,
        index: Index,
        watcher: Watcher,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._vault = vault
        self._index = index
        self._watcher = watcher
        self._changed = changed
        self._condition = threading.Condition()
        self._tickets: list[Ticket] = []
        self._wanted = True
        self._stopped = False
        self._busy = False
        self._heads = history.HeadWatch(vault)
        self._head: str | None = None
        self._scan_at = 0.0
        #: Seconds that the last full look took, and how many rounds there were.
        self.scan_seconds = 0.0
        self.rounds = 0
        #: Those that somebody asked for, or that an event was the reason of.
        self.asked_rounds = 0
        #: Why the last round failed.
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="avm-sequencer", daemon=True)

    def start(self) -> None:
        """Begin, with a look at everything."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round that is under way; who still waits is told."""
        with self._condition:
            self._stopped = True
            self._condition.notify()
        self._thread.join()
        for ticket in self._tickets:
            ticket("the keeper is ending")

    def is_fresh(self) -> bool:
        """Whether the index shows every write that returned before this call; asks the kernel."""
        began = self._settled()
        if began is None:
            return False
        self._watcher.drain()
        in_doubt = (
            self._watcher.gone
            or self._watcher.always
            or self._watcher.pending()
            or not self._index.is_current()
            or self._heads.head() != self._head
        )
        # A round that began meanwhile may have taken over what was drained.
        return not in_doubt and self._settled() == began

    def _settled(self) -> int | None:
        """The number of rounds, if none is under way or wanted and the last one succeeded."""
        with self._condition:
            return None if self._busy or self._wanted or self.problem else self.rounds

    def wake(self) -> None:
        """Have a round if there is anything to do; waits for nothing."""
        with self._condition:
            self._wanted = True
            self._condition.notify()

    def request(self, ticket: Ticket) -> None:
        """Have a round that begins after now, and call `ticket` when it is done."""
        with self._condition:
            self._tickets.append(ticket)
            self._wanted = True
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not (self._wanted or self._stopped):
                    left = self._scan_at - time.monotonic()
                    if left <= 0:
                        self._watcher.doubt_everything()
                        break
                    self._condition.wait(left)
                if self._stopped:
                    return
                self.asked_rounds += self._wanted
                self._wanted, self._busy = False, True
                tickets, self._tickets = self._tickets, []
            before = self.problem
            try:
                self._round()
                self.problem = None
            except (AVMError, OSError) as err:
                self.problem = str(err)
                if self.problem != before:  # it may last for days
                    _log.warning("index: %s", err)
            except Exception as err:  # noqa: BLE001  # without this thread nothing is indexed
                self.problem = f"{type(err).__name__}: {err}"
                _log.exception("index")
            with self._condition:
                self._busy = False
                self.rounds += 1
                if self.problem:
                    self._watcher.doubt_everything()
                    self._scan_at = time.monotonic() + _REST_SECONDS
            for ticket in tickets:
                ticket(self.problem)
            self._changed()

    def _round(self) -> None:
        self._watcher.drain()
        if self._watcher.gone:  # an index would make its folders anew
            raise NoVaultError(f"the vault at {self._vault.root} is gone")
        head = history.head_if_told(self._vault)
        doubt = self._watcher.take()
        while True:
            walk = self._look(doubt)
            again = self._watcher.settle(doubt, walk)
            if not again:
                break
            # What changed in a folder before it was watched sent no event.
            doubt = Doubt(paths.topmost(again))
        self._head = head

    def _look(self, doubt: Doubt) -> Walk:
        walk = None if doubt.everything else self._index.refresh_paths(doubt.rels)
        if walk is None:
            doubt.everything = True
            began = time.monotonic()
            walk = self._index.refresh()
            self.scan_seconds = time.monotonic() - began
            rest = max(_SCAN_SECONDS, _SCAN_SHARE * self.scan_seconds)
            self._scan_at = time.monotonic() + rest
        return walk

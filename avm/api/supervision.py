"""What agents are held to: their quotas, and the log of what they do."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection
from typing import TYPE_CHECKING

from avm.base.access import Quota, Viewer
from avm.base.config import Config
from avm.base.errors import QuotaError, RepositoryError
from avm.base.lazy import lazy
from avm.vault.location import Vault
from avm.vault.usage import Made, Usage

if TYPE_CHECKING:
    from avm.vault.audit import Audit


class Supervision:
    """Of one vault's agents, whom this process asks for by `door`: `cli`, `python`, `mount`, `mcp`,
    `hook`. The owner (an agent of None) is not supervised."""

    def __init__(self, vault: Vault, config: Config, door: str) -> None:
        self.door = door
        self._vault = vault
        self._config = config
        self._loading = threading.RLock()
        self._usages: dict[str, Usage | None] = {}

    @lazy
    def _audit(self) -> Audit:
        from avm.vault.audit import Audit

        return Audit(self._vault)

    def usage(self, agent: str | None) -> Usage | None:
        """What an agent's files come to; None for one without a quota."""
        if agent is None:
            return None
        if agent not in self._usages:
            with self._loading:
                self._usages.setdefault(agent, self._opened(agent))
        return self._usages[agent]

    def _opened(self, agent: str) -> Usage | None:
        rules = self._config.access.of(agent)
        if rules.quota == Quota():
            return None
        return Usage(self._vault, agent, rules.quota, Viewer(agent, rules).can_read)

    def make_room(self, rel: str, size: int, agent: str | None, *, hold: bool = False) -> None:
        """Before `agent` makes the file `rel` of `size` bytes. With `hold` it is open, and counts
        as that large until `counted`. Raises QuotaError."""
        if self.usage(agent) is not None:
            self.make_room_for([Made(rel, size)], agent, hold=hold)

    def make_room_for(
        self, made: Collection[Made], agent: str | None, *, hold: bool = False
    ) -> None:
        """The same for several files, of which all or none are made."""
        usage = self.usage(agent)
        if usage is None or not made:
            return
        try:
            usage.check(made, hold=hold)
        except QuotaError as error:
            self.denied(agent, "write", next(iter(made)).rel, str(error))
            raise

    def counted(self, rel: str, agent: str | None, *, closed: bool = True) -> None:
        """Count what `agent` made of the file at `rel`, which it has open no more if `closed`."""
        usage = self.usage(agent)
        if usage is not None:
            # It is written: a count that cannot be noted is made again sooner or later.
            with contextlib.suppress(OSError, RepositoryError):
                usage.note(rel, closed=closed)

    def wrote(self, rel: str, agent: str | None, op: str) -> None:
        """Count and log a write."""
        self.counted(rel, agent, closed=False)
        if agent is not None and self._config["audit"]:
            self._audit.wrote(self._config.clock.timestamp(), self.door, agent, op, rel)

    def denied(self, agent: str | None, op: str, rel: str, why: str) -> None:
        """Log that something was not done."""
        if agent is not None and self._config["audit"]:
            self._audit.denied(self._config.clock.timestamp(), self.door, agent, op, rel, why)

    def close(self) -> None:
        """Let go of the log."""
        if "_audit" in vars(self):
            self._audit.close()

"""What agents are held to: their quotas, and the log of what they do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from avm.base.access import Quota
from avm.base.config import Config
from avm.base.errors import QuotaError
from avm.base.lazy import lazy
from avm.vault.location import Vault

if TYPE_CHECKING:
    from avm.vault.audit import Audit
    from avm.vault.usage import Usage


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
        quota = self._config.access.of(agent).quota
        if quota == Quota():
            return None
        from avm.vault.usage import Usage

        return Usage(self._vault, agent, quota)

    def make_room(
        self,
        rel: str,
        size: int,
        agent: str | None,
        *,
        source: str | None = None,
        hold: bool = False,
    ) -> None:
        """Before `agent` makes the file `rel` of `size` bytes, of `source` if that is renamed.

        With `hold` it is open, and counts as that large until `counted`. Raises QuotaError.
        """
        usage = self.usage(agent)
        if usage is None:
            return
        try:
            usage.check(rel, size, source=source, hold=hold)
        except QuotaError as error:
            self.denied(agent, "write", rel, str(error))
            raise

    def counted(self, rel: str, agent: str | None) -> None:
        """Count what `agent` made of the file at `rel`, which it has open no more."""
        usage = self.usage(agent)
        if usage is not None:
            usage.note(rel, closed=True)

    def wrote(self, rel: str, agent: str | None, op: str) -> None:
        """Count and log a write."""
        usage = self.usage(agent)
        if usage is not None:
            usage.note(rel)
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

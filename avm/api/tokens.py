"""Tokens by which agents are known over HTTP: made once, kept as sums, told apart from nothing."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import NamedTuple

from avm.base import paths
from avm.base.errors import NotFoundError
from avm.vault.journal import Journal
from avm.vault.location import Vault

_BYTES = 32
_SHOWN = 8


class Token(NamedTuple):
    """A token without itself. `id`: the beginning of its sum; `made` in seconds since the epoch."""

    id: str
    agent: str
    made: float


class Tokens:
    """The tokens of one vault. Any number of processes may ask."""

    def __init__(self, vault: Vault) -> None:
        self._journal = Journal(vault.own_state / "tokens.jsonl")

    def create(self, agent: str) -> str:
        """A new token for an agent; nobody can read it again. Raises UsageError."""
        token = f"avm_{paths.check_agent(agent)}_{secrets.token_urlsafe(_BYTES)}"
        self._journal.append({"sum": _sum(token), "agent": agent, "made": time.time()})
        self._journal.file.chmod(0o600)
        return token

    def list(self) -> list[Token]:
        """Those that hold, oldest first."""
        return [
            Token(str(r["sum"])[:_SHOWN], str(r["agent"]), float(r["made"]))
            for r in self._journal.records()
        ]

    def revoke(self, id: str) -> Token:
        """Let a token hold no more. Raises NotFoundError."""
        with self._journal.locked():
            records = list(self._journal.records())
            gone = [one for one in records if str(one["sum"]).startswith(id) and len(id) >= _SHOWN]
            if len(gone) != 1:
                raise NotFoundError(f"no token {id!r}: avm token list")
            self._journal.rewrite(one for one in records if one not in gone)
            self._journal.file.chmod(0o600)
        return Token(str(gone[0]["sum"])[:_SHOWN], str(gone[0]["agent"]), float(gone[0]["made"]))

    def agent_of(self, token: str) -> str | None:
        """The agent whose token it is; None for what is none."""
        wanted = _sum(token)
        for record in self._journal.records():
            if secrets.compare_digest(str(record.get("sum", "")), wanted):
                return str(record["agent"])
        return None


def _sum(token: str) -> str:
    # 256 bits by chance: nobody guesses them, so that a quick sum is enough.
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()

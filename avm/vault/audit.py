"""The audit log: what agents wrote, and what they were denied, by any door.

`state/audit.jsonl` holds one JSON object a line. A full one becomes `audit.1.jsonl`, which becomes
`audit.2.jsonl`, up to `KEPT`; the oldest goes. Any number of processes append.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from datetime import UTC, datetime

from avm.base import paths
from avm.base.errors import RepositoryError
from avm.vault.location import Vault
from avm.vault.locks import locked

#: Bytes of a file that is full, and how many full ones are kept.
FULL, KEPT = 4_000_000, 4


class Audit:
    """The log of one vault. Each call gives the time (seconds since the epoch), the door by which
    the agent came, the agent, what it did, and the rel that it did it to."""

    def __init__(self, vault: Vault) -> None:
        self._folder = str(vault.own_state)
        self._name = self._path(0)
        self._fd = -1
        self._guard = threading.Lock()

    def wrote(self, at: float, door: str, agent: str, op: str, rel: str) -> None:
        """Note a write."""
        self._append(at, door, agent, op, rel, {})

    def denied(self, at: float, door: str, agent: str, op: str, rel: str, why: str) -> None:
        """Note that something was not done."""
        self._append(at, door, agent, op, rel, {"denied": why})

    def close(self) -> None:
        """Let go of the file."""
        with self._guard:
            self._drop()

    def _append(
        self, at: float, door: str, agent: str, op: str, rel: str, more: dict[str, str]
    ) -> None:
        record = {
            "at": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
            "agent": agent,
            "door": door,
            "op": op,
            "path": paths.display(rel),
            **more,
        }
        line = json.dumps(record).encode() + b"\n"
        # A disk that is full or read-only fails the write itself; the log is no second reason.
        with self._guard, contextlib.suppress(OSError, RepositoryError):
            # One write under O_APPEND: lines of several processes do not mix.
            os.write(self._open(), line)

    def _open(self) -> int:
        """The file that has this name now, with room in it."""
        if self._fd >= 0:
            ours = os.fstat(self._fd)
            try:
                if os.path.samestat(ours, os.stat(self._name)) and ours.st_size < FULL:
                    return self._fd
            except FileNotFoundError:
                pass
            self._drop()
        self._turn()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            self._fd = os.open(self._name, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(self._folder, exist_ok=True)
            self._fd = os.open(self._name, flags, 0o600)
        return self._fd

    def _turn(self) -> None:
        """Give a full file its next name."""
        if not self._is_full():
            return
        with locked(f"{self._folder}/audit.lock"):
            if self._is_full():
                for number in reversed(range(KEPT)):
                    with contextlib.suppress(FileNotFoundError):
                        os.replace(self._path(number), self._path(number + 1))

    def _is_full(self) -> bool:
        try:
            return os.stat(self._name).st_size >= FULL
        except FileNotFoundError:
            return False

    def _path(self, number: int) -> str:
        return f"{self._folder}/audit{f'.{number}' if number else ''}.jsonl"

    def _drop(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

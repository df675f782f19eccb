"""Which process is a vault's keeper: who holds the lock. A newer or abler one takes over."""

from __future__ import annotations

import time
from pathlib import Path

from avm.api.keeper import noted_socket, socket_path
from avm.base.keeper_client import Connection, Hello
from avm.vault.location import Vault
from avm.vault.locks import Lock, try_lock

#: How long one that is told to stop may take: it commits what waits.
_STOP_SECONDS = 30.0
#: How long one that does not answer yet, or not any more, may take to begin or to end.
_BETWEEN_SECONDS = 3.0
_POLL_SECONDS = 0.05


def lock_path(vault: Vault) -> Path:
    """The lock that a vault's keeper holds as long as it lives."""
    return vault.state_dir / "keeper.lock"


def take_role(vault: Vault, mine: Hello) -> Lock | Hello | None:
    """The role's lock; else the hello of the keeper that has the role, None if it does not speak.

    One that `mine` replaces is told to stop.
    """
    deadline = time.monotonic() + _BETWEEN_SECONDS
    told = False
    while (lock := try_lock(lock_path(vault))) is None:
        other = None if told else _meet(vault, mine)
        if other is not None:
            if not mine.replaces(other.other):
                other.close()
                return other.other
            _tell_to_stop(other)
            told, deadline = True, time.monotonic() + _STOP_SECONDS
        if time.monotonic() > deadline:
            return None
        time.sleep(_POLL_SECONDS)
    return lock


def is_taken(vault: Vault) -> bool:
    """Whether some process has the role."""
    lock = try_lock(lock_path(vault))
    if lock:
        lock.release()
    return lock is None


def stop(vault: Vault, mine: Hello) -> bool:
    """Have the keeper end, and one that was waiting to follow it; True once nobody has the role."""
    deadline = time.monotonic() + _STOP_SECONDS
    while is_taken(vault):
        if time.monotonic() > deadline:
            return False
        if other := _meet(vault, mine):
            _tell_to_stop(other)
        time.sleep(_POLL_SECONDS)
    return True


def _meet(vault: Vault, mine: Hello) -> Connection | None:
    try:
        return Connection(noted_socket(vault) or socket_path(vault), mine)
    except (OSError, ValueError):
        return None


def _tell_to_stop(other: Connection) -> None:
    try:
        other.ask(1.0, {"op": "stop"})
    except (OSError, ValueError):
        return
    finally:
        other.close()

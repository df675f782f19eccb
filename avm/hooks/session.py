"""What a session of a coding agent was told already: a small file each, in the vault's state."""

from __future__ import annotations

import contextlib
import json
import os
import time
from binascii import crc32
from collections.abc import Iterable

from avm.base import atomic
from avm.base.errors import RepositoryError
from avm.vault.location import Vault
from avm.vault.locks import locked

#: A session that was told nothing for so long is over.
_OLD_SECONDS = 30 * 86_400
#: How long another hook of the session may take to note what it told.
_LOCK_SECONDS = 0.1


class Session:
    """One session, by the host's name for it."""

    def __init__(self, vault: Vault, name: str) -> None:
        self._folder = vault.own_state / "sessions"
        self._lock = self._folder / "sessions.lock"
        self._file = self._folder / f"{crc32(name.encode('utf-8', 'replace')):08x}.json"

    def known(self) -> set[int] | None:
        """The keys of what it was told (avm.api.reminding); None if it was told nothing yet."""
        try:
            return set(map(int, json.loads(self._file.read_bytes())))
        except (OSError, ValueError, TypeError):
            return None

    def can_note(self) -> bool:
        """Whether `told` can note anything: not in a vault that may only be read."""
        folders = (self._folder, *self._folder.parents)
        return os.access(next(folder for folder in folders if folder.is_dir()), os.W_OK)

    def told(self, keys: Iterable[int]) -> None:
        """It was told these. Where that cannot be noted, it will be told again."""
        with (
            contextlib.suppress(OSError, RepositoryError),
            locked(self._lock, timeout=_LOCK_SECONDS),
        ):
            everything = sorted((self.known() or set()).union(keys))
            atomic.replace(self._file, json.dumps(everything).encode())

    def forget(self) -> None:
        """It knows nothing of it any more; nor is anything kept of sessions that are over."""
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)
            for entry in os.scandir(self._folder):
                if time.time() - entry.stat().st_mtime > _OLD_SECONDS:
                    os.unlink(entry.path)

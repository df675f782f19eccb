"""What a session of a coding agent was told already: a small file each, in the vault's state."""

from __future__ import annotations

import contextlib
import json
import os
import time
from binascii import crc32
from collections.abc import Iterable

from avm.base import atomic
from avm.vault.location import Vault

#: A session that was told nothing for so long is over.
_OLD_SECONDS = 30 * 86_400


class Session:
    """One session, by the host's name for it."""

    def __init__(self, vault: Vault, name: str) -> None:
        self._folder = vault.own_state / "sessions"
        self._file = self._folder / f"{crc32(name.encode('utf-8', 'replace')):08x}.json"

    def known(self) -> set[int] | None:
        """The keys of what it was told (avm.api.reminding); None if it was told nothing yet."""
        try:
            return set(map(int, json.loads(self._file.read_bytes())))
        except (OSError, ValueError, TypeError):
            return None

    def told(self, keys: Iterable[int]) -> None:
        """It was told these. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        everything = sorted((self.known() or set()).union(keys))
        atomic.replace(self._file, json.dumps(everything).encode())

    def forget(self) -> None:
        """It knows nothing of it any more; nor is anything kept of sessions that are over."""
        self._file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._folder):
                if time.time() - entry.stat().st_mtime > _OLD_SECONDS:
                    os.unlink(entry.path)

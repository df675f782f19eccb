"""git's own lock of its index, taken for a moment by a copy that becomes the index.

The lock is a second name of the copy, so that after a kill it can be told from anybody else's
(recovery.py). git does not wait for it: hold it for as short as can be.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from avm.vault.location import Vault
from avm.vault.objects import Locked


def place(vault: Vault) -> Path:
    """Where the lock is."""
    return vault.git_dir / "index.lock"


@contextlib.contextmanager
def held(vault: Vault, copy: Path) -> Iterator[None]:
    """Hold the lock as a second name of `copy`; on an error it goes again. Raises Locked."""
    lock = place(vault)
    try:
        os.link(copy, lock)
    except FileExistsError:
        raise Locked(lock) from None
    try:
        yield
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(lock)
        raise


def put_in_place(vault: Vault) -> None:
    """Make the copy the index; that frees the lock."""
    os.rename(place(vault), vault.git_index)

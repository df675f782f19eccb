"""What a committer notes before it takes git's lock, and how the next one mends after a kill.

A lock is removed only if it is the very file that the note's writer prepared. Call with the
committers' mutex held: the note's writer is gone then.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from pathlib import Path

from avm.base import atomic
from avm.base.errors import RepositoryError
from avm.vault import git, index_lock
from avm.vault.location import Vault
from avm.vault.staging import empty_quarantine

#: git writes into a lock of its own at once: one that is empty for so long is nobody's.
_LIVING_SECONDS = 0.1


def mutex(vault: Vault) -> Path:
    """The lock that a committer holds for a round."""
    return vault.git_state / "commit.lock"


def note_path(vault: Vault) -> Path:
    """Where the note is."""
    return vault.git_state / "commit.json"


def checkout_note(vault: Vault) -> Path:
    """Where the note of a checkout is, which tells what files to put back."""
    return vault.git_state / "checkout.json"


def note(vault: Vault, *, ref: str, new: str, copy: Path) -> None:
    """Note what is about to happen: `ref` moves to `new`, `copy` becomes git's index."""
    plan = {"ref": ref, "new": new, "copy": copy.name}
    atomic.replace(note_path(vault), json.dumps(plan).encode())


def forget(vault: Vault) -> None:
    """Nothing is about to happen any more."""
    note_path(vault).unlink(missing_ok=True)


def recover(vault: Vault) -> None:
    """Finish or undo what a killed committer, or a killed checkout, left."""
    was_moving = checkout_note(vault).exists()
    if was_moving:
        from avm.vault import checkout

        checkout.put_back(vault)
    lock = index_lock.place(vault)
    try:
        plan = json.loads(note_path(vault).read_bytes())
        _drop_ref_lock(vault, plan["ref"], plan["new"])
        copy = vault.git_state / plan["copy"]
        if lock.samefile(copy):
            at = git.output(vault.root, "rev-parse", "-q", "--verify", plan["ref"])
            if at == plan["new"]:
                os.rename(lock, vault.git_index)
            else:
                os.unlink(lock)
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError, RepositoryError):
        # A note cut short was written before any lock was taken; a ref that git cannot resolve was
        # never moved: the lock, if it is ours, goes below.
        _drop_own_lock(vault, lock)
    for pattern in ("index.*", "tree.*"):
        for leftover in vault.git_state.glob(pattern):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)  # a killed committer's git may still rename it
    empty_quarantine(vault)
    forget(vault)
    if was_moving:
        see_anew(vault)


def see_anew(vault: Vault) -> None:
    """Have git's index know files that were put back: they are as they were, with new stamps."""
    git.run(vault.root, ("update-index", "-q", "--refresh"), check=False)


def _drop_ref_lock(vault: Vault, ref: str, new: str) -> None:
    """Remove the branch's lock if libgit2 was killed while it held it for us.

    It is ours if it came after our note and holds our commit's id, or nothing.
    """
    lock = vault.common_dir / f"{ref}.lock"
    try:
        status = lock.stat()
        if status.st_mtime_ns < note_path(vault).stat().st_mtime_ns:
            return
        if not status.st_size:
            time.sleep(_LIVING_SECONDS)
        if lock.stat().st_ino == status.st_ino and lock.read_text().strip() in ("", new):
            lock.unlink()
    except FileNotFoundError:
        pass


def _drop_own_lock(vault: Vault, lock: Path) -> None:
    for copy in vault.git_state.glob("index.*"):
        with contextlib.suppress(FileNotFoundError):
            if copy.is_file() and lock.samefile(copy):
                os.unlink(lock)

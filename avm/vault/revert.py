"""Taking one change of a file back from the text as it is now: a three-way merge."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from avm.base.errors import RepositoryError
from avm.base.paths import TEMP_PREFIX
from avm.vault import git
from avm.vault.location import Vault

#: `git merge-file` exits with the number of conflicts, beyond this with an error.
_MOST_CONFLICTS = 127


class EditedSince(Exception):
    """The change cannot be taken back: the argument says what came after it."""


def reverted(
    vault: Vault, now: bytes | None, before: bytes | None, after: bytes | None
) -> bytes | None:
    """The content `now` without the change from `before` to `after`; None is no file.

    Raises EditedSince.
    """
    if now == after:
        return before
    if now == before:
        return now  # it is taken back already
    if now is None:
        raise EditedSince("it was removed or renamed since")
    if before is None:
        raise EditedSince("it was edited since it was made")
    if after is None:
        raise EditedSince("another file has its name now")
    return _merged(vault, now, after, before)


def _merged(vault: Vault, now: bytes, base: bytes, other: bytes) -> bytes:
    vault.git_state.mkdir(parents=True, exist_ok=True)
    # Not `tree.`: what is called so a committer takes away.
    with tempfile.TemporaryDirectory(prefix="merge.", dir=vault.git_state) as folder:
        names = []
        for name, data in (("now", now), ("base", base), ("other", other)):
            # By this prefix doctor finds what a kill left.
            place = Path(folder) / f"{TEMP_PREFIX}{os.getpid()}-{name}"
            place.write_bytes(data)
            names.append(str(place))
        done = git.run(vault.root, ("merge-file", "-p", "--quiet", *names), check=False)
    if done.returncode == 0:
        return done.stdout
    if done.returncode <= _MOST_CONFLICTS:
        raise EditedSince("the same lines were edited since")
    if b"binary" in done.stderr:
        raise EditedSince("it was edited since, and is no text")
    raise RepositoryError(f"git merge-file: {done.stderr.decode('utf-8', 'replace').strip()}")

"""A three-way merge of lines, by the git program."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from avm.base.errors import RepositoryError
from avm.base.paths import TEMP_PREFIX
from avm.vault import git

#: `git merge-file` exits with the number of conflicts, beyond this with an error.
_MOST_CONFLICTS = 127
#: What a person may have configured here decides also what is a conflict.
_ALIKE = ("-c", "merge.conflictStyle=merge")


def merge_lines(scratch: Path, base: bytes, one: bytes, other: bytes) -> bytes | None:
    """The lines of `one` with what changed from `base` to `other`; None if both changed the same
    ones. None of the three may be binary.

    `scratch` is a folder for files of a moment; it is made. Raises RepositoryError.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    # Not `tree.`: what is called so a committer takes away.
    with tempfile.TemporaryDirectory(prefix="merge.", dir=scratch) as folder:
        names = []
        for name, data in (("one", one), ("base", base), ("other", other)):
            # By this prefix doctor finds what a kill left.
            place = Path(folder) / f"{TEMP_PREFIX}{os.getpid()}-{name}"
            place.write_bytes(data)
            names.append(str(place))
        done = git.run(Path(folder), (*_ALIKE, "merge-file", "-p", "--quiet", *names), check=False)
    if done.returncode == 0:
        return done.stdout
    if done.returncode <= _MOST_CONFLICTS:
        return None
    raise RepositoryError(f"git merge-file: {git.last_line(done.stderr)}")

"""Merging one file for git: what the driver (driver.py) calls through `avm hook git merge`."""

from __future__ import annotations

from pathlib import Path

from avm.base.errors import RepositoryError


def run(folder: Path, ancestor: Path, ours: Path, theirs: Path, rel: str, *, virtual: bool) -> None:
    """Put the merge of three versions of `rel` in the place of `ours`, as the last act.

    `folder` is the top of the work tree, in which git gives the three as temporary files;
    `virtual`: the result is an ancestor of a criss-cross merge and nobody will see it. Raises
    AVMError if it cannot merge; `ours` is then as it was.
    """
    raise RepositoryError(f"{rel}: merging memories is not built yet")

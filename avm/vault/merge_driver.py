"""git's merge driver for memories: the rules of `avm sync` for people who `git pull` themselves."""

from __future__ import annotations

from pathlib import Path

from avm.base import atomic, merging
from avm.base.merging import Side
from avm.vault import conflict_queue, git
from avm.vault.location import open_vault
from avm.vault.merge_lines import merge_lines


def run(
    folder: Path, ancestor: Path, ours: Path, theirs: Path, rel: str, *, virtual: bool
) -> str | None:
    """Merge the files that git wrote for the path `rel` and leave the result in `ours`.

    `folder` is the top of the work tree. With `virtual` git merges common ancestors, which nobody
    will see. Returns where the other side's text will be kept if it did not fit in, as a rel.
    Raises AVMError, OSError; `ours` is then as it was.
    """
    vault = open_vault(folder)
    like = git.output(folder, "rev-parse", "HEAD^{tree}")
    base, *sides = (place.read_bytes() for place in (ancestor, ours, theirs))
    one, other = (Side(data, git.blob_id(data, like)) for data in sides)
    merged = merging.merge(
        rel, base or None, one, other, lambda *texts: merge_lines(vault.git_state, *texts)
    )
    copy = None
    if merged.copy is not None and not virtual:
        copy = merging.copy_name(rel, merged.loser)
        winner = one.blob if merged.loser == other.blob else other.blob
        conflict_queue.put(vault, rel, merged.loser, winner, merged.copy, merged.data)
    atomic.replace(ours, merged.data)
    return copy

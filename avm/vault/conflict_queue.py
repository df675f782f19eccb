"""What git's merge driver could not put into the merge: texts that are to stand beside their file.

A driver can change the one file it is called for. The other side's text waits here, held by a ref,
until the merge is committed; whoever commits next then puts the copy in its place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from avm.base import atomic, merging
from avm.vault import git
from avm.vault.journal import Journal
from avm.vault.location import Vault
from avm.vault.staging import blob_on_disk

_REFS = "refs/avm/conflict/"
#: A merge that was given up leaves its texts in the history of both sides.
_KEPT_SECONDS = 90 * 86_400


@dataclass(frozen=True)
class Queued:
    """A conflict copy of `path` (a rel): its blob, the blob `loser` that it is named after, and the
    blob that the driver left at `path`. `at` in seconds since the epoch."""

    path: str
    loser: str
    blob: str
    result: str
    at: float


def place(vault: Vault) -> Path:
    """Where the list is; it exists while something waits."""
    return vault.own_state / "conflicts.jsonl"


def put(vault: Vault, path: str, loser: str, data: bytes, result: bytes) -> None:
    """Keep `data`, the text of the version `loser`, until it can stand beside `path`. Raises
    RepositoryError."""
    written = git.run(vault.root, ("hash-object", "-w", "--stdin"), stdin=data).stdout
    blob = written.decode().strip()
    git.run(vault.root, ("update-ref", f"{_REFS}{blob}", blob))
    queued = Queued(path, loser, blob, git.blob_id(result, blob), time.time())
    Journal(place(vault)).append(asdict(queued))


def waiting(vault: Vault) -> list[Queued]:
    """What waits, oldest first."""
    found = {}
    for record in Journal(place(vault)).records():
        try:
            queued = Queued(**record)
        except TypeError:
            continue
        found[queued.path, queued.blob] = queued
    return list(found.values())


def put_in_place(vault: Vault) -> dict[Queued, str]:
    """Write the copies whose merge was made under names that are free; returns them. Call it while
    no operation of the person's is in progress. Raises RepositoryError."""
    made = {
        queued: _free_name(vault, queued) for queued in waiting(vault) if _was_made(vault, queued)
    }
    for queued, copy in made.items():
        target = vault.path(copy)
        if not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_new(target, git.run(vault.root, ("cat-file", "blob", queued.blob)).stdout)
    return made


def _free_name(vault: Vault, queued: Queued) -> str:
    """As the merge of `avm sync` names it: with more digits where another text has the name."""
    digits = merging.COPY_DIGITS
    while True:
        name = merging.copy_name(queued.path, queued.loser, digits)
        there = blob_on_disk(vault, name, queued.blob)
        is_free = not os.path.lexists(vault.path(name)) or (there and there[0] == queued.blob)
        if is_free or digits >= len(queued.loser):
            return name
        digits += merging.MORE_DIGITS


def settle(vault: Vault, done: Collection[Queued]) -> None:
    """Forget what is in place, and what nobody has asked for in a long time."""
    journal = Journal(place(vault))
    since = time.time() - _KEPT_SECONDS
    with journal.locked():
        left = [one for one in waiting(vault) if one not in done and one.at >= since]
        gone = {one.blob for one in waiting(vault)} - {one.blob for one in left}
        journal.rewrite(map(asdict, left))
        if not left:
            journal.file.unlink()
    feed = "".join(f"delete {_REFS}{blob}\n" for blob in gone).encode()
    git.run(vault.root, ("update-ref", "--stdin"), stdin=feed, check=False)


def _was_made(vault: Vault, queued: Queued) -> bool:
    """Whether what the driver left is there or was committed: its merge was not given up."""
    there = blob_on_disk(vault, queued.path, queued.result)
    if there is not None and there[0] == queued.result:
        return True
    args = ("log", "-1", "--format=%H", "-m", f"--find-object={queued.result}", "HEAD", "--")
    found = git.run(vault.root, (*args, queued.path), check=False)
    return bool(found.stdout.strip())

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

from avm.base import atomic, log, merging, paths
from avm.vault import files, git
from avm.vault.journal import Journal
from avm.vault.location import Vault
from avm.vault.staging import blob_on_disk

_log = log.logger(__name__)
_REFS = "refs/avm/conflict/"
#: A merge that was given up leaves its texts in the history of both sides.
_KEPT_SECONDS = 90 * 86_400


@dataclass(frozen=True)
class Queued:
    """A conflict copy of `path` (a rel): its blob, the blob `loser` that it is named after, that of
    the other side, and the one that the driver left at `path`. `at` in seconds since the epoch."""

    path: str
    loser: str
    winner: str
    blob: str
    result: str
    at: float


def place(vault: Vault) -> Path:
    """Where the list is; it exists while something waits."""
    return vault.own_state / "conflicts.jsonl"


def put(vault: Vault, path: str, loser: str, winner: str, data: bytes, result: bytes) -> None:
    """Keep `data`, the text of the version `loser`, until it can stand beside `path`. Raises
    RepositoryError."""
    written = git.run(vault.root, ("hash-object", "-w", "--stdin"), stdin=data).stdout
    blob = written.decode().strip()
    git.run(vault.root, ("update-ref", f"{_REFS}{blob}", blob))
    queued = Queued(path, loser, winner, blob, git.blob_id(result, blob), time.time())
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
    no operation of the person's is in progress. Raises RepositoryError.

    One that cannot be written, as a folder of it is a link by now, waits.
    """
    made = {}
    for queued in waiting(vault):
        if not _was_made(vault, queued) or files.goes_through_link(vault, queued.path):
            continue
        copy = _free_name(vault, queued)
        target = vault.path(copy)
        try:
            if not os.path.lexists(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                text = git.run(vault.root, ("cat-file", "blob", queued.blob)).stdout
                atomic.write_new(target, text)
        except OSError as err:
            _log.warning("%s: the other side's text waits: %s", paths.display(copy), err.strerror)
            continue
        made[queued] = copy
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
    """Whether the merge was made, and not given up."""
    if all(_is_reached(vault, blob) for blob in (queued.loser, queued.winner)):
        return True  # history has both sides
    if queued.result not in (queued.loser, queued.winner):
        there = blob_on_disk(vault, queued.path, queued.result)
        if there is not None and there[0] == queued.result:
            return True
        if _is_reached(vault, queued.result):
            return True
    # A rebase, or a stash that was popped, leaves one side in no history at all.
    return not _is_reached(vault, queued.loser, "--all")


def _is_reached(vault: Vault, blob: str, where: str = "HEAD") -> bool:
    """Whether a commit in the history of `where` brought or took away this blob."""
    args = ("log", "-1", "--format=%H", "-m", f"--find-object={blob}", where, "--")
    return bool(git.run(vault.root, args, check=False).stdout.strip())

"""Keeping what is about to go: text that no commit holds, an expired file in a new one's way."""

from __future__ import annotations

import contextlib
import json
import mmap
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from avm.base import atomic, paths
from avm.base.errors import NotFoundError
from avm.vault import files, git, history
from avm.vault.journal import Journal
from avm.vault.location import Vault

if TYPE_CHECKING:
    from avm.vault.objects import Objects
    from avm.vault.staging import Check

_RENEWED_SECONDS = 86_400
_NAME_CHARS = 50  # 200 bytes at most, of the 255 that a name may have


class Kept(NamedTuple):
    """A text that was kept: the rel it stood at, its blob (hex), when (seconds since the epoch)."""

    path: str
    blob: str
    at: float


def keep_text(vault: Vault, rel: str, check: Check, objects: Objects) -> None:
    """Write the bytes of `rel` as a git blob unless git has them; `kept.jsonl` names the blob.

    git prunes a blob that nothing points at after two weeks (gc.pruneExpire); housekeeping.py
    makes something point at it for longer. Bytes that `check` holds back from git are copied to
    `state/rescue/`.
    """
    try:
        raw = files.read(vault, rel)
    except NotFoundError:
        return
    if check(rel, raw):
        set_copy_aside(vault, rel)
        return
    blob = git.blob_id(raw)
    if objects.lost([blob]):
        note_kept(vault, rel, objects.write_blob(raw))
    else:
        _renew(vault, rel, blob, objects)


def _renew(vault: Vault, rel: str, blob: str, objects: Objects) -> None:
    """Where git has the blob because it was kept before: its days begin again."""
    committed = objects.entries(history.head(vault), [rel]).get(rel)
    if committed is not None and committed[0] == blob:
        return
    newest = _newest(vault, blob)
    if newest is not None and time.time() - newest.at > _RENEWED_SECONDS:
        note_kept(vault, rel, blob)


def _newest(vault: Vault, blob: str) -> Kept | None:
    """The newest text of this blob that was kept. The list may have hundreds of thousands."""
    try:
        with (
            kept_file(vault).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            at = data.rfind(blob.encode())
            if at < 0:
                return None
            start = data.rfind(b"\n", 0, at) + 1
            end = data.find(b"\n", at)
            return _parse(data[start : end if end >= 0 else len(data)])
    except (FileNotFoundError, ValueError):  # an empty file cannot be mapped
        return None


def note_kept(vault: Vault, rel: str, blob: str) -> None:
    """Name a blob in `kept.jsonl`."""
    Journal(kept_file(vault)).append({"path": rel, "blob": blob, "at": time.time()})


def kept_file(vault: Vault) -> Path:
    """Where kept texts are named."""
    return vault.own_state / "kept.jsonl"


def kept(vault: Vault) -> list[Kept]:
    """The texts that were kept, oldest first."""
    return list(each_kept(vault))


def each_kept(vault: Vault) -> Iterator[Kept]:
    """The same, one at a time."""
    with contextlib.suppress(FileNotFoundError), kept_file(vault).open("rb") as file:
        yield from filter(None, map(_parse, file))


def drop_lost(vault: Vault, there: Collection[str], since: float) -> None:
    """Take out of `kept.jsonl` what was kept before `since` and is not among the blobs `there`."""
    journal = Journal(kept_file(vault))
    with journal.locked():
        lines = journal.file.read_bytes().splitlines(keepends=True)
        records = [(line, _parse(line)) for line in lines]
        left = [line for line, text in records if text and (text.at >= since or text.blob in there)]
        if len(left) < len(lines):
            atomic.replace(journal.file, b"".join(left))


def last_kept(vault: Vault, rel: str) -> str | None:
    """The blob of the newest text that was kept of `rel`."""
    return next((text.blob for text in reversed(kept(vault)) if text.path == rel), None)


def _parse(line: bytes) -> Kept | None:
    try:
        return Kept(**json.loads(line))
    except (ValueError, TypeError):
        return None  # a line cut short by a kill


def rescued(vault: Vault) -> list[Path]:
    """The files that were set aside."""
    return sorted(path for path in (vault.own_state / "rescue").glob("*") if path.is_file())


def set_aside(vault: Vault, rel: str) -> Path:
    """Move a file out of the work tree into `state/rescue/`; returns where it is."""
    import shutil

    place = _place(vault, rel)
    shutil.move(vault.path(rel), place)
    _moved(vault).append({"path": rel, "file": place.name, "at": time.time()})
    return place


def _moved(vault: Vault) -> Journal:
    return Journal(vault.own_state / "rescued.jsonl")


def moved_aside(vault: Vault) -> list[tuple[str, Path]]:
    """The files that were moved out of a new one's way and are still kept: the rel that each had,
    and where it is; oldest first."""
    folder, found = vault.own_state / "rescue", []
    for record in _moved(vault).records():
        with contextlib.suppress(KeyError, TypeError):
            place = folder / record["file"]
            if place.is_file():
                found.append((str(record["path"]), place))
    return found


def set_copy_aside(vault: Vault, rel: str) -> Path:
    """Copy a file into `state/rescue/`; returns where the copy is."""
    import shutil

    place = _place(vault, rel)
    shutil.copy2(vault.path(rel), place)
    place.chmod(0o600)
    return place


def _place(vault: Vault, rel: str) -> Path:
    folder = vault.own_state / "rescue"
    folder.mkdir(parents=True, exist_ok=True)
    # The end of the name, so that with the time before it the file system takes it.
    return folder / f"{time.time_ns()}-{paths.name_of(rel)[-_NAME_CHARS:]}"

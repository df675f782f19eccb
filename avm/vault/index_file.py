"""Entries in git's index file: looked up (which blob, which mode, in conflict or not) and put in.

git itself reads the whole index to say what stands at one path, and writes the whole to change it:
some 3 and 10 ms at 10,000 files, more than all the rest of a commit. So a few paths are looked up
and put in in the file's bytes (gitformat-index(5), versions 2 and 3, SHA-1); for any other index,
and for many paths, there is git. Whatever is not plainly as expected is left to git, too.
"""

from __future__ import annotations

import functools
import os
import struct
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from avm.vault import git, index_edit
from avm.vault.files import RACY_NS, Stamp
from avm.vault.location import Vault
from avm.vault.objects import Blob

#: Beyond this many paths git lists its whole index, which is quicker than to look for each.
_MOST_LOOKUPS = 64
_HEADER = struct.Struct(">4sII")
#: Mode, uid, gid, size, id and flags of an entry: what stands between its times and its name.
_ENTRY = struct.Struct(">IIII20sH")
_TIMES = 24
_CHECKSUM = 20
_MODES = (0o100644, 0o100755, 0o120000, 0o160000)
_EXTENDED = 0x4000
_ASSUMED = 0x8000
#: Among the flags that an extended entry has more.
_SKIPPED = 0x4000
_MORE_FLAGS = struct.Struct(">H")
#: What takes the flags off again, by the letter that git shows for them.
_WATCH_AGAIN = {"h": "--no-assume-unchanged", "S": "--no-skip-worktree"}
_NAME_LENGTH = 0x0FFF

#: How git shows an entry: a letter (H; h and S where it was told not to look), blob and stage.
_Row = tuple[str, Blob, int]


def entries(vault: Vault, index: Path, names: Collection[str]) -> dict[str, list[tuple[Blob, int]]]:
    """The entries of `names` in an index file: blob and stage (0, or 1 to 3 in a conflict).

    Raises RepositoryError if git cannot read it.
    """
    found = _rows(vault, index, names)
    return {name: [(blob, stage) for _, blob, stage in rows] for name, rows in found.items()}


def unwatched(vault: Vault, names: Collection[str]) -> dict[str, str]:
    """Those of `names` that git was told not to look at (`assume-unchanged`, `skip-worktree`), with
    the option of `git update-index` that makes it look again. Raises RepositoryError.
    """
    found = _rows(vault, vault.git_index, names)
    letters = {name: rows[0][0] for name, rows in found.items()}
    return {
        name: _WATCH_AGAIN[letter] for name, letter in letters.items() if letter in _WATCH_AGAIN
    }


def unmerged(vault: Vault) -> list[str]:
    """What is in conflict, by rel. Raises RepositoryError."""
    listed = git.run(vault.root, ("ls-files", "--unmerged", "-z")).stdout
    names = (os.fsdecode(line.partition(b"\t")[2]) for line in listed.split(b"\0") if line)
    return list(dict.fromkeys(names))


def named_like(vault: Vault, pattern: str) -> list[str]:
    """The tracked files whose name is like `pattern`, by rel. Raises RepositoryError."""
    args = ("ls-files", "-z", "--", f":(glob)**/{pattern}")
    listed = git.run(vault.root, args).stdout
    return [os.fsdecode(name) for name in listed.split(b"\0") if name]


def tracked(vault: Vault) -> tuple[tuple[str, int], ...]:
    """Every tracked path with its mode. Raises RepositoryError."""
    try:
        stamp = Stamp.of(vault.git_index.stat())
    except FileNotFoundError:
        return ()
    return _tracked(vault, stamp)


@functools.lru_cache(maxsize=1)
def _tracked(vault: Vault, _: Stamp) -> tuple[tuple[str, int], ...]:
    """The same, of the index with that stamp: those who ask one after the other ask git once."""
    listed = git.run(vault.root, ("ls-files", "-s", "-z")).stdout
    rows = (line.partition(b"\t") for line in listed.split(b"\0") if line)
    modes = {name: int(facts[:6], 8) for facts, _, name in rows}  # in a conflict: one of three
    return tuple((os.fsdecode(name), mode) for name, mode in modes.items())


def _rows(vault: Vault, index: Path, names: Collection[str]) -> dict[str, list[_Row]]:
    if len(names) <= _MOST_LOOKUPS and _is_whole(vault) and _has_sha1(vault):
        found = _looked_up(index, names)
        if found is not None:
            return found
    few = names if len(names) <= _MOST_LOOKUPS else ()
    args = ("--literal-pathspecs", "ls-files", "-s", "-v", "-z", "--", *few)
    listed = git.run(vault.root, args, env={"GIT_INDEX_FILE": str(index)}).stdout
    wanted = set(names)
    asked: dict[str, list[_Row]] = {}
    for line in listed.split(b"\0"):
        facts, _, raw = line.partition(b"\t")
        name = os.fsdecode(raw)
        if name in wanted:
            letter, mode, blob, stage = facts.decode().split(" ")
            asked.setdefault(name, []).append((letter, (blob, int(mode, 8)), int(stage)))
    return asked


def put(
    vault: Vault, index: Path, target: Path, new: Mapping[str, tuple[Blob, os.stat_result]]
) -> bool:
    """Write `index` to `target` with `new` entries, which git is to take for clean as long as the
    files are as `stat` saw them. False if this is left to git; then nothing was written.

    `target` gets the time of `index`: git compares the bytes of what is not older than that, so
    neither an old entry nor a new one is trusted too early (git's racy rule).
    """
    if not (0 < len(new) <= _MOST_LOOKUPS and _is_whole(vault) and _has_sha1(vault)):
        return False
    try:
        with index.open("rb") as file:
            status, data = os.fstat(file.fileno()), file.read()
    except OSError:
        return False
    if any(_may_change_unseen(seen, status) for _, seen in new.values()):
        return False
    entries = {os.fsencode(name): entry for name, entry in new.items()}
    pieces = index_edit.with_entries(data, entries)
    if pieces is None:
        return False
    with target.open("wb") as file:
        file.writelines(pieces)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    return True


def _may_change_unseen(seen: os.stat_result, index: os.stat_result) -> bool:
    """Whether a file may still be written without a new stamp, and git's rule would not look: it
    was changed just now, and somebody set its time back."""
    young = seen.st_ctime_ns > time.time_ns() - RACY_NS
    return young and seen.st_mtime_ns < index.st_mtime_ns


def _is_whole(vault: Vault) -> bool:
    """Whether the index holds every entry itself: it is neither split nor sparse."""
    shared = any(name.startswith("sharedindex.") for name in os.listdir(vault.git_dir))
    return not shared and not (vault.git_dir / "info" / "sparse-checkout").exists()


def _has_sha1(vault: Vault) -> bool:
    """Whether ids are as long as `_ENTRY` says; git takes the format from this file alone."""
    try:
        config = (vault.common_dir / "config").read_bytes()
    except OSError:
        return False
    return b"objectformat" not in config.lower()


def _looked_up(index: Path, names: Collection[str]) -> dict[str, list[_Row]] | None:
    """None if this index is not one whose bytes can be searched."""
    try:
        data = index.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError:
        return None
    if len(data) < _HEADER.size + _CHECKSUM:
        return None
    signature, version, _ = _HEADER.unpack_from(data)
    if signature != b"DIRC" or version not in (2, 3):
        return None
    found = {}
    for name in names:
        if rows := list(_rows_of(data, os.fsencode(name), version)):
            found[name] = rows
    return found


def _rows_of(data: bytes, name: bytes, version: int) -> Iterator[_Row]:
    """The entries of one name. One is recognised by what stands before the name: aligned to eight
    bytes, a mode that exists, the name's own length."""
    at = data.find(name + b"\0")
    while at >= 0:
        for extended in (False, True)[: version - 1]:
            start = at - 2 * extended - _ENTRY.size - _TIMES
            if start < _HEADER.size or (start - _HEADER.size) % 8:
                continue
            mode, _, _, _, blob, flags = _ENTRY.unpack_from(data, start + _TIMES)
            fits = flags & _NAME_LENGTH == min(len(name), _NAME_LENGTH)
            if fits and mode in _MODES and bool(flags & _EXTENDED) == extended:
                skipped = extended and _MORE_FLAGS.unpack_from(data, at - 2)[0] & _SKIPPED
                letter = "S" if skipped else "h" if flags & _ASSUMED else "H"
                yield letter, (blob.hex(), mode), flags >> 12 & 3
        at = data.find(name + b"\0", at + 1)

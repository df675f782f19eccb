"""What the person is about to commit: the paths and bytes staged in the index they use."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

from avm.base.errors import RepositoryError
from avm.vault import git
from avm.vault.location import Vault

#: No secret that a person keeps is in a larger file, and a hook must not fill the memory.
LARGEST = 16 * 1024 * 1024
#: So many bytes are asked of git at once.
_BATCH = 64 * 1024 * 1024
_FILE_MODES = ("100644", "100755")


def top(folder: Path, pointers: Mapping[str, str]) -> Path:
    """The root of the work tree that a hook runs in. Raises RepositoryError."""
    done = git.run(folder, ("rev-parse", "--show-toplevel"), env=pointers)
    return Path(done.stdout.decode("utf-8", "surrogateescape").rstrip("\n"))


def staged(folder: Path, pointers: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """(path from the root, bytes) of every file that is staged as new or changed, up to `LARGEST`.

    `folder` is where git runs the hook; `pointers` are git's own variables: `git commit -a` and
    `git commit FILE` use an index of their own and tell hooks by GIT_INDEX_FILE. Raises
    RepositoryError.
    """
    found = _differing(folder, pointers)
    sizes = _sizes(folder, pointers, sorted(set(found.values())))
    wanted = deque((path, blob) for path, blob in found.items() if sizes.get(blob, 0))
    while wanted:
        batch = [wanted.popleft()]
        room = _BATCH - sizes[batch[0][1]]
        while wanted and sizes[wanted[0][1]] <= room:
            batch.append(wanted.popleft())
            room -= sizes[batch[-1][1]]
        feed = "".join(f"{blob}\n" for _, blob in batch).encode()
        data = git.run(folder, ("cat-file", "--batch"), stdin=feed, env=pointers).stdout
        at = 0
        for path, blob in batch:
            at = data.index(b"\n", at) + 1
            yield path, data[at : at + sizes[blob]]
            at += sizes[blob] + 1


def staged_bytes(vault: Vault, rel: str) -> bytes | None:
    """What is staged at `rel` if it is not what HEAD has, else None. Raises RepositoryError."""
    blob = _differing(vault.root, {}, rel).get(rel)
    return git.run(vault.root, ("cat-file", "blob", blob)).stdout if blob else None


def _differing(folder: Path, pointers: Mapping[str, str], *only: str) -> dict[str, str]:
    """Path → blob id of the regular files in the index that HEAD has not, or has otherwise."""
    names = [f":(literal,top){name}" for name in only]
    how = ("--cached", "--raw", "-z", "--no-abbrev", "--diff-filter=ACMT")
    plain = ("--no-renames", "--no-ext-diff", "--no-relative")
    done = git.run(folder, ("diff", *how, *plain, "--", *names), env=pointers)
    fields = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    found = {}
    for line, path in zip(fields[::2], fields[1::2], strict=False):
        _, mode, _, blob, _ = line.split(" ")
        if mode in _FILE_MODES:
            found[path] = blob
    return found


def _sizes(folder: Path, pointers: Mapping[str, str], blobs: list[str]) -> dict[str, int]:
    if not blobs:
        return {}
    feed = "".join(f"{blob}\n" for blob in blobs).encode()
    done = git.run(folder, ("cat-file", "--batch-check"), stdin=feed, env=pointers)
    sizes = {}
    for line in done.stdout.decode().splitlines():
        blob, kind, *size = line.split(" ")
        if kind != "blob":
            raise RepositoryError(f"git has no staged blob {blob} in {folder}: git fsck")
        if int(size[0]) <= LARGEST:
            sizes[blob] = int(size[0])
    return sizes

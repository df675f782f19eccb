"""Who wrote each line of a file, and when."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from avm.base.errors import RepositoryError
from avm.base.paths import printable
from avm.vault import git
from avm.vault.location import Vault

_LINE = re.compile(rb"([0-9a-f]{40,64}) \d+ (\d+)(?: \d+)?")
_ESCAPE = re.compile(rb'\\([abtnvfr"\\]|[0-7]{3})')
_ESCAPED = dict(zip(b'abtnvfr"\\', b'\a\b\t\n\v\f\r"\\', strict=True))


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file, counted from 1. `id`: the commit it is from (hex), None if it is not
    committed; `time`: of its committer, in seconds since the epoch; `name`: the file's then."""

    number: int
    text: bytes
    id: str | None
    author: str
    email: str
    time: int
    name: str


def blame(vault: Vault, rel: str, commit: str | None = None) -> list[Line]:
    """The lines of `rel` at `commit`, or in the work tree; renames are followed.

    Raises RepositoryError if git does not have the file.
    """
    args = [
        "blame", "--line-porcelain", "--no-textconv", "--ignore-revs-file=", "--no-progress",
        "--encoding=UTF-8",
    ]  # fmt: skip
    if commit is not None:
        args.append(commit)
    done = git.run(vault.root, (*args, "--", rel), check=False)
    if done.returncode != 0:
        reason = done.stderr.decode("utf-8", "replace").strip()
        raise RepositoryError(f"git blame in {vault.root}: {reason}")
    lines = list(_parse(done.stdout))
    authors = _authors(vault, {line.id for line in lines if line.id})
    return [
        replace(line, author=authors[line.id][0], email=authors[line.id][1]) if line.id else line
        for line in lines
    ]


def _authors(vault: Vault, commits: Collection[str]) -> dict[str, tuple[str, str]]:
    """Name and address of each commit's author: `git blame` tells those that a `.mailmap` says,
    which can come with a pull."""
    if not commits:
        return {}
    args = ("log", "-z", "--no-walk=unsorted", "--stdin", "--no-show-signature", "--encoding=UTF-8")
    feed = "".join(f"{commit}\n" for commit in commits).encode()
    told = git.run(vault.root, (*args, "--format=%H%n%an%n%ae"), stdin=feed).stdout
    found = {}
    for record in filter(None, told.decode("utf-8", "replace").split("\0")):
        commit, name, email = record.split("\n")
        found[commit] = printable(name), email
    return found


def _parse(data: bytes) -> Iterator[Line]:
    oid, number, facts = "", 0, dict[bytes, bytes]()
    for line in data.split(b"\n"):
        if line.startswith(b"\t"):
            yield Line(
                number=number,
                text=line[1:],
                id=oid if oid.strip("0") else None,
                author="",
                email="",
                time=int(facts.get(b"committer-time", b"0")),
                name=_unquoted(facts.get(b"filename", b"")),
            )
            facts = {}
        elif not facts and (match := _LINE.fullmatch(line)):
            oid, number = match[1].decode(), int(match[2])
            facts[b""] = b""
        else:
            key, _, value = line.partition(b" ")
            facts[key] = value


def _unquoted(name: bytes) -> str:
    """A name as git prints it: between quotes, with escapes, where it holds odd characters."""
    if name.startswith(b'"'):
        name = _ESCAPE.sub(
            lambda m: bytes([int(m[1], 8) if len(m[1]) == 3 else _ESCAPED[m[1][0]]]), name[1:-1]
        )
    return name.decode("utf-8", "surrogateescape")

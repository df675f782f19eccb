"""The difference between two versions of a file, as a unified diff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avm.base.errors import RepositoryError
from avm.base.paths import printable
from avm.vault import files, git
from avm.vault.location import Vault

_ABSENT = "/dev/null"
#: Neither a driver that somebody configured nor a colour may change what is printed.
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--unified=3")
#: git calls a file binary if there is a NUL among so many of its first bytes.
_LOOKED_AT = 8000


@dataclass(frozen=True, slots=True)
class Version:
    """One side of a comparison: the file's name and what to call the version; its blob (hex), None
    for the file in the work tree."""

    rel: str
    label: str
    blob: str | None


def unified(vault: Vault, old: Version | None, new: Version | None) -> str:
    """From `old` to `new`, None for no file; empty if they are equal. Raises RepositoryError."""
    if old is not None and new is not None:
        body = _by_git(vault, old, new)
    else:
        body = _whole(vault, old, new)
    if body is None:
        return ""
    before, after = _named("a", old), _named("b", new)
    if not body:
        return f"Binary files {_name(before)} and {_name(after)} differ\n"
    return f"--- {before}\n+++ {after}\n{body}"


def _by_git(vault: Vault, old: Version, new: Version) -> str | None:
    """The hunks; None if there is no difference, "" if it is one of binary files."""
    if old.blob is not None and old.blob == new.blob:
        return None
    if old.blob is None:
        raise ValueError("the older side is a version that git has")
    sides = [old.blob, "--", new.rel] if new.blob is None else [old.blob, new.blob, "--"]
    args = ("--literal-pathspecs", "diff", *_PLAIN, "--end-of-options", *sides)
    done = git.run(vault.root, args, check=False)
    if done.returncode not in (0, 1):
        reason = done.stderr.decode("utf-8", "replace").strip()
        raise RepositoryError(f"git diff in {vault.root}: {reason}")
    text = done.stdout.decode("utf-8", "replace")
    if text.startswith("@@"):
        return text
    header, found, hunks = text.partition("\n@@")
    if found:
        return "@@" + hunks
    return "" if "\nBinary files " in header else None


def _whole(vault: Vault, old: Version | None, new: Version | None) -> str | None:
    version = new or old
    if version is None:
        return None
    if version.blob is None:
        raw = files.read(vault, version.rel)
    else:
        raw = git.run(vault.root, ("cat-file", "blob", version.blob)).stdout
    if b"\0" in raw[:_LOOKED_AT]:
        return ""
    lines = raw.decode("utf-8", "replace").split("\n")
    ends = lines[-1] == ""
    lines = lines[:-1] if ends else lines
    if not lines:
        return None
    sign, span = ("+", f"-0,0 +{_span(lines)}") if new else ("-", f"-{_span(lines)} +0,0")
    body = "".join(f"{sign}{line}\n" for line in lines)
    return f"@@ {span} @@\n{body}" + ("" if ends else "\\ No newline at end of file\n")


def _span(lines: Sequence[str]) -> str:
    return "1" if len(lines) == 1 else f"1,{len(lines)}"


def _named(side: str, version: Version | None) -> str:
    """`a/memory/x.md`, a tab, and which version: as diff(1) and patch(1) have it."""
    return _ABSENT if version is None else f"{side}/{printable(version.rel)}\t{version.label}"


def _name(label: str) -> str:
    return label.replace("\t", " ")

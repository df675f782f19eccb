"""Small acts on a real vault that the tests of `avm.vault` share."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

from conftest import git

from avm import AVM
from avm.api import doctor
from avm.api.checks import CHECKS
from avm.base import atomic
from avm.base.config import Config
from avm.index.database import FILE
from avm.vault import driver, init, rescue
from avm.vault.authors import Authors, Entry
from avm.vault.committer import Committer, Report
from avm.vault.location import Vault, open_vault
from avm.vault.objects import open_objects

AGENT = "akashi"
#: Both ways to git's objects: libgit2 cannot open a SHA-256 repository, so the git program is used.
FORMATS = ("sha1", "sha256")


def make(root: Path, object_format: str = "sha1") -> Vault:
    """What `avm init` makes; or with other ids than it asks git for."""
    if object_format == "sha1":
        return init.make(root)
    git(root.parent, "init", "-q", f"--object-format={object_format}", str(root))
    for name, text in init._FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    init.exclude_temp_files(root)
    git(root, "add", "--force", "--", *init._FILES)
    git(root, "commit", "-qm", "Start an AVM vault")
    vault = open_vault(root)
    driver.set_up(vault)
    return vault


def used_vault(root: Path, object_format: str = "sha1") -> Vault:
    """A vault with a memory of the person's and a file that is none, both committed."""
    vault = make(root, object_format)
    put(vault, "memory/shared/mine.md", "one\ntwo\nthree\n")
    put(vault, "work.txt", "base\n")
    git(vault.root, "add", ".")
    git(vault.root, "commit", "-qm", "Mine")
    return vault


def merge_as_text(root: Path) -> None:
    """Let git merge memories by itself from now on, with its markers: AVM's driver settles all."""
    git(root, "config", "--remove-section", "merge.avm")


def put(vault: Vault, rel: str, data: str | bytes) -> Path:
    """Write a file as an editor does; returns where it is."""
    place = vault.path(rel)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data.encode() if isinstance(data, str) else data)
    return place


def note(vault: Vault, rel: str, agent: str | None = AGENT, op: str = "remember") -> None:
    """Journal a write of `agent`."""
    Authors(vault).record(Entry(rel, agent, op, time.time()))


def remember(
    vault: Vault,
    rel: str,
    data: str | bytes = "text\n",
    agent: str | None = AGENT,
    op: str = "remember",
) -> Path:
    """Write a file and journal it, as `remember()` does: file first, then the author."""
    data = data.encode() if isinstance(data, str) else data
    place = vault.path(rel)
    place.parent.mkdir(parents=True, exist_ok=True)
    atomic.replace(place, data)
    note(vault, rel, agent, op)
    return place


def keep_text(vault: Vault, rel: str) -> None:
    """Keep the text of `rel` as a blob, whatever it holds."""
    rescue.keep_text(vault, rel, lambda rel, raw: None, open_objects(vault))


def private(name: str, agent: str = AGENT) -> str:
    """The rel of `name` in an agent's private folder."""
    return f"memory/private/{agent}/{name}"


def commit(
    vault: Vault,
    *,
    people: bool = False,
    subject: str | None = None,
    held: Collection[str] = (),
) -> Report:
    """One round of a new committer: agents' writes now, with `people` everybody's."""
    return Committer(vault, Config()).commit(now=True, people=people, subject=subject, held=held)


def index_file(vault: Vault) -> Path:
    """The file of the index that is in use."""
    return (vault.index_dir / FILE).resolve()


def head(root: Path) -> str:
    """The commit HEAD is at."""
    return git(root, "rev-parse", "HEAD")


def show(root: Path, fmt: str, rev: str = "HEAD") -> str:
    """One commit through a `git log` format."""
    return git(root, "log", "-1", f"--format={fmt}", rev)


def committed(root: Path, rev: str = "HEAD") -> set[str]:
    """All paths in a commit's tree."""
    return set(git(root, "ls-tree", "-r", "-z", "--name-only", rev).split("\0")) - {""}


def content(root: Path, rel: str, rev: str = "HEAD") -> bytes:
    """The bytes of a path in a commit."""
    return subprocess.run(
        ["git", "cat-file", "blob", os.fsencode(f"{rev}:{rel}")],
        cwd=root,
        capture_output=True,
        check=True,
    ).stdout


def assert_clean(vault: Vault) -> None:
    """Nothing differs from HEAD, the index's stat data is right, and the repository is whole."""
    # diff-files first: `git status` would mend stat data that is wrong.
    git(vault.root, "diff-files", "--quiet")
    assert git(vault.root, "status", "--porcelain") == ""
    assert_sound(vault)


def assert_sound(vault: Vault) -> None:
    """No lock is left and `git fsck` finds nothing wrong."""
    assert git_locks(vault) == []
    git(vault.root, "fsck", "--strict", "--no-dangling")


def assert_well(avm: AVM) -> None:
    """The oracle at the end of a test: index ≡ files, and no process left anything half done."""
    names = {"repository", "index", "unfinished-commit", "git-lock", "temp-file", "exclude-rule"}
    checks = [check for check in CHECKS if check.name in names]
    assert len(checks) == len(names)
    assert [str(finding) for finding in doctor.check(avm, checks)] == []


def git_locks(vault: Vault) -> list[Path]:
    """Lock files of git's; AVM's own stay as empty files."""
    found = (path.relative_to(vault.common_dir) for path in vault.common_dir.rglob("*.lock"))
    return sorted(path for path in found if "avm" not in path.parts)


def hashes(root: Path) -> dict[str, str]:
    """The sum of every file below `root`, links as their target."""
    return {
        str(path.relative_to(root)): hashlib.sha256(
            os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        ).hexdigest()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def python(code: str, *args: str | Path) -> subprocess.Popen[bytes]:
    """Start a Python program of its own; `code` finds `args` in `sys.argv[1:]`."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

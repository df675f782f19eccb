"""What state a repository is in, for `avm doctor`: formats, locks, attributes, leftovers."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from avm.base.paths import TEMP_PREFIX
from avm.vault import git, recovery
from avm.vault.ignore import TEMP_RULE
from avm.vault.location import Vault
from avm.vault.locks import try_lock

#: `git init --initial-branch`, which `avm init` uses.
OLDEST_GIT = (2, 28)
#: A write is a matter of milliseconds; in a container its number may mean another process here.
_WRITTEN_SECONDS = 60


@dataclass(frozen=True)
class LockFile:
    """A lock file of git's and its age in seconds."""

    path: Path
    age: float


def foreign_formats(vault: Vault) -> list[str]:
    """What libgit2 cannot open, by name: sha256, reftable, a split or sparse index."""
    found = []
    if git.config_value(vault.root, "--get", "extensions.objectFormat") not in ("", "sha1"):
        found.append("sha256 objects")
    if git.config_value(vault.root, "--get", "extensions.refStorage") not in ("", "files"):
        found.append("reftable refs")
    if any(vault.git_dir.glob("sharedindex.*")):
        found.append("a split index")
    if git.config_value(vault.root, "--type=bool", "--get", "index.sparse") == "true":
        found.append("a sparse index")
    return found


def cannot_open(vault: Vault) -> str | None:
    """Why git refuses the repository, in its own words; None if it does not."""
    done = git.run(vault.root, ("rev-parse", "--git-dir"), check=False)
    if done.returncode == 0:
        return None
    return done.stderr.decode("utf-8", "replace").strip().splitlines()[0]


def is_bare(vault: Vault) -> bool:
    """Whether the configuration says that there is no work tree. It does not speak of a linked one
    of a bare repository."""
    return git.output(vault.root, "rev-parse", "--is-bare-repository") == "true"


def is_text_kept(vault: Vault) -> bool:
    """Whether git leaves the line ends of memories alone (`-text`)."""
    told = git.output(vault.root, "check-attr", "text", "--", "memory/shared/x.md")
    return told.endswith(": unset")


def has_temp_rule(vault: Vault) -> bool:
    """Whether `info/exclude` hides killed writers' files from `git status`."""
    try:
        lines = (vault.common_dir / "info" / "exclude").read_bytes().splitlines()
    except OSError:
        return False
    return os.fsencode(TEMP_RULE) in lines


def unset_identity(vault: Vault) -> list[str]:
    """Which of `user.name` and `user.email` git does not know."""
    return [
        key for key in ("user.name", "user.email") if not git.config_value(vault.root, "--get", key)
    ]


def lock_files(vault: Vault) -> list[LockFile]:
    """git's lock files, by path."""
    names = ("index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock")
    tops = {vault.git_dir, vault.common_dir}
    found = {top / name for top in tops for name in names}
    found |= {lock for top in tops for lock in (top / "refs").rglob("*.lock")}
    locks = []
    for path in sorted(found):
        try:
            locks.append(LockFile(path, time.time() - path.lstat().st_mtime))
        except OSError:
            continue
    return locks


def unfinished_commit(vault: Vault) -> Path | None:
    """The journal of a commit whose writer is gone, if there is one."""
    journal = recovery.note_path(vault)
    if not journal.exists():
        return None
    mutex = try_lock(recovery.mutex(vault))
    if mutex is None:
        return None  # its writer lives
    try:
        return journal if journal.exists() else None
    finally:
        mutex.release()


def temp_files(vault: Vault) -> list[Path]:
    """The temporary files of writers that are gone, in the vault and in AVM's state."""
    found: set[Path] = set()
    for top in {vault.root, vault.git_state, vault.state_dir}:
        for folder, folders, names in os.walk(top):
            if ".git" in folders:
                folders.remove(".git")
            found |= {Path(folder, name) for name in names if name.startswith(TEMP_PREFIX)}
    return sorted(path for path in found if _is_left(path))


def _is_left(temp: Path) -> bool:
    pid = temp.name.removeprefix(TEMP_PREFIX).partition("-")[0]
    try:
        old = time.time() - temp.lstat().st_mtime > _WRITTEN_SECONDS
    except OSError:
        return False
    return old and not is_running(pid)


def hidden_folders(base: Path) -> list[Path]:
    """The folders in `base` in which mounts that are gone kept files unlinked while open."""
    found = base.iterdir() if base.is_dir() else ()
    return sorted(path for path in found if not is_running(path.name.partition("-")[0]))


def is_running(pid: str) -> bool:
    """Whether a process of this number runs; no number, no process."""
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True  # no /proc
    # One that was killed keeps its number until its parent has asked how it ended.
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")

"""Cloning a vault, or a repository that becomes one."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from avm.base.errors import ExistsError, RemoteError, RepositoryError, UsageError
from avm.vault import driver, git, hooks, init
from avm.vault.location import CLONED_EMPTY_KEY, Vault, is_vault, open_vault
from avm.vault.remote import reason, without_secret

#: Where a remote says nothing, in this order.
_BRANCHES = ("main", "master")


def folder_of(url: str) -> str:
    """The name that git gives the folder of a clone. Raises UsageError if the URL tells none."""
    name = url.rstrip("/").removesuffix("/.git").replace(":", "/").rpartition("/")[2]
    name = name.removesuffix(".git").removesuffix(".bundle")
    if not name or name in (".", ".."):
        raise UsageError(f"{url!r} names no folder: avm clone {url} PATH")
    return name


def clone(
    url: str, root: Path, state_dir: Path | None = None, *, asking: bool = False
) -> tuple[Vault, str]:
    """Clone `url` into the absent or empty folder `root` and make it a vault; returns it and
    `cloned`, `adopted` or `made`.

    `asking`: git may ask for a password. Raises ExistsError, RemoteError.
    """
    if not init.is_absent_or_empty(root):
        raise ExistsError(f"{root} is not empty: clone into another folder")
    made = not root.exists()
    root.parent.mkdir(parents=True, exist_ok=True)
    source = os.path.abspath(url) if os.path.exists(url) else url
    args = ("clone", "--quiet", "--no-recurse-submodules", "--", source, str(root))
    env = {"GIT_TERMINAL_PROMPT": "1" if asking else "0"}
    code, _, said = git.run_until(root.parent, args, lambda: False, env=env, asking=asking)
    if code != 0:
        if made:
            shutil.rmtree(root, ignore_errors=True)
        raise RemoteError(f"cannot clone {without_secret(url)}: {reason(said)}")
    _check_out(root)
    how = "cloned"
    if is_vault(root.resolve()):
        init.exclude_temp_files(root)
    elif git.run(root, ("rev-parse", "--verify", "-q", "HEAD"), check=False).returncode != 0:
        init.fill(root)
        git.run(root, ("config", "--local", CLONED_EMPTY_KEY, "true"))
        how = "made"
    else:
        init.adopt(root, state_dir)
        how = "adopted"
    vault = open_vault(root, state_dir)
    vault.git_state.mkdir(exist_ok=True)
    driver.set_up(vault)
    with contextlib.suppress(RepositoryError):  # somebody's hooks for all repositories stay alone
        hooks.install(vault)
    return vault, how


def _check_out(root: Path) -> None:
    """Switch to a branch of the remote where its HEAD names none that exists, as that of a bare
    repository does that was made for another branch. Raises RepositoryError."""
    if git.run(root, ("rev-parse", "--verify", "-q", "HEAD"), check=False).returncode == 0:
        return
    listed = git.output(root, "for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes/origin")
    branches = [name for name in listed.splitlines() if name != "HEAD"]
    if not branches:
        return
    name = (
        branches[0] if len(branches) == 1 else next((b for b in _BRANCHES if b in branches), None)
    )
    if name is None:
        raise RepositoryError(
            f"{root}: its remote has no default branch: git -C {root} switch one of"
            f" {', '.join(branches[:5])}, then avm init {root}"
        )
    git.run(root, ("checkout", "--quiet", "--track", f"origin/{name}"))

"""The git program: network, bulk, plumbing that libgit2 lacks, and long history."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avm.base.errors import RepositoryError

#: Variables that point git at a repository or an index; inside a hook they name the person's own.
POINTERS = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_PREFIX",
    "GIT_NAMESPACE",
)


def run(
    folder: Path,
    args: Sequence[str],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[bytes]:
    """Run `git ARGS` in `folder`; never prompts, runs no hooks, takes no optional locks.

    Raises RepositoryError with git's own last line if it fails (unless `check` is false) or is
    not installed.
    """
    environ = {name: value for name, value in os.environ.items() if name not in POINTERS}
    environ |= {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    environ |= env or {}
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false", *args]
    feed: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, check=False, **feed
        )
    except FileNotFoundError:
        raise RepositoryError("the git program is not installed: apt install git") from None
    if check and done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise RepositoryError(f"git {args[0]} in {folder}: {lines[-1]}")
    return done


def output(folder: Path, *args: str) -> str:
    """The output of `git ARGS`, stripped. Raises RepositoryError."""
    return run(folder, args).stdout.decode("utf-8", "surrogateescape").strip()


def blob_id(raw: bytes) -> str:
    """git's id of a blob with these bytes, in hex (SHA-1 repositories)."""
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()


def config_value(folder: Path, *args: str) -> str:
    """`git config ARGS`, the empty string if it is not set."""
    done = run(folder, ("config", *args), check=False)
    return done.stdout.decode("utf-8", "surrogateescape").strip() if done.returncode == 0 else ""

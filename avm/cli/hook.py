"""`avm hook`: what the small scripts in hooks/ call."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import click

from avm.base import config, paths, secrets
from avm.base.errors import SecretError, UsageError
from avm.cli.door import Door, shared, warn
from avm.vault import git, staged
from avm.vault.allowed import Allowed
from avm.vault.location import config_file, is_vault, open_vault


@click.command("hook")
@click.argument("host")
@click.argument("event")
@shared
@click.pass_obj
def command(door: Door, host: str, event: str) -> None:
    """Do what the hook EVENT of HOST is for; hooks/README.md says how to install it.

    git pre-commit: fail if a staged file holds a secret that was not allowed.
    """
    run = _HOOKS.get((host, event))
    if run is None:
        known = ", ".join(map(" ".join, _HOOKS))
        raise UsageError(f"hook {host!r} {event!r}: there is {known}")
    run()


def _pre_commit() -> None:
    """One line on stderr for each staged file with a secret. Raises SecretError if there is one."""
    # Which repository and index git means: `git commit FILE` makes an index for the occasion.
    pointers = {name: os.environ[name] for name in git.POINTERS if name in os.environ}
    folder = Path.cwd()
    root = staged.top(folder, pointers)
    allowed = _allowed(root)
    refused = 0
    for path, data in staged.staged(folder, pointers):
        findings = secrets.find(data)
        if not findings or (allowed and allowed.is_allowed(data)):
            continue
        refused += 1
        shown = paths.display(path)
        how = f": avm allow {shlex.quote(shown)}" if allowed else ""
        warn(f"{shown} holds what looks like a secret ({secrets.told(findings)}){how}")
    if refused:
        what = "1 file holds" if refused == 1 else f"{refused} files hold"
        raise SecretError(
            f"not committed: {what} what looks like a secret; git commit --no-verify commits it"
        )


def _allowed(root: Path) -> Allowed | None:
    """What the person allowed in the vault at `root`; None in any other repository."""
    if not is_vault(root):
        return None
    settings = config.from_process({}, config_file(root))
    return Allowed(open_vault(root, settings["state_dir"]))


_HOOKS: dict[tuple[str, str], Callable[[], None]] = {("git", "pre-commit"): _pre_commit}

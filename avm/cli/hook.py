"""`avm hook`: what the small scripts in hooks/ call."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import click

from avm.base import config, paths, secrets
from avm.base.errors import SecretError, UsageError
from avm.cli.door import Door, say, shared, warn
from avm.vault import git, staged
from avm.vault.allowed import Allowed
from avm.vault.location import config_file, is_vault, open_vault


@click.command("hook")
@click.argument("host")
@click.argument("event")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--base", is_flag=True, help="git merge: merge two ancestors that nobody will see.")
@shared
@click.pass_obj
def command(door: Door, host: str, event: str, args: tuple[str, ...], base: bool) -> None:
    """Do what the hook EVENT of HOST is for; hooks/README.md says how to install it.

    git pre-commit: fail if a staged file holds a secret that was not allowed.

    git merge ANCESTOR OURS THEIRS MARKER_SIZE NAME: merge the file NAME into OURS, and print
    "merged"; the merge driver that avm init sets up calls it.
    """
    run = _HOOKS.get((host, event))
    if run is None:
        known = ", ".join(map(" ".join, _HOOKS))
        raise UsageError(f"hook {host!r} {event!r}: there is {known}")
    run(args, base)


def _merge(args: tuple[str, ...], base: bool) -> None:
    """As git's merge driver, in the top folder of the work tree. Raises AVMError."""
    if len(args) != _MERGE_ARGUMENTS:
        raise UsageError("avm hook git merge ANCESTOR OURS THEIRS MARKER_SIZE NAME: git calls it")
    from avm.vault import merge_driver
    from avm.vault.driver import MERGED

    ancestor, ours, theirs, _, rel = args
    folder = Path.cwd()
    files = folder / ancestor, folder / ours, folder / theirs
    copy = merge_driver.run(folder, *files, rel, virtual=base)
    if copy is not None:
        shown = paths.display(rel)
        warn(f"{shown}: both sides changed it; the other text will be {paths.display(copy)}")
    say(f"{MERGED}\n")


def _pre_commit(_args: tuple[str, ...], _base: bool) -> None:
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


_MERGE_ARGUMENTS = 5
_HOOKS: dict[tuple[str, str], Callable[[tuple[str, ...], bool], None]] = {
    ("git", "pre-commit"): _pre_commit,
    ("git", "merge"): _merge,
}

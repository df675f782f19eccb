"""`avm hook`: what the small scripts in hooks/ call."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import click

from avm.base import config, memory_file, paths, secrets
from avm.base.errors import AVMError, FrontMatterError, SecretError, UsageError
from avm.cli.door import Door, say, shared, warn
from avm.vault import conflict_queue, git, hooks, staged
from avm.vault.allowed import Allowed
from avm.vault.files import could_be_memory
from avm.vault.ignore import is_left_out
from avm.vault.location import Vault, config_file, is_vault, open_vault, vault_around


@click.command("hook")
@click.argument("host")
@click.argument("event")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--base", is_flag=True, help="git merge: merge two ancestors that nobody will see.")
@shared
@click.pass_obj
def command(door: Door, host: str, event: str, args: tuple[str, ...], base: bool) -> None:
    """Do what the hook EVENT of HOST is for; hooks/README.md says how to install it.

    git pre-commit: fail if a staged file holds a secret that was not allowed, or if a staged
    memory's front matter cannot be read.

    git post-merge, post-checkout, post-commit, post-rewrite: tell the keeper, if one runs.

    claude-code EVENT: tell Claude Code what matters; it runs this itself (docs/coding-agents.md).

    git merge ANCESTOR OURS THEIRS MARKER_SIZE NAME: merge the file NAME into OURS, and print
    "merged"; the merge driver that avm init sets up calls it.
    """
    if host == "claude-code":
        from avm.hooks import claude_code

        claude_code.run(event, door.vault, door.agent)
    run = _HOOKS.get((host, event))
    if run is None:
        known = ", ".join([*map(" ".join, _HOOKS), "claude-code EVENT"])
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
        warn(
            f"{shown}: both sides changed it; avm commit puts the other text at"
            f" {paths.display(copy)}"
        )
    say(f"{MERGED}\n")


def _pre_commit(_args: tuple[str, ...], _base: bool) -> None:
    """One line on stderr for each staged file with a secret, or a memory with broken front matter.

    Raises SecretError or FrontMatterError if there is one.
    """
    # Which repository and index git means: `git commit FILE` makes an index for the occasion.
    pointers = {name: os.environ[name] for name in git.POINTERS if name in os.environ}
    folder = Path.cwd()
    root = staged.top(folder, pointers)
    allowed = _allowed(root)
    secret = broken = 0
    for path, data in staged.staged(folder, pointers):
        shown = paths.display(path)
        findings = secrets.find(data)
        if findings and not (allowed and allowed.is_allowed(data)):
            secret += 1
            how = f": avm allow {shlex.quote(shown)}" if allowed else ""
            warn(f"{shown} holds what looks like a secret ({secrets.told(findings)}){how}")
        if allowed and (problem := _problem(root, path, data)):
            broken += 1
            warn(f"{shown}: {problem}")
    _refuse(secret, broken)


def _problem(root: Path, path: str, data: bytes) -> str | None:
    """Why the front matter of a staged memory cannot be read; None if nothing is wrong."""
    if not could_be_memory(path):
        return None
    problems = memory_file.parse(data, max_body=0).problems
    broken = [problem for problem in problems if problem.startswith("front matter: ")]
    return broken[0] if broken and not is_left_out(root, path) else None


def _refuse(secret: int, broken: int) -> None:
    reasons = []
    if secret:
        what = "1 file holds" if secret == 1 else f"{secret} files hold"
        reasons.append(f"{what} what looks like a secret")
    if broken:
        what = "1 memory" if broken == 1 else f"{broken} memories"
        reasons.append(f"the front matter of {what} cannot be read")
    if reasons:
        error = SecretError if secret else FrontMatterError
        why = " and ".join(reasons)
        raise error(f"not committed: {why}; git commit --no-verify commits it")


def _wake(_args: tuple[str, ...], _base: bool) -> None:
    """Commit what the merge driver could not put into a merge, and tell the keeper, if one runs,
    that git changed something. Never fails: nobody would see."""
    root = vault_around(Path.cwd())
    if root is None:
        return
    from avm.api.keeper import wake

    with contextlib.suppress(AVMError, OSError):
        settings = config.from_process({}, config_file(root))
        vault = open_vault(root, settings["state_dir"])
        _take_in_copies(vault, settings)
        wake(vault, settings)


def _take_in_copies(vault: Vault, settings: config.Config) -> None:
    """Once git has ended, which ran the hook."""
    if not conflict_queue.place(vault).exists():
        return
    from avm.vault.committer import Committer

    committer = Committer(vault, settings, Allowed(vault).held_because)
    deadline = time.monotonic() + _MERGE_SECONDS
    while committer.commit(journalled=True).blocked and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _allowed(root: Path) -> Allowed | None:
    """What the person allowed in the vault at `root`; None in any other repository."""
    if not is_vault(root):
        return None
    settings = config.from_process({}, config_file(root))
    return Allowed(open_vault(root, settings["state_dir"]))


_MERGE_ARGUMENTS = 5
#: How long a merge may take to end after its hook, and how often is looked.
_MERGE_SECONDS, _POLL_SECONDS = 10.0, 0.1
_HOOKS: dict[tuple[str, str], Callable[[tuple[str, ...], bool], None]] = {
    ("git", "pre-commit"): _pre_commit,
    ("git", "merge"): _merge,
    **{("git", event): _wake for event in hooks.WAKING},
}

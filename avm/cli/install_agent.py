"""`avm install-agent`: AVM in the configuration of a coding agent, and out of it again."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import click

from avm.base import config
from avm.base.errors import UsageError
from avm.base.paths import check_agent, is_utf8
from avm.cli.door import Door, shared, warn
from avm.hooks import installing
from avm.hooks.hosts import HOSTS, Launch
from avm.hooks.installing import Change
from avm.hooks.part import value_of
from avm.hooks.records import Records
from avm.vault.location import is_vault, open_vault


@click.command("install-agent")
@click.argument("host", type=click.Choice(list(HOSTS)), metavar="|".join(HOSTS))
@click.option(
    "--project/--user", default=False,
    help="For the project in the current folder, in files that git shares; default: for you.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--uninstall", is_flag=True, help="Take out what was put in, and only that.")
@shared
@click.pass_obj
def command(door: Door, host: str, project: bool, dry_run: bool, uninstall: bool) -> None:
    """Put AVM's MCP server, and Claude Code's hooks, into the configuration of a coding agent.

    The agent acts as --agent NAME, by default as it is installed, else under the host's own name;
    in the vault of --vault, by default as it is installed, else the one that AVM finds when the
    host starts it. Another time it brings what is there up to date. docs/coding-agents.md says
    which files are changed and how they are put back.
    """
    folder = _project() if project else None
    records = Records(config.install_records())
    if uninstall:
        launch = Launch("avm", host)
        shared_with = installing.shared_places(host, launch, folder)
        files = HOSTS[host].files(launch, folder)
        changes = installing.plan_uninstall(files, records, shared_with)
    else:
        words = installing.installed_as(HOSTS[host].files(Launch("avm", host), folder))
        agent = check_agent(door.agent or value_of(words, "--agent") or host)
        vault = _vault(door.vault or value_of(words, "--vault"))
        launch = Launch("avm" if project else _program(), agent, vault)
        changes = installing.plan_install(HOSTS[host].files(launch, folder), records)
    if not dry_run:
        installing.apply(changes, records)
    _tell(door, changes, dry_run)
    if not uninstall:
        _mention(host, folder, launch)


def _project() -> Path:
    """The current folder. Raises UsageError where its files would be the user's own."""
    folder = Path.cwd()
    if folder == Path.home().resolve():
        raise UsageError("this is your home folder, and no project: leave --project out")
    return folder


def _program() -> str:
    """The absolute path of the avm script: a host that a desktop starts has another PATH.

    Raises UsageError.
    """
    beside = Path(sys.executable).parent / "avm"
    for script in (Path(sys.argv[0]), beside, Path(shutil.which("avm") or "")):
        if script.name == "avm" and script.is_file():
            return _written(os.path.abspath(script))
    raise UsageError("the avm script is not found: install the package avm-memory")


def _vault(named: str | None) -> Path | None:
    """The absolute path of the vault asked for. Raises NoVaultError, UsageError."""
    if named is None:
        return None
    vault = Path(_written(os.path.abspath(Path(named).expanduser())))
    open_vault(vault)
    return vault


def _written(path: str) -> str:
    """A path that can be written into a configuration. Raises UsageError."""
    if not is_utf8(path):
        raise UsageError(f"{path}: no configuration can name it, it is not UTF-8")
    return path


def _tell(door: Door, changes: Sequence[Change], dry_run: bool) -> None:
    lines, told = [], []
    for change in changes:
        diff = installing.diff(change) if dry_run else ""
        lines.append(diff or f"{change.place}: {change.what} {change.done}\n")
        fields = {"file": str(change.place), "what": change.what, "done": change.done}
        told.append({**fields, "diff": diff} if dry_run else fields)
    door.result({"dry_run": dry_run, "files": told}, "".join(lines))


def _mention(host: str, project: Path | None, launch: Launch) -> None:
    """What a person should know besides."""
    if project is None and HOSTS[host].missing:
        warn(HOSTS[host].missing)
    if project is not None and launch.vault is not None:
        warn(f"{launch.vault} is a path of this machine, in files that git shares")
    elsewhere = None if project else Path.cwd()
    if elsewhere != Path.home() and installing.installed_as(
        HOSTS[host].files(Launch("avm", host), elsewhere)
    ):
        where = "this project" if elsewhere else "you"
        warn(f"it is installed for {where} as well: the host may start and tell everything twice")
    if find_spec("mcp") is None:
        warn("the MCP server needs: pip install 'avm-memory[mcp]'")
    if launch.vault is None and not is_vault(config.default_vault()):
        warn(f"there is no vault yet: avm init {shlex.quote(str(config.default_vault()))}")

"""`avm access`: who may see and write what, and why."""

from __future__ import annotations

import sys

import click

from avm.base import paths
from avm.base.errors import UsageError
from avm.cli.door import Door, shared


@click.group("access", no_args_is_help=True)
def command() -> None:
    """Who may see and write what."""


@command.command("check")
@click.argument("path")
@shared
@click.pass_obj
def check(door: Door, path: str) -> None:
    """Say whether the agent of --agent may read and write PATH, and which rule decides it.

    PATH need not exist. Exit code 1: it may do neither. Rules stand in your own configuration
    (docs/access.md); this command answers the owner alone.
    """
    avm = door.avm()
    agent = avm.store.config["agent"]
    if agent is None:
        raise UsageError("say whose access: avm access check --agent NAME PATH")
    rel = door.rel(path)
    viewer = avm.store.viewer(agent)
    read, write = viewer.reading(rel), viewer.writing(rel)
    value = {
        "agent": agent,
        "path": paths.display(rel),
        "read": read._asdict(),
        "write": write._asdict(),
    }
    lines = [f"{agent}  {paths.printable(paths.display(rel))}"]
    for what, verdict in (("read ", read), ("write", write)):
        lines.append(f"{what}  {'yes' if verdict.allowed else 'no'}  {verdict.why}")
    door.result(value, "\n".join(lines) + "\n")
    if not read.allowed and not write.allowed:
        sys.exit(1)

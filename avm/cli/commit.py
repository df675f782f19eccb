"""`avm commit`: commit everybody's memories now."""

from __future__ import annotations

import sys

import click

from avm.base.errors import RepositoryError
from avm.cli.door import Door, shared


@click.command("commit")
@click.option("-m", "--message", help="The subject; default: what was done.")
@shared
@click.pass_obj
def command(door: Door, message: str | None) -> None:
    """Commit what changed under memory/, each by its author: agents' writes, and in a vault that
    avm init made the person's edits too. With --agent only that agent's.

    What you staged yourself is left to your own git commit.
    """
    report = door.view().commit(message)
    if report.blocked and not door.as_json:
        raise RepositoryError(f"not now: {report.blocked}")
    count = len(report.commits)
    lines = [f"{count} commit{'' if count == 1 else 's'}" if count else "nothing to commit"]
    lines += [f"left: /{path}: {reason}" for path, reason in sorted(report.waiting.items())]
    door.result(report, "\n".join(lines) + "\n")
    if report.blocked:
        sys.exit(RepositoryError.exit_code)

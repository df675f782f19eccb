"""`avm commit`: commit everybody's memories now."""

from __future__ import annotations

import click

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
    count = len(report.commits)
    lines = [f"{count} commit{'' if count == 1 else 's'}" if count else "nothing to commit"]
    if report.blocked:
        lines = [f"not now: {report.blocked}"]
    lines += [f"left: /{path}: {reason}" for path, reason in sorted(report.waiting.items())]
    door.result(report, "\n".join(lines) + "\n")

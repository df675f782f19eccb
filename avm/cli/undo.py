"""`avm undo`: take commits back, forward only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from avm.api.past import SHORT
from avm.base.paths import printable
from avm.cli.door import Door, shared_but_agent

if TYPE_CHECKING:
    from avm.api import Undone


@click.command("undo")
@click.option("--agent", "author", metavar="NAME", help="Only what this agent wrote.")
@click.option("--since", metavar="WHEN", help="All commits from then on: 1h, 7d, yesterday.")
@click.option("--commit", metavar="REV", help="This one commit.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@shared_but_agent
@click.pass_obj
def command(
    door: Door, author: str | None, since: str | None, commit: str | None, dry_run: bool
) -> None:
    """Take back the newest commit, all since WHEN, or one, in a new commit; history stays.

    Later edits of the same file stay, and where they are in the same lines the file is left as it
    is and named; then the exit code is 1. --agent says whose commits; who takes them back is said
    before the verb: avm --agent NAME undo, which takes back that agent's own only.
    """
    done = door.view().undo(agent=author, since=since, commit=commit, dry_run=dry_run)
    door.result(done, _as_text(done))
    if done.left:
        sys.exit(1)


def _as_text(done: Undone) -> str:
    lines = [f"{how}  {printable(path)}" for path, how in sorted(done.changed.items())]
    lines += [f"left  {printable(path)}: {why}" for path, why in sorted(done.left.items())]
    hashes = " ".join(one[:SHORT] for one in done.commits)
    what = "would take back" if done.dry_run else "took back"
    if not done.changed:
        lines.append(f"nothing to take back of {hashes}")
    else:
        lines.append(f"{what} {hashes}")
    return "\n".join(lines) + "\n"

"""`avm log`: who learned what and when."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from avm.api.past import SHORT
from avm.cli.door import Door, shared_but_agent

if TYPE_CHECKING:
    from avm.api import Commit


@click.command("log")
@click.argument("path", required=False)
@click.option("--agent", "author", metavar="NAME", help="Only what this agent wrote.")
@click.option("--since", metavar="WHEN", help="Only from then on: 7d, 12h, yesterday, 2026-11-01.")
@click.option("--limit", metavar="N", help="The most commits.")
@shared_but_agent
@click.pass_obj
def command(
    door: Door, path: str | None, author: str | None, since: str | None, limit: str | None
) -> None:
    """Print the commits of PATH, through its renames, or of the whole vault; newest first.

    A line is: hash, time, author, subject; for more than one file the number of files. Expired and
    removed memories have theirs too. --agent says whose commits; who asks is said before the verb:
    avm --agent NAME log.
    """
    view = door.view()
    commits = view.log(
        None if path is None else door.rel(path),
        agent=author,
        since=since,
        limit=limit,  # type: ignore[arg-type]  # checked and named there
        zone=None,
    )
    door.result(commits, "".join(map(_line, commits)))
    if not commits:
        sys.exit(1)


def _line(commit: Commit) -> str:
    when = commit.when.astimezone().strftime("%Y-%m-%d %H:%M")
    count = len(commit.paths)
    many = f"  ({count} files)" if commit.path is None and count != 1 else ""
    return f"{commit.hash[:SHORT]}  {when}  {commit.author}  {commit.subject}{many}\n"

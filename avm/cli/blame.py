"""`avm blame`: who wrote each line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from avm.api.past import SHORT
from avm.cli.door import Door, shared

if TYPE_CHECKING:
    from avm.api import BlameLine


@click.command("blame")
@click.argument("path")
@shared
@click.pass_obj
def command(door: Door, path: str) -> None:
    """Print each line of PATH after the commit that it is from, its author and day.

    A line that is not committed yet has none of them. Of a file that is gone: as it was last.
    """
    lines = door.view().blame(door.rel(path))
    width = max((len(line.author or "") for line in lines), default=0)
    door.result(lines, "".join(_line(line, width) for line in lines))


def _line(line: BlameLine, width: int) -> str:
    day = line.when.astimezone().strftime("%Y-%m-%d") if line.when else ""
    commit = (line.hash or "")[:SHORT]
    return f"{commit:{SHORT}}  {line.author or '':{width}}  {day:10}  {line.text}\n"

"""`avm resolve`: settle a conflict in one commit."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from avm.api.settling import OURS, THEIRS, marks_left
from avm.api.view import View
from avm.api.written import Settled
from avm.base.errors import AVMError, UsageError
from avm.cli.door import Door, shared, warn


@click.command("resolve")
@click.argument("path")
@click.option("--ours", is_flag=True, help="What stands at PATH stays.")
@click.option("--theirs", is_flag=True, help="The other side's text takes its place.")
@click.option("--merged", metavar="FILE", help="This file's text does; - is stdin.")
@click.option("--edit", is_flag=True, help="Make one of the two in your editor.")
@shared
@click.pass_obj
def command(
    door: Door, path: str, ours: bool, theirs: bool, merged: str | None, edit: bool
) -> None:
    """Settle the conflict of the memory PATH: its conflict copy goes, in one commit.

    PATH is the memory, or one copy of several. Both texts stay in history: avm log.
    """
    if sum((ours, theirs, merged is not None, edit)) != 1:
        raise UsageError("say how: one of --ours, --theirs, --merged FILE, --edit")
    view, rel = door.view(), door.rel(path)
    if edit:
        done = _settled_by_editing(view, rel)
    else:
        done = view.settle(rel, _read(merged) if merged is not None else OURS if ours else THEIRS)
    door.result(done, f"{done.path}\n")
    if done.waits:
        warn(f"the commit waits: {done.waits}")


def _read(file: str) -> bytes:
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    if not data.strip() or marks_left(data):
        what = "has marks of the conflict" if data.strip() else "is empty"
        raise UsageError(f"nothing was settled: {file} {what}")
    return data


def _settled_by_editing(view: View, rel: str) -> Settled:
    """What the person's editor made of both sides; the file stays if it cannot be taken."""
    with tempfile.NamedTemporaryFile(prefix="avm-resolve-", suffix=".md", delete=False) as file:
        file.write(view.sides(rel))
    place = Path(file.name)
    click.edit(filename=str(place))
    data = place.read_bytes()
    if marks_left(data):
        raise UsageError(
            f"marks of the conflict are left: take them out of {place}, then"
            f" avm resolve --merged {place}"
        )
    try:
        done = view.settle(rel, data)
    except (AVMError, OSError):
        warn(f"your text is in {place}")
        raise
    place.unlink()
    return done

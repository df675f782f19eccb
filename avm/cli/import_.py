"""`avm import`: leave MEMORY.md."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import click

from avm.api.importing import Imported, check_name
from avm.base.errors import NotFoundError, UsageError
from avm.base.paths import printable
from avm.cli.door import Door, shared, warn


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change no memory.")
@click.option("--update", is_flag=True, help="Put what the file says now into its memories.")
@click.option("--allow-secret", is_flag=True, help="Also take sections that hold a token or key.")
@shared
@click.pass_obj
def command(
    door: Door, files: tuple[str, ...], dry_run: bool, update: bool, allow_secret: bool
) -> None:
    """Make a memory of each section of MEMORY.md, CLAUDE.md, AGENTS.md or any other markdown FILE.

    A section is what stands under a heading; its memory names the file, by its path, and the
    heading in `source:`, by which it is found again. FILE stays as it is. Done again it makes
    nothing twice; a section that says something else than its memory, and memories whose section is
    gone, are named. Prints what reading the files costs each session, and what a recall costs
    instead.
    """
    view = door.view()
    texts = {check_name(_name(file)): _read(file) for file in files}
    done = [
        view.import_text(text, name, update=update, dry_run=dry_run, allow_secret=allow_secret)
        for name, text in texts.items()
    ]
    costs = [] if dry_run else view.costs([title for one in done for title in one.titles])
    lines = [line for one in done for line in _told(one, dry_run)]
    door.result({"files": done, "recalls": costs}, "\n".join([*lines, *_costs(done, costs)]) + "\n")
    for one in done:
        for line in _left(one):
            warn(line)
    if codes := [err.exit_code for one in done for err in one.left.values()]:
        sys.exit(codes[0])


def _name(file: str) -> str:
    """What the file is called in `source:`: by its path, from the home folder on if it is there.
    A link is the file that it leads to."""
    path = Path(os.path.realpath(file))
    home = Path(os.path.realpath(Path.home()))
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _read(file: str) -> str:
    try:
        return Path(file).read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"no file at {file}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8: convert it first (iconv)") from None


def _told(done: Imported, dry_run: bool) -> list[str]:
    counts = (
        ("would be new" if dry_run else "new", done.new),
        ("there already", done.there),
        ("would be updated" if dry_run else "updated", done.updated),
        ("saying something else than the file (--update takes the file's text)", done.differing),
        ("not in the file any more (avm forget removes one)", done.gone),
        ("not taken", done.left),
    )
    told = ", ".join(f"{len(of)} {what}" for what, of in counts if of) or "no sections"
    lines = [f"{printable(done.file)}: {told}"]
    lines += [f"  differs: {printable(path)}" for path in done.differing]
    lines += [f"  gone: {printable(path)}" for path in done.gone]
    return lines


def _left(done: Imported) -> list[str]:
    """A line for each reason why sections were not taken."""
    reasons = Counter(map(str, done.left.values()))
    first: dict[str, str] = {}
    for title, err in done.left.items():
        first.setdefault(str(err), title)
    return [
        f"{printable(done.file)}: {printable(first[why])}"
        + (f" and {count - 1} more" if count > 1 else "")
        + f": {why}"
        for why, count in reasons.items()
    ]


def _costs(done: list[Imported], costs: list[int]) -> list[str]:
    before = sum(one.tokens for one in done)
    lines = [f"before: {before:,} tokens, read by every session as long as they are in the files"]
    if costs:
        mean = sum(costs) // len(costs)
        lines.append(
            f"now: a recall costs {min(costs):,} to {max(costs):,} tokens, on average {mean:,}"
            f" (asked for {len(costs)} of the headings; --max-tokens says how many it may be)"
        )
    return lines

"""`avm import`: leave MEMORY.md."""

from __future__ import annotations

from pathlib import Path

import click

from avm.api.importing import Imported, check_name
from avm.base.errors import NotFoundError, UsageError
from avm.base.paths import printable
from avm.cli.door import Door, shared, warn


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--update", is_flag=True, help="Put what the file says now into its memories.")
@shared
@click.pass_obj
def command(door: Door, files: tuple[str, ...], dry_run: bool, update: bool) -> None:
    """Make a memory of each section of MEMORY.md, CLAUDE.md, AGENTS.md or any other markdown FILE.

    A section is what stands under a heading; its memory names the file in `source:`. FILE stays as
    it is. Done again it makes nothing twice; a section that was edited since, here or there, is
    named. Prints what reading the files costs each session, and what a recall costs instead.
    """
    view = door.view()
    texts = {check_name(Path(file).name): _read(file) for file in files}
    done = [
        view.import_text(text, name, update=update, dry_run=dry_run) for name, text in texts.items()
    ]
    costs = [] if dry_run else view.costs([title for one in done for title in one.titles])
    lines = [line for one in done for line in _told(one, dry_run)]
    door.result({"files": done, "recalls": costs}, "\n".join([*lines, *_costs(done, costs)]) + "\n")
    for one in done:
        for title, why in one.left.items():
            warn(f"{one.file}: {printable(title)}: {why}")


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
        ("left", done.left),
    )
    told = ", ".join(f"{len(of)} {what}" for what, of in counts if of) or "no sections"
    lines = [f"{done.file}: {told}"]
    lines += [f"  differs: {printable(path)}" for path in done.differing]
    return lines


def _costs(done: list[Imported], costs: list[int]) -> list[str]:
    before = sum(one.tokens for one in done)
    lines = [f"before: {before:,} tokens, read by every session"]
    if costs:
        mean = sum(costs) // len(costs)
        lines.append(
            f"now: a recall costs {min(costs):,} to {max(costs):,} tokens, on average {mean:,}"
            f" (asked for {len(costs)} of the headings)"
        )
    return lines

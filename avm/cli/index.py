"""`avm index`: bring the index up to date now, build it anew, or compare it with the files."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from avm.base.errors import UsageError
from avm.cli.door import Door, shared


@click.command("index")
@click.option("--wait", is_flag=True, help="Return when every embedding is there too.")
@click.option("--rebuild", is_flag=True, help="Build it anew; the old one serves until then.")
@click.option("--check", is_flag=True, help="Compare it with the files; exit 1 if they differ.")
@shared
@click.pass_obj
def command(door: Door, wait: bool, rebuild: bool, check: bool) -> None:
    """Bring the index up to date. Every search and recall does so for text by itself.

    Embeddings are computed by the model in a program of its own (docs/semantic.md). What the
    index is made of, and what happens when it is damaged: docs/index.md.
    """
    if check and (wait or rebuild):
        raise UsageError("--check changes nothing: give it alone")
    view = door.view()
    if check:
        faults = view.check_index()
        text = "".join(f"{fault}\n" for fault in faults) or "the index is what the files say\n"
        door.result({"differences": faults}, text)
        if faults:
            sys.exit(1)
        return

    def work(report: Callable[[str, int, int], None] | None) -> tuple[int, int]:
        return view.index(wait=wait, rebuild=rebuild, progress=report)

    embedded, passages = _with_bar(work) if sys.stderr.isatty() else work(None)
    memories = len(view.memories())
    text = f"{memories} memories, {passages} passages, {embedded} with an embedding\n"
    counts = {"memories": memories, "passages": passages, "embedded": embedded}
    door.result(counts, text)


def _with_bar(
    work: Callable[[Callable[[str, int, int], None]], tuple[int, int]],
) -> tuple[int, int]:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        return work(report)

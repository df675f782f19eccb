"""`avm index`: bring the index up to date now, with `--wait` the embeddings too."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from avm.cli.door import Door, shared


@click.command("index")
@click.option("--wait", is_flag=True, help="Return when every embedding is there too.")
@shared
@click.pass_obj
def command(door: Door, wait: bool) -> None:
    """Bring the index up to date. Every search and recall does so for text by itself.

    Embeddings are computed by the model in a program of its own (docs/semantic.md).
    """
    view = door.view()
    if sys.stderr.isatty():
        embedded, passages = _with_bar(lambda report: view.index(wait=wait, progress=report))
    else:
        embedded, passages = view.index(wait=wait)
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

"""`avm search`: ranked hits."""

from __future__ import annotations

import sys

import click

from avm.cli.door import Door, shared, text_argument
from avm.overlay.hits import as_lines


@click.command("search")
@click.argument("query", nargs=-1, required=True)
@click.option("--limit", default="10", metavar="N", help="The most hits; default 10.")
@click.option("--folder", default="", help="Only what is in this folder.")
@click.option("--semantic", is_flag=True, help="Rank by meaning too: load the model, some 6 s.")
@shared
@click.pass_obj
def command(door: Door, query: tuple[str, ...], limit: str, folder: str, semantic: bool) -> None:
    """Print the memories that match QUERY (- reads stdin), best first."""
    view = door.view(semantic="wait" if semantic else None)
    text = text_argument(query)
    hits = view.search(text, limit, folder=door.rel(folder) if folder else "")  # type: ignore[arg-type]
    door.result(hits, as_lines(hits, text))
    door.mention_semantic()
    if not hits:
        sys.exit(1)

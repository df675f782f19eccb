"""`avm search`: ranked hits."""

from __future__ import annotations

import sys

import click

from avm.cli.door import ASKING, Door, question_argument, shared
from avm.overlay.hits import as_lines


@click.command("search", context_settings=ASKING)
@click.argument("query", nargs=-1, required=True)
@click.option("--limit", default="10", metavar="N", help="The most hits; default 10.")
@click.option("--folder", default="", help="Only what is in this folder.")
@click.option("--semantic", is_flag=True, help="Rank by meaning too: load the model, some 6 s.")
@click.option("--explain", is_flag=True, help="Say why each was found, instead of what it says.")
@shared
@click.pass_obj
def command(
    door: Door, query: tuple[str, ...], limit: str, folder: str, semantic: bool, explain: bool
) -> None:
    """Print the memories that match QUERY (- reads stdin), best first.

    Words, "phrases", -word, tag:x, path:memory/shared, agent:a, since:7d, before:2026-11-01 and
    importance>0.7: docs/search.md.
    """
    view = door.view(semantic="wait" if semantic else None)
    text = question_argument(query)
    where = door.rel(folder) if folder else ""
    if explain:
        why = view.explained(text, limit, folder=where, zone=None)  # type: ignore[arg-type]
        door.result(why, why.as_text())
        found = bool(why.hits)
    else:
        hits = view.search(text, limit, folder=where, zone=None)  # type: ignore[arg-type]
        door.result(hits, as_lines(hits, text))
        found = bool(hits)
    door.mention_semantic()
    if not found:
        sys.exit(1)
